//! The controllers themselves, one object after the other, on the [shadow](super::shadow) of the cluster and on a copy of
//! what GitLab holds, until nothing more follows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use duo_core::deletion::Patience;
use duo_core::observed::Instance;
use duo_core::plan::{self, Operation};
use duo_gitlab::Client;
use duo_runtime::lease::Leadership;
use duo_runtime::metrics::Metrics;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::manifests::Kind;
use super::shadow::Shadow;
use super::target::Target;
use crate::contests::Contests;
use crate::context::Context;
use crate::convert;
use crate::fresh::Fresh;
use crate::own_writes::OwnWrites;
use crate::pace::Paces;
use crate::report::Reporter;
use crate::session::Sessions;
use crate::shard::Shard;
use crate::watches::{ByHand, Stores};
use crate::{assignment, gateway, model};

/// Most rounds: a gateway that waits for its pods, its models, their assignments, GitLab's id in the configuration.
const MOST_ROUNDS: usize = 8;

/// A rehearsal takes no period.
const RESYNC: Duration = Duration::from_secs(300);
/// Calls to one GitLab, as the operator makes them by default.
const PER_HOUR: u32 = 5400;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Writes to GitLab by the object that asks for them, as sentences.
    pub operations: BTreeMap<Target, Vec<String>>,
    /// Why an object could not be worked on.
    pub failures: BTreeMap<Target, String>,
    /// Versions of the GitLabs that were looked at.
    pub instances: BTreeMap<String, String>,
}

struct Stage {
    ctx: Context,
    caches: ByHand,
    clients: Arc<Mutex<Vec<Client>>>,
}

/// Lets the controllers work on these objects. All of our objects that are in the shadow are their neighbours.
pub(super) async fn run(shadow: &Shadow, objects: &[Target], image: &str) -> Result<Outcome, String> {
    let mut stage = Stage::new(shadow, image)?;
    let mut outcome = Outcome::default();
    for target in shadow.seen().keys().filter(|target| target.is_ours()) {
        stage.show(target, None, shadow.now(target));
    }
    for _ in 0..MOST_ROUNDS {
        let before = (shadow.writes(), stage.gitlabs());
        for target in objects {
            stage.work(shadow, target, &mut outcome).await;
        }
        if before == (shadow.writes(), stage.gitlabs()) {
            break;
        }
    }
    for client in stage.clients() {
        if let Some((seen, _)) = client.rehearsed() {
            outcome.instances.insert(client.instance().to_owned(), seen.metadata.version);
        }
    }
    Ok(outcome)
}

impl Stage {
    fn new(shadow: &Shadow, image: &str) -> Result<Self, String> {
        let kube = shadow.client();
        let fresh = Fresh::new(kube.clone());
        let (stores, writers) = Stores::by_hand();
        let clients: Arc<Mutex<Vec<Client>>> = Arc::default();
        let kept = Arc::clone(&clients);
        let leadership = Leadership::always();
        let sessions =
            Sessions::new(fresh.clone(), Arc::new(|_| {}), leadership.clone(), Paces::new(RESYNC, PER_HOUR), RESYNC)
                .prepared(Arc::new(move |client| {
                    let client = client.rehearsing();
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(client.clone());
                    client
                }));
        let metrics = Metrics::new("duo_operator");
        let own = OwnWrites::default();
        let ctx = Context {
            fresh,
            applier: duo_runtime::apply::Applier::new(kube.clone(), crate::run::NAME),
            sessions,
            stores,
            reporter: Reporter::new(
                duo_runtime::events::Publisher::new(kube.clone(), crate::run::NAME, "plan"),
                own.clone(),
                &metrics,
            ),
            own,
            shard: Shard::everything(kube.clone()),
            leadership,
            resync: RESYNC,
            patience: Patience::default(),
            places: crate::places::Places::default(),
            contests: Contests::default(),
            attempts: crate::attempts::Attempts::default(),
            followed: crate::since::Since::default(),
            waiting: crate::turn::Waiting::default(),
            gateway_image: image.to_owned(),
            http: reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?,
            lookout: crate::gateway::Lookout::default(),
            pods_assumed: true,
            pruned: crate::gateway::Pruned::default(),
            kube,
        };
        Ok(Self { ctx, caches: writers, clients })
    }

