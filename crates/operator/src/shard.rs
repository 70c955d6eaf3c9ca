//! Which gateways this operator works on; `duo_core::shards` decides, this finds out what it needs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use duo_api::AIGateway;
use duo_api::annotations::SHARD;
use duo_core::selector::Selector;
use duo_core::shards::{Seen, Turn, WHOLE, turn};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::error::{Error, Next};

/// Name of the lease of an operator without a selector; a shard's name follows after a dash.
const LEASE: &str = "duo-operator";
/// A lease is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How soon a gateway that another operator holds is looked at again.
const HELD: Duration = Duration::from_secs(10);
/// The next pass follows without a pause that anybody would notice.
const AT_ONCE: Duration = Duration::from_millis(100);

/// This operator's part.
pub(crate) struct Shard {
    name: String,
    selector: Option<Selector>,
    kube: kube::Client,
    namespace: String,
    /// Other operators' leases: their version, and since when that is the newest.
    leases: Mutex<HashMap<String, Looked>>,
    /// Gateways that the selector takes no more, by uid.
    leaving: Mutex<HashMap<String, Instant>>,
}

#[derive(Clone)]
struct Looked {
    at: Instant,
    version: Option<String>,
    since: Instant,
    lives: bool,
}

/// The name of a shard's lease.
pub(crate) fn lease_name(shard: &str) -> String {
    if shard == WHOLE { LEASE.to_owned() } else { format!("{LEASE}-{shard}") }
}

impl Shard {
    /// `namespace`: that of the leases.
    pub(crate) fn new(name: &str, selector: Option<Selector>, kube: kube::Client, namespace: &str) -> Self {
        let (leases, leaving) = (Mutex::default(), Mutex::default());
        Self { name: name.to_owned(), selector, kube, namespace: namespace.to_owned(), leases, leaving }
    }

    fn takes(&self, gateway: Option<&AIGateway>) -> bool {
        let none = std::collections::BTreeMap::new();
        let labels = gateway.map_or(&none, |gateway| gateway.labels());
        self.selector.as_ref().is_none_or(|selector| selector.matches(labels))
    }

    /// Whether what belongs to a gateway is worked on here. What belongs to none is like a gateway without labels.
    pub(crate) fn works_on(&self, gateway: Option<&AIGateway>) -> bool {
        let noted = gateway.and_then(|gateway| gateway.annotations().get(SHARD)).map_or(WHOLE, String::as_str);
        self.takes(gateway) && (gateway.is_none() || noted == self.name)
    }

    /// Takes, leaves or releases a gateway; `None`: work on it.
    pub(crate) async fn turn(&self, gateway: &AIGateway) -> Result<Option<Next>, Error> {
        let noted = gateway.annotations().get(SHARD).map(String::as_str);
        let matches = self.takes(Some(gateway));
        let other = noted.unwrap_or(WHOLE);
        let other_lives = matches && other != self.name && self.lives(other).await?;
        let gone_for = self.leaving_for(gateway, matches);
        Ok(match turn(Seen { me: &self.name, matches, noted, other_lives, gone_for }) {
            Turn::Work => None,
            Turn::Leave => Some(Next::OnChange),
            Turn::Finish => Some(Next::After(LOOK_AGAIN)),
            Turn::Held => {
                let (gateway, other) = (gateway.name_any(), if other == WHOLE { "without a selector" } else { other });
                tracing::warn!(gateway, other, "another operator works on this gateway, too; their selectors overlap");
                Some(Next::After(HELD))
            }
            Turn::Take => Some(self.note(gateway, Some(&self.name)).await?),
            Turn::Release => Some(self.note(gateway, None).await?),
        })
    }

    fn leaving_for(&self, gateway: &AIGateway, matches: bool) -> u64 {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = gateway.uid().unwrap_or_default();
        if matches || self.selector.is_none() {
            leaving.remove(&uid);
            return 0;
        }
        leaving.entry(uid).or_insert_with(Instant::now).elapsed().as_secs()
    }

    /// Writes the note on the very version that was judged: of two shards one is refused and looks again.
    async fn note(&self, gateway: &AIGateway, name: Option<&str>) -> Result<Next, Error> {
        let api: Api<AIGateway> = Api::namespaced(self.kube.clone(), &gateway.namespace().unwrap_or_default());
        let patch = json!({"metadata": {
            "resourceVersion": gateway.resource_version(), "uid": gateway.uid(), "annotations": {SHARD: name},
        }});
        let what = format!("note the shard of AIGateway {}", gateway.name_any());
        let params = PatchParams::default();
        duo_runtime::call(what, api.patch(&gateway.name_any(), &params, &Patch::Merge(&patch))).await?;
        Ok(Next::After(AT_ONCE))
    }

    /// Whether another operator holds its lease, by this process's clock.
    async fn lives(&self, other: &str) -> Result<bool, Error> {
        let name = lease_name(other);
        let before = self.leases.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        if let Some(before) = before.as_ref().filter(|before| before.at.elapsed() < LOOK_AGAIN) {
            return Ok(before.lives);
        }
        let api: Api<Lease> = Api::namespaced(self.kube.clone(), &self.namespace);
        let lease = duo_runtime::call(format!("get Lease {name}"), api.get_opt(&name)).await?;
        let now = Instant::now();
        let version = lease.as_ref().and_then(ResourceExt::resource_version);
        let since = before.filter(|before| before.version == version).map_or(now, |before| before.since);
        let spec = lease.and_then(|lease| lease.spec).unwrap_or_default();
        let held = spec.holder_identity.is_some_and(|holder| !holder.is_empty());
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(15);
        let lives = held && now.duration_since(since) < Duration::from_secs(seconds);
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        leases.insert(name, Looked { at: now, version, since, lives });
        Ok(lives)
    }
}
