//! Watches, caches, and who is reconciled when what changes.
//!
//! Each kind is watched once. Its cache is brought up to date before anybody is told, so that a reconciler never reads
//! an older world than the one it was woken for. One malformed object is logged and left out; it does not stop the
//! others.

mod cache;
mod children;
mod index;
mod relevance;
mod router;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use duo_api::annotations::GATEWAY_LABEL;
use duo_api::{AIGateway, FeatureAssignment, SelfHostedModel};
use duo_core::inputs::Kind;
use duo_runtime::apply::Applier;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
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

use crate::fresh::Fresh;
use crate::own_writes::OwnWrites;
use cache::{Cache, Change};
use children::Children;
use index::Index;
use relevance::Primary;
pub(crate) use router::Router;
use router::Touched;

/// Wake-ups that wait for a busy controller; beyond that a watch waits.
const QUEUE: usize = 4096;
/// Objects that are read from one answer of a first list: what is in the air is beside the cache.
const PAGE: u32 = 100;
/// Where `kubectl apply` keeps the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Which namespaces are watched (none named: all), and how often our kinds are listed anew.
#[derive(Clone, Debug)]
pub(crate) struct Scope(pub Vec<String>, pub Duration);

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

/// What this process knows of the cluster beside the caches, until a watch tells otherwise. A clone shares it.
#[derive(Clone)]
pub(crate) struct Known {
    /// What was read a moment ago.
    pub fresh: Fresh,
    /// Child objects that were as declared.
    pub applier: Applier,
    /// What was written to our own objects.
    pub own: OwnWrites,
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
    pub models_by_gateway: Index<SelfHostedModel>,
    pub assignments_by_gateway: Index<FeatureAssignment>,
}

impl Stores {
    /// Models of a gateway.
    pub(crate) fn models_of(&self, namespace: &str, gateway: &str) -> Vec<Arc<SelfHostedModel>> {
        of(&self.models, &self.models_by_gateway, namespace, gateway)
    }

    /// Assignments of a gateway.
    pub(crate) fn assignments_of(&self, namespace: &str, gateway: &str) -> Vec<Arc<FeatureAssignment>> {
        of(&self.assignments, &self.assignments_by_gateway, namespace, gateway)
    }
}

/// Caches that are filled by hand.
pub(crate) struct ByHand {
    stores: Stores,
    gateways: Writer<AIGateway>,
    models: Writer<SelfHostedModel>,
    assignments: Writer<FeatureAssignment>,
}

impl Stores {
    /// Empty caches and who fills them.
    pub(crate) fn by_hand() -> (Self, ByHand) {
        let (gateways, gateway_writer) = reflector::store();
        let (models, model_writer) = reflector::store();
        let (assignments, assignment_writer) = reflector::store();
        let (models_by_gateway, assignments_by_gateway) = (Index::default(), Index::default());
        let stores = Self { gateways, models, assignments, models_by_gateway, assignments_by_gateway };
        let by_hand = ByHand {
            stores: stores.clone(),
            gateways: gateway_writer,
            models: model_writer,
            assignments: assignment_writer,
        };
        (stores, by_hand)
    }
}

impl ByHand {
    /// A gateway came, changed or went.
    pub(crate) fn gateway(&mut self, event: Event<AIGateway>) {
        self.gateways.apply_watcher_event(&event);
    }

    /// A model came, changed or went.
    pub(crate) fn model(&mut self, event: Event<SelfHostedModel>) {
        index_by_hand(&self.stores.models, &self.stores.models_by_gateway, &event);
        self.models.apply_watcher_event(&event);
    }

    /// An assignment came, changed or went.
    pub(crate) fn assignment(&mut self, event: Event<FeatureAssignment>) {
        index_by_hand(&self.stores.assignments, &self.stores.assignments_by_gateway, &event);
        self.assignments.apply_watcher_event(&event);
    }
}

fn index_by_hand<K>(store: &Store<K>, index: &Index<K>, event: &Event<K>)
where
    K: index::Dependent + Resource<DynamicType = ()> + Clone + 'static,
{
    let (object, deleted) = match event {
        Event::Apply(object) | Event::InitApply(object) => (object, false),
        Event::Delete(object) => (object, true),
        Event::Init | Event::InitDone => return,
    };
    index.take(object, store.get(&reference(object)).as_deref(), deleted);
}

fn of<K>(store: &Store<K>, index: &Index<K>, namespace: &str, gateway: &str) -> Vec<Arc<K>>
where
    K: index::Dependent + Resource<DynamicType = ()> + Clone + 'static,
{
    let names = index.of(namespace, gateway).into_iter();
    let found = names.filter_map(|name| store.get(&ObjectRef::new(&name).within(namespace)));
    found.filter(|object| object.gateway() == gateway).collect()
}