    fn clients(&self) -> Vec<Client> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the copies of all GitLabs hold now; those that were not looked at are `None`.
    fn gitlabs(&self) -> Vec<Option<duo_gitlab::Observation>> {
        self.clients().iter().map(|client| client.rehearsed().map(|(_, now)| now)).collect()
    }

    /// One reconcile, and what it did.
    async fn work(&mut self, shadow: &Shadow, target: &Target, outcome: &mut Outcome) {
        let Some(object) = shadow.now(target) else { return };
        let before = self.gitlabs();
        let result = match Kind::OURS.into_iter().find(|kind| kind.plural() == target.plural) {
            Some(Kind::AIGateway) => match typed(&object) {
                Ok(object) => Box::pin(gateway::reconcile(object, &self.ctx)).await.map_err(|error| error.to_string()),
                Err(why) => Err(why),
            },
            Some(Kind::SelfHostedModel) => match typed(&object) {
                Ok(object) => Box::pin(model::reconcile(object, &self.ctx)).await.map_err(|error| error.to_string()),
                Err(why) => Err(why),
            },
            Some(_) => match typed(&object) {
                Ok(object) => {
                    Box::pin(assignment::reconcile(object, &self.ctx)).await.map_err(|error| error.to_string())
                }
                Err(why) => Err(why),
            },
            None => return,
        };
        match result {
            Ok(_) => outcome.failures.remove(target),
            Err(why) => outcome.failures.insert(target.clone(), why),
        };
        self.show(target, Some(object), shadow.now(target));
        let sentences = self.sentences(&before).await;
        if !sentences.is_empty() {
            outcome.operations.entry(target.clone()).or_default().extend(sentences);
        }
    }

    /// The writes to all GitLabs since `before`.
    async fn sentences(&self, before: &[Option<duo_gitlab::Observation>]) -> Vec<String> {
        let mut sentences = Vec::new();
        for (index, client) in self.clients().into_iter().enumerate() {
            let Some((seen, now)) = client.rehearsed() else { continue };
            let from = before.get(index).cloned().flatten().unwrap_or(seen);
            if from == now {
                continue;
            }
            let Ok(capabilities) = client.capabilities().await else { continue };
            let (from, now) = (convert::instance(from, &capabilities), convert::instance(now, &capabilities));
            sentences.extend(plan::between(&from, &now).iter().map(|operation| named(operation, &from, &now)));
        }
        sentences
    }

    /// Tells the caches what became of an object.
    fn show(&mut self, target: &Target, before: Option<Value>, now: Option<Value>) {
        if target.plural == Kind::AIGateway.plural() {
            tell(before, now, |event| self.caches.gateway(event));
        } else if target.plural == Kind::SelfHostedModel.plural() {
            tell(before, now, |event| self.caches.model(event));
        } else if target.plural == Kind::FeatureAssignment.plural() {
            tell(before, now, |event| self.caches.assignment(event));
        }
    }
}

fn typed<K: DeserializeOwned>(object: &Value) -> Result<Arc<K>, String> {
    serde_json::from_value(object.clone()).map(Arc::new).map_err(|error| {
        format!("the cluster's object cannot be read: {error}; is this program older than the cluster's definitions?")
    })
}

fn tell<K: DeserializeOwned + Clone>(before: Option<Value>, now: Option<Value>, take: impl FnOnce(Event<K>)) {
    let event = match (now, before) {
        (Some(now), _) => typed::<K>(&now).ok().map(|object| Event::Apply(Arc::unwrap_or_clone(object))),
        (None, Some(before)) => typed::<K>(&before).ok().map(|object| Event::Delete(Arc::unwrap_or_clone(object))),
        (None, None) => None,
    };
    if let Some(event) = event {
        take(event);
    }
}

/// The sentence of an operation, with names in place of GitLab's numbers.
fn named(operation: &Operation, before: &Instance, after: &Instance) -> String {
    let mut models: Vec<_> = before.models.iter().chain(&after.models).flatten().collect();
    // the longest number first: 1 stands in 12
    models.sort_by_key(|model| std::cmp::Reverse(model.id.len()));
    let mut sentence = operation.to_string();
    for model in models {
        let name = format!("model {:?}", model.name);
        sentence = sentence.replace(&format!("{} {:?}", model.id, model.name), &name).replace(&model.id, &name);
    }
    sentence
}
