//! The leases of the other operators: who lives, and what each takes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use duo_api::annotations::{SHARD_NAMESPACES, SHARD_SELECTOR};
use duo_core::shards::{Peer, Scope, WHOLE};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::{LEASE, LOOK_AGAIN, lease_name};
use crate::error::Error;

/// Without a word of its duration a lease is given this time.
const DURATION: u64 = 15;

/// What is known of the leases of one namespace, by their names.
pub(super) struct Peers {
    leases: Api<Lease>,
    known: Mutex<HashMap<String, Looked>>,
}

#[derive(Clone)]
struct Looked {
    at: Instant,
    version: Option<String>,
    /// Since when this version is the newest, by this process's clock.
    since: Instant,
    lives: bool,
    scope: Option<Scope>,
}

impl Peers {
    pub(super) fn new(kube: kube::Client, namespace: &str) -> Self {
        Self { leases: Api::namespaced(kube, namespace), known: Mutex::default() }
    }

    /// Whether another operator holds its lease, by this process's clock.
    pub(super) async fn lives(&self, other: &str) -> Result<bool, Error> {
        let name = lease_name(other);
        let before = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        if let Some(before) = before.filter(|before| before.at.elapsed() < LOOK_AGAIN) {
            return Ok(before.lives);
        }
        let lease = duo_runtime::call(format!("get Lease {name}"), self.leases.get_opt(&name)).await?;
        Ok(self.note(name, lease).lives)
    }

    /// What another operator takes, as its lease said when it was looked at last.
    pub(super) fn scope(&self, other: &str) -> Option<Scope> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&lease_name(other)).and_then(|looked| looked.scope.clone())
    }

    /// All operators that hold their leases.
    pub(super) async fn all(&self) -> Result<Vec<Peer>, Error> {
        let leases = duo_runtime::call("list Leases", self.leases.list(&ListParams::default())).await?;
        let mut living = Vec::new();
        for lease in leases {
            let name = lease.name_any();
            // Some other lease may begin with the same word.
            let ours = lease.annotations().contains_key(SHARD_SELECTOR);
            let shard = match name.strip_prefix(LEASE) {
                Some("") => WHOLE.to_owned(),
                Some(rest) if ours && rest.starts_with('-') => rest[1..].to_owned(),
                _ => continue,
            };
            let looked = self.note(name, Some(lease));
            if looked.lives {
                living.push((shard, looked.scope));
            }
        }
        Ok(living)
    }

    fn note(&self, name: String, lease: Option<Lease>) -> Looked {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let version = lease.as_ref().and_then(ResourceExt::resource_version);
        let before = known.get(&name).filter(|before| before.version == version);
        let since = before.map_or(now, |before| before.since);
        let annotation = |key| lease.as_ref().and_then(|lease| lease.annotations().get(key)).map(String::as_str);
        let scope = annotation(SHARD_SELECTOR)
            .and_then(|selector| Scope::read(selector, annotation(SHARD_NAMESPACES).unwrap_or_default()));
        let spec = lease.and_then(|lease| lease.spec).unwrap_or_default();
        let held = spec.holder_identity.is_some_and(|holder| !holder.is_empty());
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(DURATION);
        let lives = held && now.duration_since(since) < Duration::from_secs(seconds);
        let looked = Looked { at: now, version, since, lives, scope };
        known.insert(name, looked.clone());
        looked
    }
}
