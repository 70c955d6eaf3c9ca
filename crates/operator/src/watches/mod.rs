//! Watches, caches, and who is reconciled when what changes.
//!
//! Each kind is watched once. Its cache is brought up to date before anybody is told, so that a reconciler never reads
//! an older world than the one it was woken for. One malformed object is logged and left out; it does not stop the
//! others.

mod relevance;
mod router;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

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

use relevance::{Primary, Relevance};
use router::Router;

/// Wake-ups that wait for a busy controller; beyond that a watch waits.
const QUEUE: usize = 4096;

/// Which namespaces are watched: all, or some.
#[derive(Clone, Debug)]
pub(crate) struct Scope(pub Vec<String>);

impl Scope {
    fn apis<K>(&self, client: &kube::Client) -> Vec<Api<K>>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        if self.0.is_empty() {
            vec![Api::all(client.clone())]
        } else {
            self.0.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
        }
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
    mut writer: Writer<K>,
    router: Router,
    changed: fn(Router, Arc<K>, bool, bool) -> F,
    tasks: &mut JoinSet<&'static str>,
    name: &'static str,
) where
    K: Primary,
    F: Future<Output = ()> + Send + 'static,
{
    let streams: Vec<_> = scope
        .apis::<DeserializeGuard<K>>(client)
        .into_iter()
        .map(|api| watcher::watcher(api, watcher::Config::default()).default_backoff().boxed())
        .collect();
    let mut merged = Merged::new(streams);
    tasks.spawn(async move {
        let mut seen: HashMap<ObjectRef<K>, Relevance> = HashMap::new();
        while let Some(event) = merged.next(name).await {
            let Some(event) = valid(event, name) else { continue };
            writer.apply_watcher_event(&event);
            let objects: Vec<(Arc<K>, bool)> = match event {
                Event::Init | Event::InitApply(_) => Vec::new(),
                Event::InitDone => writer.as_reader().state().into_iter().map(|object| (object, false)).collect(),
                Event::Apply(object) => vec![(Arc::new(object), false)],
                Event::Delete(object) => vec![(Arc::new(object), true)],
            };
            for (object, deleted) in objects {
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
                    changed(router.clone(), object, own && !deleted, dependents).await;
                }
            }
        }
        name
    });
}

/// Leaves out what cannot be read, saying so.
fn valid<K: Resource>(event: Event<DeserializeGuard<K>>, kind: &str) -> Option<Event<K>> {
    let read = |object: DeserializeGuard<K>| match object.0 {
        Ok(object) => Some(object),
        Err(invalid) => {
            tracing::error!(
                kind,
                namespace = invalid.metadata.namespace.as_deref().unwrap_or_default(),
                name = invalid.metadata.name.as_deref().unwrap_or_default(),
                error = invalid.error,
                "object cannot be read and is left out; apply it again in the form of the installed CRD"
            );
            None
        }
    };
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(read(object)?),
        Event::Apply(object) => Event::Apply(read(object)?),
        Event::Delete(object) => Event::Delete(read(object)?),
    })
}

/// A watch's events, with the number of the watch that they come from.
type Tagged<K> = futures::stream::BoxStream<'static, (usize, Result<Event<K>, watcher::Error>)>;

/// Several namespaces' watches as one: the lists of all must be complete before the cache counts as filled.
struct Merged<K> {
    streams: futures::stream::SelectAll<Tagged<K>>,
    listing: Vec<bool>,
    single: bool,
}

impl<K: Send + 'static> Merged<K> {
    fn new(streams: Vec<futures::stream::BoxStream<'static, Result<Event<K>, watcher::Error>>>) -> Self {
        let count = streams.len();
        let tagged = streams.into_iter().enumerate().map(|(at, stream)| stream.map(move |item| (at, item)).boxed());
        Self { streams: futures::stream::select_all(tagged), listing: vec![true; count], single: count == 1 }
    }

    async fn next(&mut self, kind: &'static str) -> Option<Event<K>> {
        loop {
            let (at, item) = self.streams.next().await?;
            let event = match item {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(kind, %error, "watch was interrupted; it goes on");
                    continue;
                }
            };
            if self.single {
                return Some(event);
            }
            // With several lists a re-list of one must not empty the cache of the others: after the first filling its
            // objects arrive as changes.
            let filling = self.listing.iter().any(|listing| *listing);
            match event {
                Event::Init if self.listing.iter().all(|listing| *listing) && at == 0 => return Some(Event::Init),
                Event::Init => {}
                Event::InitDone => {
                    self.listing[at] = false;
                    if filling && self.listing.iter().all(|listing| !listing) {
                        return Some(Event::InitDone);
                    }
                }
                Event::InitApply(object) if !filling => return Some(Event::Apply(object)),
                event => return Some(event),
            }
        }
    }
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
