//! The mounted folder as one consistent set of files.
//!
//! Kubelet swaps a projected volume by turning one symbolic link (`..data`), so a read goes through that link's target
//! and is repeated when the link has turned meanwhile; a plain folder is read twice until nothing moved. This module
//! reads and compares; what the files mean is decided in [`crate::active`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use duo_gateway_config::{ConfigError, GatewayConfig, folder_hash};

use crate::secret::Secret;

/// Upper limit of all files together; a Kubernetes Secret is at most 1 MiB, a projected volume holds a few.
const MAX_TOTAL_BYTES: u64 = 8 << 20;
/// How often a read is repeated when the folder moves under it.
const ATTEMPTS: usize = 5;

/// What makes one state of the folder different from another, without reading the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    root: PathBuf,
    files: Vec<(String, u64, Option<SystemTime>, u64)>,
}

/// One consistent state of the folder.
#[derive(Clone)]
pub struct Mounted {
    /// The configuration, checked.
    pub config: GatewayConfig,
    /// Hash over all files, as the operator computes it.
    pub hash: String,
    files: BTreeMap<String, Vec<u8>>,
}

/// Why the folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or the folder could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The folder holds more than it should.
    #[error("{path}: holds more than {MAX_TOTAL_BYTES} bytes", path = path.display())]
    TooLarge {
        /// The folder.
        path: PathBuf,
    },
    /// The folder changed during each attempt.
    #[error("{path}: keeps changing while it is read; it will be read again", path = path.display())]
    Moving {
        /// The folder.
        path: PathBuf,
    },
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file holds something else than what the configuration says.
    #[error("{file}: {problem}")]
    File {
        /// Name of the file in the folder.
        file: String,
        /// What is wrong and the cure; never the content.
        problem: String,
    },
}

impl Mounted {
    /// Reads the folder of `config_file`.
    ///
    /// # Errors
    /// [`LoadError`]; never with a file's content.
    pub fn load(config_file: &Path) -> Result<(Self, Fingerprint), LoadError> {
        let folder = folder_of(config_file);
        for _ in 0..ATTEMPTS {
            let before = fingerprint(&folder)?;
            let files = read_all(&folder, &before)?;
            let Some(files) = files else { continue };
            if fingerprint(&folder)? == before {
                return Ok((Self::from_files(config_file, files)?, before));
            }
        }
        Err(LoadError::Moving { path: folder })
    }

    fn from_files(config_file: &Path, files: BTreeMap<String, Vec<u8>>) -> Result<Self, LoadError> {
        let name = config_file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let bytes = files.get(&name).ok_or_else(|| LoadError::Io {
            path: config_file.to_owned(),
            source: std::io::Error::from(std::io::ErrorKind::NotFound),
        })?;
        let text = std::str::from_utf8(bytes)
            .map_err(|_| LoadError::File { file: name, problem: "is not UTF-8 text".to_owned() })?;
        let config = GatewayConfig::from_yaml(text)?;
        let hash = folder_hash(files.iter().map(|(name, bytes)| (name.as_str(), bytes)));
        Ok(Self { config, hash, files })
    }

    /// The text of a file that the configuration names, without surrounding white space.
    ///
    /// # Errors
    /// [`LoadError::File`] when it is not there, not text, or empty.
    pub fn secret(&self, file: &str) -> Result<Secret, LoadError> {
        match self.optional_secret(file)? {
            Some(secret) => Ok(secret),
            None => Err(LoadError::File {
                file: file.to_owned(),
                problem: "is named by the configuration but missing or empty in the folder".to_owned(),
            }),
        }
    }

    /// As [`Mounted::secret`], `None` when the file is missing or empty.
    ///
    /// # Errors
    /// [`LoadError::File`] when it is not text.
    pub fn optional_secret(&self, file: &str) -> Result<Option<Secret>, LoadError> {
        let Some(bytes) = self.files.get(file) else { return Ok(None) };
        let text = std::str::from_utf8(bytes)
            .map_err(|_| LoadError::File { file: file.to_owned(), problem: "is not UTF-8 text".to_owned() })?;
        Ok(Some(text.trim()).filter(|text| !text.is_empty()).map(Secret::new))
    }
}

