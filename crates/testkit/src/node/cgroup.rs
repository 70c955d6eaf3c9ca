//! Control groups: which version the machine has, and the one group below which all pods of a cluster live.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The version of the hierarchy at `/sys/fs/cgroup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// One hierarchy per controller.
    V1,
    /// The unified hierarchy.
    V2,
}

/// The cgroup mounts of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cgroups {
    pub(super) version: Version,
    /// Mount points of the hierarchies.
    mounts: Vec<PathBuf>,
}

/// Reads the machine's mounts.
pub(super) fn detect() -> Result<Cgroups> {
    let path = "/proc/self/mountinfo";
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    parse(&text).ok_or_else(|| Error::Missing {
        what: "a cgroup mount".into(),
        cure: "mount cgroup2 on /sys/fs/cgroup; a container needs --privileged".into(),
    })
}

/// A cgroup2 mount beside v1 controllers ("hybrid") has no controllers of use: that machine is v1. It counts as a mount
/// though, as does the v1 hierarchy without controllers (`name=systemd`): kubelet makes groups in all of them.
fn parse(mountinfo: &str) -> Option<Cgroups> {
    let (mut v1, mut v2, mut controllers) = (Vec::new(), Vec::new(), false);
    for line in mountinfo.lines() {
        let (Some(mount), Some((_, tail))) = (line.split(' ').nth(4), line.split_once(" - ")) else { continue };
        match tail.split(' ').next() {
            Some("cgroup") => {
                controllers |= !tail.contains("name=");
                v1.push(PathBuf::from(mount));
            }
            Some("cgroup2") => v2.push(PathBuf::from(mount)),
            _ => {}
        }
    }
    if controllers {
        v1.append(&mut v2);
        return Some(Cgroups { version: Version::V1, mounts: v1 });
    }
    v2.truncate(1);
    (!v2.is_empty()).then_some(Cgroups { version: Version::V2, mounts: v2 })
}

impl Cgroups {
    /// Makes the top group `name` in every hierarchy; kubelet refuses to start without it.
    pub(super) fn create(&self, name: &str) -> Result<()> {
        for mount in &self.mounts {
            let group = mount.join(name);
            if self.version == Version::V2 {
                // a group has the controllers that its parent hands down. One that cannot be is not our loss: kubelet
                // names those it misses
                let controllers = std::fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
                for controller in controllers.split_whitespace() {
                    drop(std::fs::write(mount.join("cgroup.subtree_control"), format!("+{controller}")));
                }
            }
            std::fs::create_dir_all(&group).map_err(Error::io("create", &group))?;
            // a new cpuset group is empty on v1, and nothing can run in it
            for setting in ["cpuset.cpus", "cpuset.mems"] {
                if self.version == Version::V1 && group.join(setting).exists() {
                    let value = std::fs::read(mount.join(setting)).map_err(Error::io("read", mount.join(setting)))?;
                    std::fs::write(group.join(setting), value).map_err(Error::io("write", group.join(setting)))?;
                }
            }
        }
        Ok(())
    }

    /// Every process in the group `name` or below.
    pub(super) fn processes(&self, name: &str) -> Vec<u32> {
        let mut found: Vec<u32> = self
            .mounts
            .iter()
            .flat_map(|mount| folders(&mount.join(name)))
            .filter_map(|folder| std::fs::read_to_string(folder.join("cgroup.procs")).ok())
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Removes the group and what is below; false while something still lives there.
    pub(super) fn remove(&self, name: &str) -> bool {
        for mount in &self.mounts {
            for folder in folders(&mount.join(name)).iter().rev() {
                // the files of a group cannot be deleted; rmdir of the folder alone is what the kernel wants
                drop(std::fs::remove_dir(folder));
            }
        }
        self.mounts.iter().all(|mount| !mount.join(name).exists())
    }
}

/// A folder and all below it, parents first.
fn folders(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![top.to_owned()];
    while let Some(folder) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        todo.extend(
            entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()),
        );
        found.push(folder);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_told_apart_and_hybrid_is_version_one() {
        let v2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let v1 = "30 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                  31 23 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        assert_eq!(parse(v2), Some(Cgroups { version: Version::V2, mounts: vec!["/sys/fs/cgroup".into()] }));
        let mounts = vec!["/sys/fs/cgroup/cpu".into(), "/sys/fs/cgroup/systemd".into()];
        let expected = Some(Cgroups { version: Version::V1, mounts });
        assert_eq!(parse(v1), expected);
        let hybrid = parse(&format!("{v2}{v1}")).unwrap();
        assert_eq!((hybrid.version, hybrid.mounts.len()), (Version::V1, 3));
        assert_eq!(parse("22 1 8:1 / / rw - ext4 /dev/vda rw\n"), None);
    }

    #[test]
    fn version_two_hands_controllers_down_to_the_group() {
        let mount = tempfile::tempdir().unwrap();
        std::fs::write(mount.path().join("cgroup.controllers"), "memory\n").unwrap();
        let cgroups = Cgroups { version: Version::V2, mounts: vec![mount.path().to_owned()] };
        cgroups.create("duo-x").unwrap();
        assert!(mount.path().join("duo-x").is_dir());
        assert_eq!(std::fs::read_to_string(mount.path().join("cgroup.subtree_control")).unwrap(), "+memory");
        std::fs::write(mount.path().join("duo-x/cgroup.procs"), "7\n9\n7\n").unwrap();
        assert_eq!(cgroups.processes("duo-x"), [7, 9]);
    }

    #[test]
    fn folders_are_listed_parents_first() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(top.path().join("a/b")).unwrap();
        assert_eq!(folders(top.path()), [top.path().to_owned(), top.path().join("a"), top.path().join("a/b")]);
    }
}
