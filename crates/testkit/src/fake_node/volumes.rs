//! A pod's volumes as folders, changed in one step as kubelet does: `..data` is a symbolic link to a folder with all
//! files, replaced by renaming; the visible names are links through it. A reader never sees half of a change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, KeyToPath, Pod, ProjectedVolumeSource, Volume};

use super::env::Mounts;
use super::sources::{Data, Sources, field};
use crate::error::{Error, Result};

/// The volumes of one pod.
pub(super) struct Volumes {
    root: PathBuf,
    address: String,
    /// Tokens are asked for once: a new one at each refresh would look like a change.
    tokens: BTreeMap<String, String>,
    claims: BTreeMap<String, PathBuf>,
}

impl Volumes {
    /// Volumes under `root`, a folder that need not exist yet. `claims`: folders by the name of their claim.
    pub fn new(root: PathBuf, address: &str, claims: BTreeMap<String, PathBuf>) -> Self {
        Self { root, address: address.to_owned(), tokens: BTreeMap::new(), claims }
    }

    /// Writes what the pod's volumes must have now. Fails, with nothing of that volume changed, when something it needs
    /// is missing.
    pub async fn refresh(&mut self, pod: &Pod, sources: &Sources) -> Result<(), String> {
        for volume in pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()).into_iter().flatten() {
            let folder = self.root.join(&volume.name);
            if let Some(claim) = &volume.persistent_volume_claim {
                let missing = || format!("persistentvolumeclaim \"{}\" not found", claim.claim_name);
                self.bind(self.claims.get(&claim.claim_name).ok_or_else(missing)?, &folder)?;
                continue;
            }
            let files = self.files(pod, volume, sources).await;
            let files =
                files.map_err(|why| format!("MountVolume.SetUp failed for volume \"{}\": {why}", volume.name))?;
            match files {
                Some(files) => swap(&folder, &files).map_err(|error| error.to_string())?,
                None => fs::create_dir_all(&folder).map_err(|error| error.to_string())?,
            }
        }
        Ok(())
    }

    fn bind(&self, volume: &Path, folder: &Path) -> Result<(), String> {
        if fs::symlink_metadata(folder).is_ok() {
            return Ok(());
        }
        fs::create_dir_all(&self.root).map_err(|error| error.to_string())?;
        symlink(volume, folder).map_err(|error| error.to_string())
    }

    /// Where the container's mounts are. What is mounted by `subPath` is copied now and never refreshed, as with kubelet.
    pub fn mounts(&self, container: &Container) -> Result<Mounts> {
        let mut mounts = Mounts::default();
        for mount in container.volume_mounts.iter().flatten() {
            let volume = self.root.join(&mount.name);
            let real = match mount.sub_path.as_deref() {
                None | Some("") => volume,
                Some(sub_path) => {
                    let copy = self.root.join("sub-paths").join(&container.name).join(&mount.name).join(sub_path);
                    copy_all(&volume.join(sub_path), &copy)?;
                    copy
                }
            };
            mounts.0.push((mount.mount_path.clone(), real));
        }
        Ok(mounts)
    }

    /// The files of a volume; `None` for one that only has to be there, as an emptyDir.
    async fn files(&mut self, pod: &Pod, volume: &Volume, sources: &Sources) -> Result<Option<Data>, String> {
        let mut files = Data::new();
        if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            let data = sources.secret(name, secret.optional.unwrap_or(false)).await?;
            project(&mut files, data, secret.items.as_deref())?;
        } else if let Some(map) = &volume.config_map {
            let data = sources.config_map(&map.name, map.optional.unwrap_or(false)).await?;
            project(&mut files, data, map.items.as_deref())?;
        } else if let Some(projected) = &volume.projected {
            self.projected(pod, projected, sources, &mut files).await?;
        } else {
            return Ok(None);
        }
        Ok(Some(files))
    }

    async fn projected(
        &mut self,
        pod: &Pod,
        projected: &ProjectedVolumeSource,
        sources: &Sources,
        files: &mut Data,
    ) -> Result<(), String> {
        for source in projected.sources.iter().flatten() {
            if let Some(secret) = &source.secret {
                let data = sources.secret(&secret.name, secret.optional.unwrap_or(false)).await?;
                project(files, data, secret.items.as_deref())?;
            } else if let Some(map) = &source.config_map {
                let data = sources.config_map(&map.name, map.optional.unwrap_or(false)).await?;
                project(files, data, map.items.as_deref())?;
            } else if let Some(downward) = &source.downward_api {
                for item in downward.items.iter().flatten() {
                    if let Some(selector) = &item.field_ref {
                        files.insert(item.path.clone(), field(pod, &self.address, selector)?.into_bytes());
                    }
                }
            } else if let Some(token) = &source.service_account_token {
                let key = format!("{}\n{}", token.path, token.audience.as_deref().unwrap_or_default());
                if !self.tokens.contains_key(&key) {
                    self.tokens.insert(key.clone(), sources.token(pod, token.audience.as_deref()).await?);
                }
                files.insert(token.path.clone(), self.tokens.get(&key).cloned().unwrap_or_default().into_bytes());
            }
        }
        Ok(())
    }
}