/// The state of the folder of `config_file` now; cheap enough for every second.
///
/// # Errors
/// [`LoadError::Io`] when the folder cannot be listed.
pub fn fingerprint_of(config_file: &Path) -> Result<Fingerprint, LoadError> {
    fingerprint(&folder_of(config_file))
}

fn folder_of(config_file: &Path) -> PathBuf {
    match config_file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn fingerprint(folder: &Path) -> Result<Fingerprint, LoadError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| LoadError::Io { path, source }
    };
    let data = folder.join("..data");
    let root = match std::fs::canonicalize(&data) {
        Ok(root) => root,
        Err(_) => std::fs::canonicalize(folder).map_err(io(folder))?,
    };
    let mut files = Vec::new();
    let mut total = 0;
    for entry in std::fs::read_dir(&root).map_err(io(&root))? {
        let entry = entry.map_err(io(&root))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        // through links: a projected volume's files are links in one layout and files in another
        let meta = match std::fs::metadata(entry.path()) {
            Ok(meta) if meta.is_file() => meta,
            _ => continue,
        };
        total += meta.len();
        files.push((name, meta.len(), meta.modified().ok(), std::os::unix::fs::MetadataExt::ino(&meta)));
    }
    if total > MAX_TOTAL_BYTES {
        return Err(LoadError::TooLarge { path: root });
    }
    files.sort();
    Ok(Fingerprint { root, files })
}

/// `None` when a listed file is gone meanwhile.
fn read_all(folder: &Path, seen: &Fingerprint) -> Result<Option<BTreeMap<String, Vec<u8>>>, LoadError> {
    let mut files = BTreeMap::new();
    for (name, ..) in &seen.files {
        match std::fs::read(seen.root.join(name)) {
            Ok(bytes) => files.insert(name.clone(), bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LoadError::Io { path: folder.join(name), source }),
        };
    }
    Ok(Some(files))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "gitlab: {url: http://g}";

    fn write(folder: &Path, name: &str, text: &str) {
        std::fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn a_plain_folder_is_read_with_the_operators_hash() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "config.yaml", CONFIG);
        write(folder.path(), "key", " k \n");
        write(folder.path(), ".hidden", "x");
        let (mounted, _) = Mounted::load(&folder.path().join("config.yaml")).unwrap();
        assert_eq!(mounted.hash, folder_hash([("config.yaml", CONFIG), ("key", " k \n")]));
        assert_eq!(mounted.secret("key").unwrap().expose(), "k");
        assert!(mounted.secret("other").unwrap_err().to_string().contains("other"));
    }

    #[test]
    fn kubelets_swap_of_the_data_link_changes_the_fingerprint_and_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (version, key) in [("..v1", "one"), ("..v2", "two")] {
            std::fs::create_dir(root.join(version)).unwrap();
            write(&root.join(version), "config.yaml", CONFIG);
            write(&root.join(version), "key", key);
        }
        std::os::unix::fs::symlink("..v1", root.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/config.yaml", root.join("config.yaml")).unwrap();
        std::os::unix::fs::symlink("..data/key", root.join("key")).unwrap();
        let config = root.join("config.yaml");
        let (first, before) = Mounted::load(&config).unwrap();
        assert_eq!(first.secret("key").unwrap().expose(), "one");
        assert_eq!(fingerprint_of(&config).unwrap(), before);

        std::os::unix::fs::symlink("..v2", root.join("..next")).unwrap();
        std::fs::rename(root.join("..next"), root.join("..data")).unwrap();
        assert_ne!(fingerprint_of(&config).unwrap(), before);
        let (second, _) = Mounted::load(&config).unwrap();
        assert_eq!(second.secret("key").unwrap().expose(), "two");
        assert_ne!(second.hash, first.hash);
    }

    #[test]
    fn errors_name_the_file_and_never_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yaml");
        assert!(Mounted::load(&config).err().unwrap().to_string().contains("config.yaml"));
        write(folder.path(), "config.yaml", "gitlab: {}");
        assert!(Mounted::load(&config).err().unwrap().to_string().contains("url"));
        write(folder.path(), "config.yaml", CONFIG);
        std::fs::write(folder.path().join("key"), b"\xffsecret").unwrap();
        let (mounted, _) = Mounted::load(&config).unwrap();
        let error = mounted.secret("key").unwrap_err().to_string();
        assert!(error.contains("key") && !error.contains("secret"), "{error}");
    }
}
