//! The network namespace of a cluster: loopback, the pods' bridge, and a veth pair to the machine.
//!
//! Programs enter it with `nsenter --net=…`; `ip netns exec` would remount /sys and hide the cgroup mounts from kubelet.

use std::path::Path;

use super::command::{command, line, run};
use super::layout::{BRIDGE, Layout, NODE_ADDRESS, UPLINK, inner_address, outer_address};
use crate::error::{Error, Result};

/// Fails when the name is taken by a cluster of another folder: taking this one down would then hit that one.
pub(super) fn unused(layout: &Layout) -> Result<()> {
    if !layout.namespace_file().exists() {
        return Ok(());
    }
    let namespace = layout.namespace();
    Err(Error::Invalid {
        what: format!("cluster name {}", layout.name()),
        why: format!(
            "there is a network namespace {namespace} already, of a cluster in another folder than {}; take that one \
             down or choose another name. If its folder is lost: ip netns delete {namespace}",
            layout.folder().display()
        ),
    })
}

/// Creates namespace, bridge and uplink; returns the uplink's number (`10.89.N.0/30`).
///
/// A lock file keeps two clusters that start at once from taking the same number.
pub(super) fn create(layout: &Layout) -> Result<u8> {
    let lock_path = Path::new("/run/duo-uplinks.lock");
    let lock = std::fs::File::create(lock_path).map_err(Error::io("create", lock_path))?;
    lock.lock().map_err(Error::io("lock", lock_path))?;

    let number =
        free_number(&line("ip -4 -o address show")?, &line("ip -4 route show table all")?).ok_or_else(|| {
            Error::Missing {
                what: "a free range of 10.89.0.0/16".into(),
                cure: "take other clusters down first".into(),
            }
        })?;
    let (namespace, link) = (layout.namespace(), layout.link());
    let (outer, inner) = (outer_address(number), inner_address(number));
    line(&format!("ip netns add {namespace}"))?;
    line(&format!("ip link add {link} type veth peer name {UPLINK} netns {namespace}"))?;
    line(&format!("ip address add {outer}/30 dev {link}"))?;
    line(&format!("ip link set {link} up"))?;
    let inside = [
        "link set lo up".to_owned(),
        format!("address add {inner}/30 dev {UPLINK}"),
        format!("link set {UPLINK} up"),
        format!("link add {BRIDGE} type bridge"),
        format!("address add {NODE_ADDRESS}/16 dev {BRIDGE}"),
        format!("link set {BRIDGE} up"),
        // Service addresses must be routable before kube-proxy can redirect them
        format!("route add default via {outer}"),
    ];
    for words in inside {
        line(&format!("ip -n {namespace} {words}"))?;
    }
    write_setting(layout, "net/ipv4/ip_forward", "1")?;
    Ok(number)
}

/// Makes bridged packets pass iptables, without which a pod cannot reach a Service whose pod sits on the same bridge.
/// False when this kernel cannot; kube-proxy must then masquerade everything.
pub(super) fn filter_bridged(layout: &Layout) -> bool {
    // the module is part of the kernel or loaded here; failing is the answer
    drop(line("modprobe br_netfilter"));
    write_setting(layout, "net/bridge/bridge-nf-call-iptables", "1").is_ok()
}

fn write_setting(layout: &Layout, path: &str, value: &str) -> Result<()> {
    let mut enter = enter(layout);
    enter.args(["sh", "-c", &format!("echo {value} > /proc/sys/{path}")]);
    run(enter).map(drop)
}

/// `nsenter` into the namespace; the caller adds program and arguments.
pub(super) fn enter(layout: &Layout) -> std::process::Command {
    command("nsenter", [format!("--net={}", layout.namespace_file().display())])
}

/// Removes namespace and links; what is gone already is fine.
pub(super) fn remove(layout: &Layout) -> Result<()> {
    if Path::new("/sys/class/net").join(layout.link()).exists() {
        line(&format!("ip link delete {}", layout.link()))?;
    }
    if layout.namespace_file().exists() {
        line(&format!("ip netns delete {}", layout.namespace()))?;
    }
    Ok(())
}

/// The first `N` of `10.89.N.0/30` that neither an address nor a route of the machine mentions.
fn free_number(addresses: &str, routes: &str) -> Option<u8> {
    (0..=255).find(|number| {
        let prefix = format!("10.89.{number}.");
        ![addresses, routes]
            .iter()
            .any(|text| text.split(|c: char| c.is_whitespace()).any(|word| word.starts_with(&prefix)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_in_use_by_address_or_route_is_skipped() {
        let addresses = "2: duo-demo    inet 10.89.0.1/30 scope global duo-demo";
        assert_eq!(free_number("", ""), Some(0));
        assert_eq!(free_number(addresses, ""), Some(1));
        assert_eq!(free_number(addresses, "10.89.1.0/30 dev x scope link"), Some(2));
        assert_eq!(free_number("inet 10.89.10.1/30", ""), Some(0));
    }
}