/// Starts all watches. The tasks run until they are dropped; one that ends is a fault. Nobody is woken before `works`: a
/// replica that waits for its lease keeps its caches current, so that it can begin at once.
pub(crate) fn start(
    client: &kube::Client,
    known: &Known,
    scope: &Scope,
    works: tokio::sync::watch::Receiver<bool>,
    tasks: &mut JoinSet<&'static str>,
) -> (Stores, Wakes, Router) {
    let (gateways, gateway_writer) = reflector::store();
    let (models, model_writer) = reflector::store();
    let (assignments, assignment_writer) = reflector::store();
    let (models_by_gateway, assignments_by_gateway) = (Index::default(), Index::default());
    let stores = Stores { gateways, models, assignments, models_by_gateway, assignments_by_gateway };
    let (gateway_tx, gateway_rx) = mpsc::channel(QUEUE);
    let (model_tx, model_rx) = mpsc::channel(QUEUE);
    let (assignment_tx, assignment_rx) = mpsc::channel(QUEUE);
    let router = Router::new(stores.clone(), known.clone(), works, gateway_tx, model_tx, assignment_tx);

    let (models, assignments) = (stores.models_by_gateway.clone(), stores.assignments_by_gateway.clone());
    let own = |_: &AIGateway, _: Option<&AIGateway>, _: bool| ();
    primary(client, scope, gateway_writer, own, router.clone(), Router::gateway_changed, tasks, "AIGateway");
    let index = move |model: &SelfHostedModel, before: Option<&SelfHostedModel>, deleted| {
        models.take(model, before, deleted);
    };
    primary(client, scope, model_writer, index, router.clone(), Router::model_changed, tasks, "SelfHostedModel");
    let index = move |item: &FeatureAssignment, before: Option<&FeatureAssignment>, deleted| {
        assignments.take(item, before, deleted);
    };
    let (changed, name) = (Router::assignment_changed, "FeatureAssignment");
    primary(client, scope, assignment_writer, index, router.clone(), changed, tasks, name);

    metadata::<Deployment>(client, scope, &router, tasks, "Deployment", What::Children);
    metadata::<Pod>(client, scope, &router, tasks, "Pod", What::Pods);
    metadata::<Service>(client, scope, &router, tasks, "Service", What::Children);
    metadata::<ServiceAccount>(client, scope, &router, tasks, "ServiceAccount", What::Children);
    metadata::<PodDisruptionBudget>(client, scope, &router, tasks, "PodDisruptionBudget", What::Children);
    metadata::<HorizontalPodAutoscaler>(client, scope, &router, tasks, "HorizontalPodAutoscaler", What::Children);
    metadata::<NetworkPolicy>(client, scope, &router, tasks, "NetworkPolicy", What::Children);
    metadata::<Ingress>(client, scope, &router, tasks, "Ingress", What::Children);
    metadata::<Secret>(client, scope, &router, tasks, "Secret", What::Inputs(Kind::Secret));
    metadata::<ConfigMap>(client, scope, &router, tasks, "ConfigMap", What::Inputs(Kind::ConfigMap));
    (stores, Wakes { gateways: gateway_rx, models: model_rx, assignments: assignment_rx }, router)
}

/// Watches one of our kinds: cache first, then the own controller and the dependents.
#[expect(clippy::too_many_arguments, reason = "the parts of one watch, given at three places below each other")]
fn primary<K, F>(
    client: &kube::Client,
    scope: &Scope,
    writer: Writer<K>,
    index: impl Fn(&K, Option<&K>, bool) + Send + 'static,
    router: Router,
    changed: fn(Router, Touched<K>) -> F,
    tasks: &mut JoinSet<&'static str>,
    name: &'static str,
) where
    K: Primary,
    F: Future<Output = ()> + Send + 'static,
{
    let relist = scope.1;
    let watches = scope.apis::<DeserializeGuard<K>>(client).into_iter().enumerate().map(|(at, api)| {
        let watch = move || {
            let config = watcher::Config::default().page_size(PAGE);
            watcher::watcher(api.clone(), config).default_backoff().boxed()
        };
        let events = again_every(relist, watch);
        events.map(move |event| (at, event.map(|event| event.modify(slim)))).boxed()
    });
    let mut events = futures::stream::select_all(watches);
    let mut cache = Cache::new(writer, scope.namespaces(), name);
    tasks.spawn(async move {
        while let Some((at, event)) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(kind = name, %error, "watch was interrupted; it goes on");
                    continue;
                }
            };
            let changes = cache.take(at, event);
            for change in &changes {
                router.known.own.shown(change.object.as_ref());
                index(&change.object, change.before.as_deref(), change.deleted);
            }
            let first = cache.open();
            for Change { object, before: former, deleted } in changes {
                let now = object.relevance();
                let before = former.as_ref().filter(|_| !deleted).map(|former| former.relevance());
                let before = before.as_ref();
                let own = before.is_none_or(|before| before.own != now.own);
                let declared = before.is_none_or(|before| before.declared != now.declared);
                let state = before.is_none_or(|before| before.state != now.state);
                let to_models = before.is_none_or(|before| before.for_models != now.for_models);
                let to_assignments = before.is_none_or(|before| before.for_assignments != now.for_assignments);
                // With the first lists nothing has changed; whoever begins to work begins with everything.
                if !first && (own || declared || state || to_models || to_assignments) {
                    let own = own && !deleted;
                    let touched = Touched { object, former, own, declared, state, to_models, to_assignments };
                    changed(router.clone(), touched).await;
                }
            }
        }
        name
    });
}

