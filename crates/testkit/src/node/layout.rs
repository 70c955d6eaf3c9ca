//! Names, addresses and paths of one cluster, computed from its name and folder. Nothing here touches the machine.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The bridge's address: the node's own, and the pods' gateway.
pub(super) const NODE_ADDRESS: &str = "10.88.0.1";
pub(super) const POD_RANGE: &str = "10.88.0.0/16";
pub(super) const SERVICE_RANGE: &str = "10.96.0.0/16";
/// The Service `kubernetes`, first address of the range.
pub(super) const API_SERVICE_ADDRESS: &str = "10.96.0.1";
pub(super) const DNS_ADDRESS: &str = "10.96.0.10";
pub(super) const DNS_DOMAIN: &str = "cluster.local";
pub(super) const BRIDGE: &str = "cni0";
/// The end of the veth pair inside the namespace.
pub(super) const UPLINK: &str = "uplink";
pub(super) const API_PORT: u16 = 6443;

/// Where a cluster keeps what, and how its network is called.
///
/// Everything inside the network namespace has the same addresses in every cluster; only the pair of addresses that
/// join it to the machine (`10.89.N.1` outside, `10.89.N.2` inside) differ.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    name: String,
    folder: PathBuf,
}

impl Layout {
    /// `name`: 1 to 10 of a-z, 0-9 and `-`, because interface names have at most 15 bytes.
    pub(super) fn new(name: &str, folder: &Path) -> Result<Self> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 10 || !name.chars().all(good) || name.starts_with('-') {
            return Err(Error::Invalid {
                what: format!("cluster name {name:?}"),
                why: "use 1 to 10 characters of a-z, 0-9 and -".into(),
            });
        }
        // containerd's socket is the longest path that must fit a socket address (108 bytes)
        if !folder.is_absolute() || folder.as_os_str().len() > 70 {
            return Err(Error::Invalid {
                what: format!("cluster folder {}", folder.display()),
                why: "use an absolute path of at most 70 bytes".into(),
            });
        }
        Ok(Self { name: name.to_owned(), folder: folder.to_owned() })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The node's name in the cluster, and the top cgroup of its pods.
    pub(super) fn node(&self) -> String {
        format!("duo-{}", self.name)
    }

    pub(super) fn namespace(&self) -> String {
        format!("duo-{}", self.name)
    }

    pub(super) fn namespace_file(&self) -> PathBuf {
        Path::new("/run/netns").join(self.namespace())
    }

    /// The end of the veth pair outside.
    pub(super) fn link(&self) -> String {
        format!("duo-{}", self.name)
    }

    pub(super) fn cgroup(&self) -> String {
        self.node()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.folder.join(relative)
    }

    pub(super) fn log(&self, program: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{program}.log"))
    }

    /// For people and clients outside the namespace.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// For the node's own programs.
    pub(super) fn inner_kubeconfig(&self) -> PathBuf {
        self.folder.join("pki/node.kubeconfig")
    }

    pub(super) fn containerd_socket(&self) -> PathBuf {
        self.folder.join("containerd/c.sock")
    }

    pub(super) fn kubelet_root(&self) -> PathBuf {
        self.folder.join("kubelet")
    }
}

/// The machine's end of uplink `number`.
pub(super) fn outer_address(number: u8) -> String {
    format!("10.89.{number}.1")
}

/// The cluster's end of uplink `number`: where the API server is reached from outside.
pub(super) fn inner_address(number: u8) -> String {
    format!("10.89.{number}.2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_make_no_interface_name_are_refused() {
        for bad in ["", "Demo", "a b", "elevenchars", "-x", "../x"] {
            assert!(Layout::new(bad, Path::new("/tmp/x")).is_err(), "{bad:?}");
        }
        let layout = Layout::new("0123456789", Path::new("/tmp/x")).unwrap();
        assert!(layout.link().len() <= 15);
    }

    #[test]
    fn folders_too_long_for_a_socket_address_are_refused() {
        assert!(Layout::new("demo", Path::new(&format!("/{}", "x".repeat(70)))).is_err());
        let layout = Layout::new("demo", Path::new(&format!("/{}", "x".repeat(69)))).unwrap();
        assert!(layout.containerd_socket().as_os_str().len() + ".ttrpc".len() < 108);
    }
}
