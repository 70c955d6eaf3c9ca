//! Names that a simulated server resolves, before it asks the system: the DNS of a cluster that is not there.
//!
//! Knows nothing of who fills the map; a control-plane harness enters a Service's DNS name with the address of the
//! process that stands for its pods.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

/// Host names (lower case, without a trailing dot) and the address each one has.
///
/// A clone shares the map. What is not in it is asked of the system's resolver.
#[derive(Clone, Debug, Default)]
pub struct HostMap(Arc<RwLock<HashMap<String, IpAddr>>>);

impl HostMap {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters or replaces a name.
    pub fn insert(&self, host: &str, address: IpAddr) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(normalise(host), address);
    }

    /// Forgets a name; the system's resolver is asked from now on.
    pub fn remove(&self, host: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&normalise(host));
    }

    /// The entered address of a name, without asking the system.
    pub fn get(&self, host: &str) -> Option<IpAddr> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&normalise(host)).copied()
    }

    /// All addresses of `host`: an address literal, an entered name, or what the system's resolver says.
    ///
    /// # Errors
    /// The system's resolver found nothing.
    pub async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        if let Some(address) = self.get(host) {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{host}: no address")));
        }
        Ok(found)
    }
}

impl reqwest::dns::Resolve for HostMap {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let map = self.clone();
        Box::pin(async move {
            let found = HostMap::resolve(&map, name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

fn normalise(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}
