//! Loopback ports that nobody listens on.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

use crate::error::{Error, Result};

/// Below the range that Linux takes for outgoing connections (32768 and up), so that none of those gets in between.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// `count` ports of 127.0.0.1 that are free now and were not given by this function before in this process.
///
/// Another process can still take one before it is used, which is unlikely (they are drawn at random) and shows as
/// "address already in use" in the log of the program that wanted it.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    let mut guard = GIVEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let given = guard.get_or_insert_with(HashSet::new);
    let mut ports = Vec::with_capacity(count);
    for _ in 0..10_000 {
        if ports.len() == count {
            return Ok(ports);
        }
        let port = RANGE.start + (random() % u64::from(RANGE.end - RANGE.start)) as u16;
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            ports.push(port);
        }
    }
    Err(Error::Missing {
        what: format!("{count} free ports of 127.0.0.1 in {}-{}", RANGE.start, RANGE.end),
        cure: "look for left-over processes with `ss -tlnp`".into(),
    })
}

/// A random number: the standard library seeds its hash maps from the system's random source.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_free_and_never_given_twice() {
        let mut all = HashSet::new();
        for port in (0..10).flat_map(|_| free_ports(5).unwrap()) {
            assert!(all.insert(port), "port {port} was given twice");
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }
}
