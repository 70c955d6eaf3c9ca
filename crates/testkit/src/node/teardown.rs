//! Removes a cluster, whoever started it: processes, pods, mounts, network, cgroups, folder. Each step is content with
//! what is already gone, so it can be repeated.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::command::{command, run};
use super::layout::Layout;
use super::state::{self, State};
use super::{cgroup, network};
use crate::error::{Error, Result};

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn down(layout: &Layout, state: &State) -> Result<()> {
    // first those that would start anew what is ended here
    state.end(&["kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy"], PATIENCE);
    pods(layout)?;
    state.end(&[], PATIENCE);
    shim_sockets(layout);
    unmount(layout.folder())?;
    network::remove(layout)?;
    remembered_addresses(layout);
    let cgroups = cgroup::detect()?;
    until(|| cgroups.remove(&layout.cgroup()));
    dangling_links(Path::new("/var/log/containers"), layout.folder());
    match std::fs::remove_dir_all(layout.folder()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", layout.folder())(error)),
        _ => Ok(()),
    }
}

/// Ends what runs in the cluster's own cgroup, and the shims, which containerd leaves behind on purpose.
fn pods(layout: &Layout) -> Result<()> {
    let cgroups = cgroup::detect()?;
    let ended = until(|| {
        let left: Vec<u32> = cgroups.processes(&layout.cgroup()).into_iter().chain(shims(layout)).collect();
        left.iter().for_each(|pid| state::kill(*pid));
        left.is_empty()
    });
    if ended {
        return Ok(());
    }
    Err(Error::Timeout {
        what: format!("the pods of cluster {} to end", layout.name()),
        after: PATIENCE,
        last: format!("{:?} still run", cgroups.processes(&layout.cgroup())),
        log: None,
    })
}

/// A shim names the socket of the containerd it belongs to among its arguments, and no two clusters share one.
fn shims(layout: &Layout) -> Vec<u32> {
    let socket = layout.containerd_socket().display().to_string();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            let shim = words.next().is_some_and(|program| program.ends_with(b"/containerd-shim-runc-v2"));
            shim && words.any(|word| word == socket.as_bytes())
        })
        .collect()
}

/// A shim's socket is in a folder that every containerd of the machine uses; the path stands in the pod's own folder.
fn shim_sockets(layout: &Layout) {
    let tasks = layout.path("containerd/state/io.containerd.runtime.v2.task/k8s.io");
    for task in std::fs::read_dir(tasks).into_iter().flatten().flatten() {
        let address = std::fs::read_to_string(task.path().join("address")).unwrap_or_default();
        if let Some(socket) = address.trim().strip_prefix("unix://") {
            drop(std::fs::remove_file(socket));
        }
    }
}

/// Unmounts everything below the folder, inner mounts first; the folder must not be removed through a mount.
fn unmount(folder: &Path) -> Result<()> {
    let read = || std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for mount in mounts_below(folder, &read()).iter().rev() {
        if run(command("umount", [mount])).is_err() {
            run(command("umount", [Path::new("--lazy"), mount]))?;
        }
    }
    match mounts_below(folder, &read()).first() {
        None => Ok(()),
        Some(left) => Err(Error::Invalid { what: left.display().to_string(), why: "is still mounted".into() }),
    }
}

fn mounts_below(folder: &Path, mountinfo: &str) -> Vec<PathBuf> {
    mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(folder) && mount != folder)
        .collect()
}

/// containerd's CNI library notes each pod's addresses in a folder of the machine, prefixed with the network's name.
fn remembered_addresses(layout: &Layout) {
    let prefix = format!("{}-", layout.namespace());
    for folder in ["/var/lib/cni/results", "/var/lib/cni/cache/results"] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                drop(std::fs::remove_file(entry.path()));
            }
        }
    }
}

/// kubelet links each container's log in a folder that it cannot be told to change.
fn dangling_links(links: &Path, folder: &Path) {
    for entry in std::fs::read_dir(links).into_iter().flatten().flatten() {
        if std::fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(folder)) {
            drop(std::fs::remove_file(entry.path()));
        }
    }
}

/// Repeats until true; false when patience is over.
fn until(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if done() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_below_the_folder_are_found_in_the_order_they_were_made() {
        let text = "1 0 0:1 / /a rw - ext4 x rw\n2 1 0:2 / /a/b rw - tmpfs x rw\n\
                    3 1 0:3 / /a/b/c rw - tmpfs x rw\n4 1 0:4 / /ab rw - tmpfs x rw\n";
        assert_eq!(mounts_below(Path::new("/a"), text), [PathBuf::from("/a/b"), PathBuf::from("/a/b/c")]);
    }

    #[test]
    fn only_links_into_the_folder_are_removed() {
        let top = tempfile::tempdir().unwrap();
        let link = |name: &str, target: &str| std::os::unix::fs::symlink(target, top.path().join(name)).unwrap();
        link("ours", "/x/demo/pod-logs/1.log");
        link("theirs", "/x/demo2/pod-logs/1.log");
        dangling_links(top.path(), Path::new("/x/demo"));
        assert!(std::fs::read_link(top.path().join("ours")).is_err());
        assert!(std::fs::read_link(top.path().join("theirs")).is_ok());
    }
}
