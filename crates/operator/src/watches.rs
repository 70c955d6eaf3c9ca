//! Watches, caches, and who is reconciled when what changes.
//!
//! Each kind is watched once. Its cache is brought up to date before anybody is told, so that a reconciler never reads
//! an older world than the one it was woken for. One malformed object is logged and left out; it does not stop the
//! others.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use duo_api::annotations::{EXTERNAL_ID, GATEWAY_LABEL};
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
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

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

#[derive(Clone)]
struct Router {
    stores: Stores,
    gateways: mpsc::Sender<ObjectRef<AIGateway>>,
    models: mpsc::Sender<ObjectRef<SelfHostedModel>>,
    assignments: mpsc::Sender<ObjectRef<FeatureAssignment>>,
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

    children::<Deployment>(client, scope, &router, tasks, "Deployment");
    children::<Pod>(client, scope, &router, tasks, "Pod");
    children::<Service>(client, scope, &router, tasks, "Service");
    children::<ServiceAccount>(client, scope, &router, tasks, "ServiceAccount");
    children::<PodDisruptionBudget>(client, scope, &router, tasks, "PodDisruptionBudget");
    inputs::<Secret>(client, scope, &router, tasks, "Secret");
    inputs::<ConfigMap>(client, scope, &router, tasks, "ConfigMap");
    (stores, Wakes { gateways: gateway_rx, models: model_rx, assignments: assignment_rx })
}

/// What of an object wakes whom: a hash for its own controller, another for its dependents.
struct Relevance {
    own: u64,
    dependents: u64,
}

