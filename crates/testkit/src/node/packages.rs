//! What a node needs from the machine: root, and programs of Debian packages, installed when they are missing.

use super::command::{command, run};
use crate::assets::{find_program, require_programs, require_root};
use crate::error::Result;

/// Program (or file) and the Debian package that brings it.
const WANTED: [(&str, &str); 14] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("umount", "mount"),
    ("kill", "procps"),
    // the pause image
    ("cc", "gcc"),
    ("/usr/lib/x86_64-linux-gnu/libc.a", "libc6-dev"),
    ("/etc/ssl/certs/ca-certificates.crt", "ca-certificates"),
];

/// The folder of Debian's CNI plugins.
pub(super) const CNI_PLUGINS: &str = "/usr/lib/cni";

/// Fails without root; installs missing packages with apt-get, and fails naming them where that is not possible.
pub(super) fn require(progress: &dyn Fn(&str)) -> Result<()> {
    require_root("network namespaces, containers and mounts")?;
    let mut missing: Vec<&str> =
        WANTED.iter().filter(|(program, _)| find_program(program).is_none()).map(|(_, package)| *package).collect();
    missing.dedup();
    if !missing.is_empty() && find_program("apt-get").is_some() {
        progress(&format!("installing Debian packages: {}", missing.join(" ")));
        // an outdated list is enough more often than not, so a failed update alone is no failure
        drop(run(command("apt-get", ["update", "-q"])));
        let mut install = command("apt-get", ["install", "-q", "-y", "--no-install-recommends"]);
        install.args(&missing).env("DEBIAN_FRONTEND", "noninteractive");
        run(install)?;
    }
    require_programs(&WANTED)
}
