//! GitLab's outbound URL check, which guards saved URLs and the health check's host probe.
//!
//! The texts are those of GitLab's `UrlBlocker`.

use std::net::IpAddr;

use url::{Host, Url};

use crate::hosts::HostMap;

/// What a check lets through.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Private networks.
    pub local_network: bool,
    /// Localhost and loopback addresses.
    pub localhost: bool,
    /// Host names, addresses and networks that always pass.
    pub allowlist: &'a [String],
}

/// Why a URL is refused, in GitLab's words.
///
/// # Errors
/// The words.
pub async fn check(text: &str, policy: Policy<'_>, hosts: &HostMap) -> Result<Url, String> {
    let url = parse(text)?;
    let host = url.host_str().unwrap_or_default().to_owned();
    if policy.allowlist.iter().any(|entry| entry.eq_ignore_ascii_case(&host)) {
        return Ok(url);
    }
    if !policy.localhost && matches!(url.host(), Some(Host::Domain(name)) if name.eq_ignore_ascii_case("localhost")) {
        return Err("Requests to localhost are not allowed".to_owned());
    }
    let port = url.port_or_known_default().unwrap_or(80);
    let addresses = hosts.resolve(&host, port).await.map_err(|_| "Host cannot be resolved or invalid".to_owned())?;
    for address in addresses.iter().map(|address| address.ip().to_canonical()) {
        if policy.allowlist.iter().any(|entry| in_network(address, entry)) {
            continue;
        }
        if !policy.localhost && (address.is_loopback() || address.is_unspecified()) {
            return Err(if address.is_unspecified() {
                "Requests to localhost are not allowed".to_owned()
            } else {
                "Requests to loopback addresses are not allowed".to_owned()
            });
        }
        if !policy.local_network && is_link_local(address) {
            return Err("Requests to the link local network are not allowed".to_owned());
        }
        if !policy.local_network && is_private(address) {
            return Err("Requests to the local network are not allowed".to_owned());
        }
    }
    Ok(url)
}

/// The checks that need no name resolution: it is a URL, and its scheme is http or https.
///
/// # Errors
/// GitLab's words.
pub fn parse(text: &str) -> Result<Url, String> {
    let Ok(url) = Url::parse(text) else { return Err("URI is invalid".to_owned()) };
    if !matches!(url.scheme(), "http" | "https") {
        return Err("Only allowed schemes are http, https".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("URI is invalid".to_owned());
    }
    Ok(url)
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn in_network(address: IpAddr, entry: &str) -> bool {
    let (network, bits) = entry.split_once('/').unwrap_or((entry, ""));
    let Ok(network) = network.parse::<IpAddr>() else { return false };
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let bits = bits.parse::<u32>().unwrap_or(32).min(32);
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let bits = bits.parse::<u32>().unwrap_or(128).min(128);
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}