/// Puts the data's keys, or the listed items under their paths, into the files.
fn project(files: &mut Data, data: Option<Data>, items: Option<&[KeyToPath]>) -> Result<(), String> {
    let Some(mut data) = data else { return Ok(()) };
    match items {
        None | Some([]) => files.append(&mut data),
        Some(items) => {
            for item in items {
                let content =
                    data.get(&item.key).ok_or_else(|| format!("references non-existent secret key: {}", item.key))?;
                files.insert(item.path.clone(), content.clone());
            }
        }
    }
    Ok(())
}

/// Makes `folder` show exactly `files` (relative path, content), in one step; does nothing when it does already.
fn swap(folder: &Path, files: &Data) -> Result<()> {
    let data = folder.join("..data");
    let current = fs::read_link(&data).ok();
    if let Some(current) = &current
        && same(&folder.join(current), files)
    {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(Error::io("create folder", folder))?;
    let generation = format!("..{:016x}", crate::process::random());
    for (path, content) in files {
        write(&folder.join(&generation).join(path), content)?;
    }
    fs::create_dir_all(folder.join(&generation)).map_err(Error::io("create folder", folder))?;
    let next = folder.join("..data_tmp");
    symlink(&generation, &next).map_err(Error::io("link", &next))?;
    fs::rename(&next, &data).map_err(Error::io("rename", &data))?;

    let names: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &names {
        let link = folder.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(name), &link).map_err(Error::io("link", &link))?;
        }
    }
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !names.contains(name.as_str()) {
            fs::remove_file(entry.path()).map_err(Error::io("remove", entry.path()))?;
        }
    }
    if let Some(current) = current {
        let old = folder.join(current);
        fs::remove_dir_all(&old).map_err(Error::io("remove", &old))?;
    }
    Ok(())
}

fn same(folder: &Path, files: &Data) -> bool {
    let mut present = BTreeSet::new();
    list(folder, "", &mut present);
    present.iter().eq(files.keys())
        && files.iter().all(|(path, content)| fs::read(folder.join(path)).ok().as_ref() == Some(content))
}

fn list(folder: &Path, prefix: &str, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            list(&entry.path(), &format!("{name}/"), into);
        } else {
            into.insert(name);
        }
    }
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create folder", folder))?;
    }
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(content)).map_err(Error::io("write", path))
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to).map_err(Error::io("create folder", to))?;
        for entry in fs::read_dir(from).map_err(Error::io("list", from))?.flatten() {
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create folder", folder))?;
    }
    fs::copy(from, to).map(drop).map_err(Error::io("copy", from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(files: &[(&str, &str)]) -> Data {
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_folder_changes_in_one_step_and_shows_no_more_than_its_files() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("volume");
        swap(&folder, &data(&[("config.yaml", "one"), ("keys/a", "k"), ("gone", "x")])).unwrap();
        assert_eq!(fs::read_to_string(folder.join("config.yaml")).unwrap(), "one");
        assert_eq!(fs::read_to_string(folder.join("keys/a")).unwrap(), "k");
        // a reader that holds the folder open through its link sees either all old files or all new ones
        let before = fs::read_link(folder.join("..data")).unwrap();
        swap(&folder, &data(&[("config.yaml", "two"), ("keys/b", "k")])).unwrap();
        assert_ne!(fs::read_link(folder.join("..data")).unwrap(), before);
        assert_eq!(fs::read_to_string(folder.join("config.yaml")).unwrap(), "two");
        assert!(!folder.join("gone").exists() && !folder.join("keys/a").exists());
        let mut names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.retain(|name| !name.starts_with("..") || name == "..data");
        assert_eq!(names, ["..data", "config.yaml", "keys"]);
    }

    #[test]
    fn an_unchanged_folder_is_left_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let files = data(&[("a", "1"), ("b", "2")]);
        swap(temporary.path(), &files).unwrap();
        let before = fs::read_link(temporary.path().join("..data")).unwrap();
        swap(temporary.path(), &files).unwrap();
        assert_eq!(fs::read_link(temporary.path().join("..data")).unwrap(), before);
    }

    #[test]
    fn trap_sub_path_mounts_never_refresh() {
        let temporary = tempfile::tempdir().unwrap();
        let volumes = Volumes::new(temporary.path().to_path_buf(), "127.64.0.1", BTreeMap::new());
        let container: Container = serde_json::from_value(serde_json::json!({"name": "c", "volumeMounts": [
            {"name": "v", "mountPath": "/whole"},
            {"name": "v", "mountPath": "/one", "subPath": "a"},
        ]}))
        .unwrap();
        swap(&temporary.path().join("v"), &data(&[("a", "old")])).unwrap();
        let mounts = volumes.mounts(&container).unwrap();
        swap(&temporary.path().join("v"), &data(&[("a", "new")])).unwrap();
        assert_eq!(fs::read_to_string(mounts.rewrite("/whole/a")).unwrap(), "new");
        assert_eq!(fs::read_to_string(mounts.rewrite("/one")).unwrap(), "old");
    }

    #[test]
    fn items_choose_keys_and_paths_and_a_missing_key_is_named() {
        let mut files = Data::new();
        let items: Vec<KeyToPath> =
            vec![KeyToPath { key: "token".into(), path: "sub/token.txt".into(), ..Default::default() }];
        project(&mut files, Some(data(&[("token", "t"), ("other", "o")])), Some(&items)).unwrap();
        assert_eq!(files, data(&[("sub/token.txt", "t")]));
        let error = project(&mut files, Some(data(&[("other", "o")])), Some(&items)).unwrap_err();
        assert!(error.contains("token"), "{error}");
    }
}