trait Primary:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    fn conditions(&self) -> &[duo_api::Condition];
    /// What dependents read in the status beside the conditions.
    fn outcome(&self) -> Option<&str>;

    fn relevance(&self) -> Relevance {
        let meta = self.meta();
        // Own status writes do not wake the own controller.
        let own =
            hash(&(meta.generation, &meta.annotations, &meta.finalizers, meta.deletion_timestamp.is_some(), &meta.uid));
        let conditions: Vec<_> =
            self.conditions().iter().map(|c| (&c.type_, format!("{:?}", c.status), &c.reason)).collect();
        let external = meta.annotations.as_ref().and_then(|annotations| annotations.get(EXTERNAL_ID));
        let dependents = hash(&(
            meta.generation,
            meta.deletion_timestamp.is_some(),
            &meta.uid,
            conditions,
            self.outcome(),
            external,
        ));
        Relevance { own, dependents }
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Primary for AIGateway {
    fn conditions(&self) -> &[duo_api::Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn outcome(&self) -> Option<&str> {
        self.status.as_ref().and_then(|status| status.config_hash.as_deref())
    }
}

impl Primary for SelfHostedModel {
    fn conditions(&self) -> &[duo_api::Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn outcome(&self) -> Option<&str> {
        self.status.as_ref().and_then(|status| status.gitlab_id.as_deref())
    }
}

impl Primary for FeatureAssignment {
    fn conditions(&self) -> &[duo_api::Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn outcome(&self) -> Option<&str> {
        None
    }
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

/// Watches children by label; only their metadata, the reconciler reads what it needs.
fn children<K>(
    client: &kube::Client,
    scope: &Scope,
    router: &Router,
    tasks: &mut JoinSet<&'static str>,
    name: &'static str,
) where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let config = watcher::Config::default().labels(GATEWAY_LABEL);
    for api in scope.apis::<PartialObjectMeta<K>>(client) {
        let router = router.clone();
        let mut stream = touched(name, watcher::watcher(api, config.clone()).default_backoff()).boxed();
        tasks.spawn(async move {
            while let Some(object) = stream.next().await {
                router.child_changed(&object).await;
            }
            name
        });
    }
}

/// Watches what our kinds refer to; only metadata, so that no Secret is kept in memory.
fn inputs<K>(
    client: &kube::Client,
    scope: &Scope,
    router: &Router,
    tasks: &mut JoinSet<&'static str>,
    name: &'static str,
) where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    for api in scope.apis::<PartialObjectMeta<K>>(client) {
        let router = router.clone();
        let mut stream = touched(name, watcher::watcher(api, watcher::Config::default()).default_backoff()).boxed();
        tasks.spawn(async move {
            while let Some(object) = stream.next().await {
                router.child_changed(&object).await;
                router.input_changed(name, &object).await;
            }
            name
        });
    }
}

fn touched<K: Resource<DynamicType = ()> + Clone + 'static>(
    kind: &'static str,
    stream: impl Stream<Item = Result<Event<PartialObjectMeta<K>>, watcher::Error>>,
) -> impl Stream<Item = PartialObjectMeta<K>> {
    stream.touched_objects().filter_map(move |item| async move {
        item.inspect_err(|error| tracing::warn!(kind, %error, "watch was interrupted; it goes on")).ok()
    })
}

impl Router {
    async fn gateway_changed(self, gateway: Arc<AIGateway>, own: bool, dependents: bool) {
        let (namespace, name) = (gateway.namespace().unwrap_or_default(), gateway.name_any());
        if own {
            let _ = self.gateways.send(ObjectRef::from_obj(gateway.as_ref())).await;
        }
        if dependents {
            self.wake_dependents(&namespace, &name).await;
            // Another gateway for the same GitLab may take over when this one goes.
            let key = duo_core::url_rules::instance_key(&gateway.spec.gitlab.url);
            for other in self.stores.gateways.state() {
                let same = duo_core::url_rules::instance_key(&other.spec.gitlab.url) == key;
                if same && other.uid() != gateway.uid() {
                    let _ = self.gateways.send(ObjectRef::from_obj(other.as_ref())).await;
                }
            }
        }
    }

    async fn wake_dependents(&self, namespace: &str, gateway: &str) {
        for model in self.stores.models.state() {
            if model.namespace().as_deref() == Some(namespace) && model.spec.gateway_ref.name == gateway {
                let _ = self.models.send(ObjectRef::from_obj(model.as_ref())).await;
            }
        }
        for item in self.stores.assignments.state() {
            if item.namespace().as_deref() == Some(namespace) && item.spec.gateway_ref.name == gateway {
                let _ = self.assignments.send(ObjectRef::from_obj(item.as_ref())).await;
            }
        }
    }

    async fn model_changed(self, model: Arc<SelfHostedModel>, own: bool, dependents: bool) {
        if own {
            let _ = self.models.send(ObjectRef::from_obj(model.as_ref())).await;
        }
        if dependents {
            let (namespace, gateway) = (model.namespace().unwrap_or_default(), model.spec.gateway_ref.name.clone());
            let _ = self.gateways.send(ObjectRef::new(&gateway).within(&namespace)).await;
            // Siblings whose claim lost may win now; assignments wait for the model's id.
            for other in self.stores.models.state() {
                let same = other.spec.gateway_ref.name == gateway && other.namespace().as_deref() == Some(&namespace);
                let contends = other.spec.display_name == model.spec.display_name
                    || other.spec.identifier == model.spec.identifier;
                if same && contends && other.uid() != model.uid() {
                    let _ = self.models.send(ObjectRef::from_obj(other.as_ref())).await;
                }
            }
            for item in self.stores.assignments.state() {
                let references = item.spec.model_ref.as_ref().is_some_and(|r| r.name == model.name_any());
                if references && item.namespace().as_deref() == Some(&namespace) {
                    let _ = self.assignments.send(ObjectRef::from_obj(item.as_ref())).await;
                }
            }
        }
    }

    async fn assignment_changed(self, item: Arc<FeatureAssignment>, own: bool, dependents: bool) {
        if own {
            let _ = self.assignments.send(ObjectRef::from_obj(item.as_ref())).await;
        }
        if dependents {
            let (namespace, gateway) = (item.namespace().unwrap_or_default(), item.spec.gateway_ref.name.clone());
            let _ = self.gateways.send(ObjectRef::new(&gateway).within(&namespace)).await;
            if let Some(reference) = &item.spec.model_ref {
                let _ = self.models.send(ObjectRef::new(&reference.name).within(&namespace)).await;
            }
            for other in self.stores.assignments.state() {
                let same = other.spec.gateway_ref.name == gateway && other.namespace().as_deref() == Some(&namespace);
                let contends = other.spec.features.iter().any(|feature| item.spec.features.contains(feature));
                if same && contends && other.uid() != item.uid() {
                    let _ = self.assignments.send(ObjectRef::from_obj(other.as_ref())).await;
                }
            }
        }
    }

    async fn child_changed<K: Resource<DynamicType = ()> + Sync>(&self, child: &PartialObjectMeta<K>) {
        if let (Some(namespace), Some(gateway)) = (child.namespace(), child.labels().get(GATEWAY_LABEL)) {
            let _ = self.gateways.send(ObjectRef::new(gateway).within(&namespace)).await;
        }
    }

    async fn input_changed<K: Resource<DynamicType = ()> + Sync>(&self, kind: &str, input: &PartialObjectMeta<K>) {
        let (namespace, name) = (input.namespace().unwrap_or_default(), input.name_any());
        let mut woken: Vec<String> = Vec::new();
        for gateway in self.stores.gateways.state() {
            if gateway.namespace().as_deref() == Some(&namespace) && gateway_refers_to(&gateway, kind, &name) {
                woken.push(gateway.name_any());
                self.wake_dependents(&namespace, &gateway.name_any()).await;
            }
        }
        for model in self.stores.models.state() {
            let refers = kind == "Secret" && model.spec.api_key_secret_ref.as_ref().is_some_and(|r| r.name == name);
            if refers && model.namespace().as_deref() == Some(&namespace) {
                woken.push(model.spec.gateway_ref.name.clone());
                let _ = self.models.send(ObjectRef::from_obj(model.as_ref())).await;
            }
        }
        for gateway in woken {
            let _ = self.gateways.send(ObjectRef::new(&gateway).within(&namespace)).await;
        }
    }
}

fn gateway_refers_to(gateway: &AIGateway, kind: &str, name: &str) -> bool {
    let bundle = gateway.spec.gitlab.ca_bundle_ref.as_ref();
    if bundle.is_some_and(|bundle| bundle.name == name && format!("{:?}", bundle.kind) == kind) {
        return true;
    }
    let bedrock = gateway.spec.providers.as_ref().and_then(|providers| providers.bedrock.as_ref());
    kind == "Secret"
        && (gateway.spec.gitlab.token_secret_ref.name == name
            || bedrock.and_then(|b| b.credentials_secret_ref.as_ref()).is_some_and(|reference| reference.name == name))
}
