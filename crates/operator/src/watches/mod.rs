//! Watches, caches, and who is reconciled when what changes.
//!
//! Each kind is watched once. Its cache is brought up to date before anybody is told, so that a reconciler never reads
//! an older world than the one it was woken for. One malformed object is logged and left out; it does not stop the
//! others.

mod cache;
mod relevance;
mod router;

use std::collections::HashMap;
use std::fmt::Debug;

use duo_api::annotations::GATEWAY_LABEL;
use duo_api::{AIGateway, FeatureAssignment, SelfHostedModel};
use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use cache::{Cache, Change};
use relevance::{Primary, Relevance};
use router::{Router, Touched};

/// Wake-ups that wait for a busy controller; beyond that a watch waits.
const QUEUE: usize = 4096;

/// Which namespaces are watched: all, or some.
#[derive(Clone, Debug)]
pub(crate) struct Scope(pub Vec<String>);

impl Scope {
    /// One for each watch, in the order of `apis`.
    fn namespaces(&self) -> Vec<Option<String>> {
        if self.0.is_empty() { vec![None] } else { self.0.iter().cloned().map(Some).collect() }
    }

    fn apis<K>(&self, client: &kube::Client) -> Vec<Api<K>>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        self.namespaces()
            .iter()
            .map(|namespace| match namespace {
                None => Api::all(client.clone()),
                Some(namespace) => Api::namespaced(client.clone(), namespace),
            })
            .collect()
    }
}

/// Where wake-ups arrive.
pub(crate) struct Wakes {
    pub gateways: mpsc::Receiver<ObjectRef<AIGateway>>,
    pub models: mpsc::Receiver<ObjectRef<SelfHostedModel>>,
    pub assignments: mpsc::Receiver<ObjectRef<FeatureAssignment>>,
}

/// The caches.
#[derive(Clone)]
pub(crate) struct Stores {
    pub gateways: Store<AIGateway>,
    pub models: Store<SelfHostedModel>,
    pub assignments: Store<FeatureAssignment>,
}

/// Starts all watches. The tasks run until they are dropped; one that ends is a fault.
pub(crate) fn start(client: &kube::Client, scope: &Scope, tasks: &mut JoinSet<&'static str>) -> (Stores, Wakes) {
    let (gateways, gateway_writer) = reflector::store();
    let (models, model_writer) = reflector::store();
    let (assignments, assignment_writer) = reflector::store();
    let stores = Stores { gateways, models, assignments };
    let (gateway_tx, gateway_rx) = mpsc::channel(QUEUE);
    let (model_tx, model_rx) = mpsc::channel(QUEUE);
    let (assignment_tx, assignment_rx) = mpsc::channel(QUEUE);
    let router = Router { stores: stores.clone(), gateways: gateway_tx, models: model_tx, assignments: assignment_tx };

    primary(client, scope, gateway_writer, router.clone(), Router::gateway_changed, tasks, "AIGateway");
    primary(client, scope, model_writer, router.clone(), Router::model_changed, tasks, "SelfHostedModel");
    primary(client, scope, assignment_writer, router.clone(), Router::assignment_changed, tasks, "FeatureAssignment");

    metadata::<Deployment>(client, scope, &router, tasks, "Deployment", What::Children);
    metadata::<Pod>(client, scope, &router, tasks, "Pod", What::Children);
    metadata::<Service>(client, scope, &router, tasks, "Service", What::Children);
    metadata::<ServiceAccount>(client, scope, &router, tasks, "ServiceAccount", What::Children);
    metadata::<PodDisruptionBudget>(client, scope, &router, tasks, "PodDisruptionBudget", What::Children);
    metadata::<Secret>(client, scope, &router, tasks, "Secret", What::Inputs);
    metadata::<ConfigMap>(client, scope, &router, tasks, "ConfigMap", What::Inputs);
    (stores, Wakes { gateways: gateway_rx, models: model_rx, assignments: assignment_rx })
}

/// Watches one of our kinds: cache first, then the own controller and the dependents.
fn primary<K, F>(
    client: &kube::Client,
    scope: &Scope,
    writer: Writer<K>,
    router: Router,
    changed: fn(Router, Touched<K>) -> F,
    tasks: &mut JoinSet<&'static str>,
    name: &'static str,
) where
    K: Primary,
    F: Future<Output = ()> + Send + 'static,
{
    let watches = scope.apis::<DeserializeGuard<K>>(client).into_iter().enumerate().map(|(at, api)| {
        let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
        events.map(move |event| (at, event)).boxed()
    });
    let mut events = futures::stream::select_all(watches);
    let mut cache = Cache::new(writer, scope.namespaces(), name);
    tasks.spawn(async move {
        let mut seen: HashMap<ObjectRef<K>, Relevance> = HashMap::new();
        while let Some((at, event)) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(kind = name, %error, "watch was interrupted; it goes on");
                    continue;
                }
            };
            for Change { object, before: former, deleted } in cache.take(at, event) {
                let key = ObjectRef::from_obj(object.as_ref());
                let now = object.relevance();
                let before = if deleted {
                    seen.remove(&key);
                    None
                } else {
                    seen.get(&key)
                };
                let own = before.is_none_or(|before| before.own != now.own);
                let dependents = before.is_none_or(|before| before.dependents != now.dependents);
                if !deleted {
                    seen.insert(key, now);
                }
                if own || dependents {
                    changed(router.clone(), Touched { object, former, own: own && !deleted, dependents }).await;
                }
            }
        }
        name
    });
}

/// Watches a kind for its metadata only: the reconciler reads what it needs, and no Secret is kept in memory.
fn metadata<K>(
    client: &kube::Client,
    scope: &Scope,
    router: &Router,
    tasks: &mut JoinSet<&'static str>,
    name: &'static str,
    what: What,
) where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let config = match what {
        What::Children => watcher::Config::default().labels(GATEWAY_LABEL),
        What::Inputs => watcher::Config::default(),
    };
    for api in scope.apis::<PartialObjectMeta<K>>(client) {
        let router = router.clone();
        let mut stream = touched(name, watcher::watcher(api, config.clone()).default_backoff()).boxed();
        tasks.spawn(async move {
            while let Some(object) = stream.next().await {
                router.child_changed(&object).await;
                if what == What::Inputs {
                    router.input_changed(name, &object).await;
                }
            }
            name
        });
    }
}

/// Why a kind is watched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// The operator makes such objects; they carry its label.
    Children,
    /// Our kinds refer to such objects, and the operator makes some too.
    Inputs,
}

fn touched<K: Resource<DynamicType = ()> + Clone + 'static>(
    kind: &'static str,
    stream: impl Stream<Item = Result<Event<PartialObjectMeta<K>>, watcher::Error>>,
) -> impl Stream<Item = PartialObjectMeta<K>> {
    stream.touched_objects().filter_map(move |item| async move {
        item.inspect_err(|error| tracing::warn!(kind, %error, "watch was interrupted; it goes on")).ok()
    })
}