/// The name of an object and nothing else: thousands of them are kept, and wait for their turn.
pub(crate) fn reference<K>(object: &K) -> ObjectRef<K>
where
    K: Resource<DynamicType = ()>,
{
    let meta = object.meta();
    ObjectRef::new(meta.name.as_deref().unwrap_or_default()).within(meta.namespace.as_deref().unwrap_or_default())
}

/// Drops what nobody here reads and what is larger than all the rest.
fn slim<K: Primary>(object: &mut DeserializeGuard<K>) {
    if let Ok(object) = &mut object.0 {
        let meta = object.meta_mut();
        meta.managed_fields = None;
        if let Some(annotations) = &mut meta.annotations {
            annotations.remove(LAST_APPLIED);
        }
    }
}

/// Lists and watches from the beginning at times: an event that got lost on the way would never come again otherwise, and
/// one object would be forgotten or never be let go of.
fn again_every<T>(
    every: Duration,
    watch: impl Fn() -> BoxStream<'static, T> + Send + 'static,
) -> impl Stream<Item = T> + Send {
    let deadline = tokio::time::Instant::now() + every;
    futures::stream::unfold((watch(), watch, deadline), move |(mut events, watch, mut deadline)| async move {
        loop {
            tokio::select! {
                event = events.next() => return event.map(|event| (event, (events, watch, deadline))),
                () = tokio::time::sleep_until(deadline) => {
                    events = watch();
                    deadline = tokio::time::Instant::now() + every;
                }
            }
        }
    })
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
        What::Children | What::Pods => watcher::Config::default().page_size(PAGE).labels(GATEWAY_LABEL),
        What::Inputs(_) => watcher::Config::default().page_size(PAGE),
    };
    for api in scope.apis::<PartialObjectMeta<K>>(client) {
        let router = router.clone();
        let mut events = watcher::watcher(api, config.clone()).default_backoff().boxed();
        tasks.spawn(async move {
            let mut children = Children::default();
            while let Some(event) = events.next().await {
                let event = match event {
                    Ok(event) => event,
                    Err(error) => {
                        tracing::warn!(kind = name, %error, "watch was interrupted; it goes on");
                        continue;
                    }
                };
                match &event {
                    Event::Init => router.known.applier.doubt(),
                    Event::Apply(object) | Event::InitApply(object) => {
                        told(&router, name, object, object.meta().resource_version.as_deref());
                    }
                    Event::Delete(object) => told(&router, name, object, None),
                    Event::InitDone => {}
                }
                for gateway in children.take(&event) {
                    if what == What::Pods {
                        router
                            .known
                            .fresh
                            .pods_changed(gateway.namespace.as_deref().unwrap_or_default(), &gateway.name);
                    }
                    router.child_changed(gateway);
                }
                if let (What::Inputs(kind), Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)) =
                    (what, event)
                {
                    router.input_changed(kind, &object).await;
                }
            }
            name
        });
    }
}

fn told<K: Resource<DynamicType = ()>>(
    router: &Router,
    kind: &str,
    object: &PartialObjectMeta<K>,
    version: Option<&str>,
) {
    let namespace = object.meta().namespace.as_deref().unwrap_or_default();
    router.known.applier.told(kind, namespace, object.meta().name.as_deref().unwrap_or_default(), version);
}

/// Why a kind is watched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// The operator makes such objects; they carry its label.
    Children,
    /// A gateway's pods; they carry its label.
    Pods,
    /// Our kinds refer to such objects, and the operator makes some too.
    Inputs(Kind),
}
