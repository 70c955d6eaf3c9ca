//! Where the programs of Kubernetes come from: `KUBEBUILDER_ASSETS` when set, else the cache folder, else a build from
//! source by `kubernetes/build.sh`. Knows nothing of how the programs are run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// Which programs are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// etcd, kube-apiserver, kube-controller-manager, kubectl: needs no root.
    ControlPlane,
    /// Those and kube-scheduler, kubelet, kube-proxy, coredns.
    Node,
}

impl Size {
    /// The names of the programs, as the files are called.
    pub fn programs(self) -> &'static [&'static str] {
        const ALL: [&str; 8] = [
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kubectl",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "coredns",
        ];
        match self {
            Self::ControlPlane => &ALL[..4],
            Self::Node => &ALL,
        }
    }

    fn argument(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Node => "node",
        }
    }
}

/// A folder that has all programs of a [`Size`].
#[derive(Debug, Clone)]
pub struct Assets {
    folder: PathBuf,
}

impl Assets {
    /// Finds the programs, building them when need be.
    ///
    /// `KUBEBUILDER_ASSETS` wins when set and not empty, and must then have every program. Otherwise the cache folder
    /// is used (`$DUO_TESTKIT_CACHE`, or `duo-operator` under `$XDG_CACHE_HOME` or `~/.cache`); what is missing there
    /// is built from source once, which takes about 11 minutes for the control plane on 2 cores, shows its progress on
    /// stderr and needs Go 1.26. Blocks; a second caller waits for the first.
    pub fn locate(size: Size) -> Result<Self> {
        match std::env::var_os("KUBEBUILDER_ASSETS") {
            Some(folder) if !folder.is_empty() => Self::in_folder(Path::new(&folder), size),
            _ => Self::build(size),
        }
    }

    /// The programs in `folder`, or an error that names those it lacks.
    pub fn in_folder(folder: &Path, size: Size) -> Result<Self> {
        let lacking: Vec<&str> =
            size.programs().iter().copied().filter(|program| !folder.join(program).is_file()).collect();
        if lacking.is_empty() {
            return Ok(Self { folder: folder.to_path_buf() });
        }
        Err(Error::Missing {
            what: format!("{} (in KUBEBUILDER_ASSETS={})", lacking.join(", "), folder.display()),
            cure: "put the programs of Kubernetes 1.33 or newer there, or unset KUBEBUILDER_ASSETS to have them built \
                   from source (needs Go 1.26)"
                .into(),
        })
    }

    fn build(size: Size) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kubernetes/build.sh");
        let output = Command::new("sh")
            .arg(&script)
            .arg(size.argument())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(Error::io("run", &script))?;
        let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() || folder.is_empty() {
            return Err(Error::Missing {
                what: format!("a built Kubernetes ({} ended with {})", script.display(), output.status),
                cure: "see its messages above; it needs Go 1.26 or newer and the Go module proxy, or set \
                       KUBEBUILDER_ASSETS to a folder that has the programs"
                    .into(),
            });
        }
        Self::in_folder(Path::new(&folder), size)
    }

    /// The path of one program, as `"kubectl"`.
    pub fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    /// The folder that has the programs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Fails unless this process runs as root; `purpose` completes "root is needed for …".
pub fn require_root(purpose: &str) -> Result<()> {
    // /proc/self is owned by the effective user, and reading that needs no system call of our own
    let metadata = std::fs::metadata("/proc/self").map_err(Error::io("look at", "/proc/self"))?;
    if std::os::unix::fs::MetadataExt::uid(&metadata) == 0 {
        return Ok(());
    }
    Err(Error::Missing {
        what: format!("root (needed for {purpose})"),
        cure: "run the same command with sudo -E".into(),
    })
}

/// Fails unless every program is found, naming the Debian packages that bring the missing ones.
///
/// `wanted` has (path or name of the program, Debian package). A name without a slash is looked up on PATH and in the
/// `sbin` folders, which are not on every user's PATH.
pub fn require_programs(wanted: &[(&str, &str)]) -> Result<()> {
    let lacking: Vec<&(&str, &str)> = wanted.iter().filter(|(program, _)| find_program(program).is_none()).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let programs: Vec<&str> = lacking.iter().map(|(program, _)| *program).collect();
    let mut packages: Vec<&str> = lacking.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    Err(Error::Missing {
        what: programs.join(", "),
        cure: format!("apt-get update && apt-get install -y --no-install-recommends {}", packages.join(" ")),
    })
}

/// The path of a program of the machine: PATH first, then `/usr/local/sbin`, `/usr/sbin`, `/sbin`.
pub fn find_program(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        let path = PathBuf::from(program);
        return path.is_file().then_some(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_lacks_programs_is_refused_by_name_with_the_cure() {
        let folder = tempfile::tempdir().unwrap();
        for program in ["etcd", "kube-apiserver", "kubectl"] {
            std::fs::write(folder.path().join(program), "").unwrap();
        }
        let text = Assets::in_folder(folder.path(), Size::ControlPlane).unwrap_err().to_string();
        assert!(text.starts_with("kube-controller-manager (in KUBEBUILDER_ASSETS="), "{text}");
        assert!(text.contains("unset KUBEBUILDER_ASSETS"), "{text}");
        std::fs::write(folder.path().join("kube-controller-manager"), "").unwrap();
        let assets = Assets::in_folder(folder.path(), Size::ControlPlane).unwrap();
        assert_eq!(assets.path("etcd"), folder.path().join("etcd"));
        assert!(Assets::in_folder(folder.path(), Size::Node).is_err());
    }

    #[test]
    fn missing_programs_name_the_debian_packages_once_each() {
        let error = require_programs(&[
            ("sh", "dash"),
            ("no-such-program-a", "containerd"),
            ("/no/such/program-b", "containerd"),
        ])
        .unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("no-such-program-a, /no/such/program-b is missing"), "{text}");
        assert!(text.ends_with("--no-install-recommends containerd"), "{text}");
    }
}
