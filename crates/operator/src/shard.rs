//! Which gateways this operator works on; `duo_core::shards` decides, this finds out what it needs.

mod busy;
mod orphans;
mod peers;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use duo_api::AIGateway;
use duo_api::annotations::{SHARD, SHARD_NAMESPACES, SHARD_SELECTOR};
use duo_core::shards::{Scope, Seen, Turn, WHOLE, turn};
use duo_runtime::Uid;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::error::{Error, Next};
use crate::report::{Event, Reporter};
use busy::Busy;
pub(crate) use orphans::watch as watch_orphans;
use peers::Peers;

/// Name of the lease of an operator without a selector; a shard's name follows after a dash.
const LEASE: &str = "duo-operator";
/// A lease is looked at again after this time; so is a gateway that cannot be let go of yet.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How soon a gateway that another operator holds is looked at again.
const HELD: Duration = Duration::from_secs(5);
/// The next pass follows without a pause that anybody would notice.
const AT_ONCE: Duration = Duration::from_millis(100);

/// This operator's part.
pub(crate) struct Shard {
    name: String,
    scope: Scope,
    kube: kube::Client,
    peers: Peers,
    /// Everything is worked on, whatever is noted: nothing is written.
    rehearses: bool,
    busy: Busy,
    /// Gateways that the selector takes no more, by uid.
    leaving: Mutex<HashMap<Uid, Instant>>,
    /// Whose overlap with another's selector has been told, by uid.
    told: Mutex<HashSet<Uid>>,
}

/// The name of a shard's lease.
pub(crate) fn lease_name(shard: &str) -> String {
    if shard == WHOLE { LEASE.to_owned() } else { format!("{LEASE}-{shard}") }
}

/// What a lease tells of what its holder takes.
pub(crate) fn lease_annotations(scope: &Scope) -> std::collections::BTreeMap<String, String> {
    let (selector, namespaces) = scope.written();
    [(SHARD_SELECTOR, selector), (SHARD_NAMESPACES, namespaces)].map(|(name, value)| (name.to_owned(), value)).into()
}

impl Shard {
    /// `leases`: their namespace.
    pub(crate) fn new(name: &str, scope: Scope, kube: kube::Client, leases: &str) -> Self {
        let peers = Peers::new(kube.clone(), leases);
        let (busy, leaving, told) = (Busy::default(), Mutex::default(), Mutex::default());
        Self { name: name.to_owned(), scope, kube, peers, rehearses: false, busy, leaving, told }
    }

    /// For a plan: whoever works on a gateway would do what is planned.
    pub(crate) fn everything(kube: kube::Client) -> Self {
        Self { rehearses: true, ..Self::new(WHOLE, Scope::default(), kube, "") }
    }

    fn takes(&self, gateway: Option<&AIGateway>) -> bool {
        let none = std::collections::BTreeMap::new();
        self.scope.takes_labels(gateway.map_or(&none, |gateway| gateway.labels()))
    }

    /// Counts work on what belongs to a gateway until the guard is dropped. To be taken before it is asked whose the
    /// gateway is.
    pub(crate) fn begin(&self, namespace: &str, gateway: &str) -> busy::Guard {
        self.busy.begin(namespace, gateway)
    }

    /// Whether what belongs to a gateway is worked on here. What belongs to none is like a gateway without labels.
    pub(crate) fn works_on(&self, gateway: Option<&AIGateway>) -> bool {
        let noted = gateway.and_then(|gateway| gateway.annotations().get(SHARD)).map_or(WHOLE, String::as_str);
        self.rehearses || self.takes(gateway) && (gateway.is_none() || noted == self.name)
    }

    /// Takes, leaves or releases a gateway; `None`: work on it.
    pub(crate) async fn turn(&self, gateway: &AIGateway, reporter: &Reporter) -> Result<Option<Next>, Error> {
        if self.rehearses {
            return Ok(None);
        }
        let noted = gateway.annotations().get(SHARD).map(String::as_str);
        let matches = self.takes(Some(gateway));
        let other = noted.unwrap_or(WHOLE);
        let other_lives = matches && other != self.name && self.peers.lives(other).await?;
        let gone_for = self.leaving_for(gateway, matches);
        let busy = self.busy.is(&gateway.namespace().unwrap_or_default(), &gateway.name_any());
        let turn = turn(Seen { me: &self.name, matches, noted, other_lives, gone_for, busy });
        if turn != Turn::Held {
            self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&Uid::of(gateway));
        }
        Ok(match turn {
            Turn::Work => None,
            Turn::Leave => Some(Next::OnChange),
            Turn::Finish => Some(Next::After(LOOK_AGAIN)),
            Turn::Held => {
                self.tell_of_overlap(gateway, other, reporter).await;
                Some(Next::After(HELD))
            }
            Turn::Take => Some(self.note(gateway, Some(&self.name)).await?),
            Turn::Release => Some(self.note(gateway, None).await?),
        })
    }

    /// Says once that two selectors take a gateway. One whose labels moved it here is held, too, until the other has let
    /// go of it: that is no overlap.
    async fn tell_of_overlap(&self, gateway: &AIGateway, other: &str, reporter: &Reporter) {
        let moves = self.peers.scope(other).is_some_and(|scope| !scope.takes_labels(gateway.labels()));
        let told =
            |set: &Mutex<HashSet<Uid>>| !set.lock().unwrap_or_else(PoisonError::into_inner).insert(Uid::of(gateway));
        if moves || told(&self.told) {
            return;
        }
        let name = |shard: &str| match shard {
            WHOLE => "the operator without a selector".to_owned(),
            shard => format!("shard {shard}"),
        };
        let text = format!(
            "{} works on this gateway; {} would take it as well and leaves it alone. Let their selectors not overlap, or \
             change the gateway's labels",
            name(other),
            name(&self.name)
        );
        tracing::warn!(namespace = gateway.namespace().unwrap_or_default(), gateway = gateway.name_any(), text);
        reporter.event(gateway, &Event::warning("ShardsOverlap", text)).await;
    }

    /// Forgets all but these gateways.
    pub(crate) fn keep(&self, uids: &HashSet<Uid>) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid| uids.contains(uid));
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| uids.contains(uid));
    }

    fn leaving_for(&self, gateway: &AIGateway, matches: bool) -> u64 {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = Uid::of(gateway);
        if matches || gateway.annotations().get(SHARD) != Some(&self.name) {
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
}
