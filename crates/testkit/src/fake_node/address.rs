//! Loopback addresses, one per pod.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::process::random;

static GIVEN: Mutex<Option<HashSet<Ipv4Addr>>> = Mutex::new(None);

/// An address of 127.64.0.0 to 127.127.255.255 that this process has not given before, drawn at random because other
/// test programs draw, too, and free on all `ports`.
pub(super) fn allocate(ports: &[u16]) -> Result<IpAddr> {
    let mut guard = GIVEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let given = guard.get_or_insert_with(HashSet::new);
    for _ in 0..1000 {
        let random = random();
        let address =
            Ipv4Addr::new(127, 64 + (random % 64) as u8, (random >> 8) as u8, 1 + ((random >> 16) % 254) as u8);
        let free = |port: &u16| TcpListener::bind(SocketAddr::from((address, *port))).is_ok();
        if !given.contains(&address) && ports.iter().all(free) {
            given.insert(address);
            return Ok(IpAddr::V4(address));
        }
    }
    Err(Error::Missing {
        what: format!("a free loopback address for ports {ports:?}"),
        cure: "something listens on these ports of all addresses (0.0.0.0): find it with `ss -tlnp` and stop it".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_loopback_and_never_given_twice() {
        let mut seen = HashSet::new();
        for _ in 0..50 {
            let address = allocate(&[]).unwrap();
            assert!(address.is_loopback() && seen.insert(address), "{address}");
        }
    }
}
