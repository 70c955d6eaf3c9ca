//! The node itself: its Node object, and the loop that binds pods, starts and ends their tasks and keeps the host map.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde_json::json;
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;

use super::{Shared, pod};
use crate::error::{Error, Result};

/// Creates the Node object and says it is Ready.
pub(super) async fn register(client: &Client, name: &str) -> Result<()> {
    let doing = || format!("register Node {name}");
    let api: Api<Node> = Api::all(client.clone());
    let object: Node = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
    }))
    .map_err(|error| Error::Invalid { what: doing(), why: error.to_string() })?;
    api.create(&PostParams::default(), &object).await.map_err(Error::kube(doing()))?;
    let resources = json!({"cpu": "64", "memory": "256Gi", "pods": "1000"});
    let status = json!({"status": {
        "capacity": resources, "allocatable": resources,
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "a fake node"}],
    }});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.map_err(Error::kube(doing()))?;
    Ok(())
}

/// A pod that this node runs.
struct Running {
    updates: channel::Sender<Arc<Pod>>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Objects of one kind as the watch has them, by uid.
struct Known<K> {
    objects: HashMap<String, Arc<K>>,
    /// While a watch starts anew: those seen so far, so that what was deleted meanwhile is noticed.
    restarted: Option<HashMap<String, Arc<K>>>,
}

impl<K: Resource> Known<K> {
    fn new() -> Self {
        Self { objects: HashMap::new(), restarted: None }
    }

    /// Takes an event in; what it returns is there for certain.
    fn apply(&mut self, event: Event<K>) -> Option<Arc<K>> {
        let uid = |object: &K| object.meta().uid.clone().unwrap_or_default();
        match event {
            Event::Init => {
                self.restarted = Some(HashMap::new());
                None
            }
            Event::InitApply(object) => {
                let object = Arc::new(object);
                self.objects.insert(uid(&object), object.clone());
                self.restarted.get_or_insert_default().insert(uid(&object), object.clone());
                Some(object)
            }
            Event::InitDone => {
                self.objects = self.restarted.take().unwrap_or_default();
                None
            }
            Event::Apply(object) => {
                let object = Arc::new(object);
                self.objects.insert(uid(&object), object.clone());
                Some(object)
            }
            Event::Delete(object) => {
                self.objects.remove(&uid(&object));
                None
            }
        }
    }
}

/// Serves until dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let (pods, services): (Api<Pod>, Api<Service>) = match &shared.options.namespace {
        Some(namespace) => {
            (Api::namespaced(shared.client.clone(), namespace), Api::namespaced(shared.client.clone(), namespace))
        }
        None => (Api::all(shared.client.clone()), Api::all(shared.client.clone())),
    };
    let mut pod_events = pin!(watch(pods, watcher::Config::default()).default_backoff());
    let mut service_events = pin!(watch(services, watcher::Config::default()).default_backoff());
    let mut known_pods = Known::<Pod>::new();
    let mut known_services = Known::<Service>::new();
    let mut running: HashMap<String, Running> = HashMap::new();
    loop {
        tokio::select! {
            event = pod_events.next() => match event {
                Some(Ok(event)) => {
                    if let Some(pod) = known_pods.apply(event) {
                        take(&shared, &mut running, pod).await;
                    }
                    running.retain(|uid, _| known_pods.objects.contains_key(uid));
                }
                Some(Err(error)) => tracing::debug!(%error, "watch of pods"),
                None => return,
            },
            event = service_events.next() => match event {
                Some(Ok(event)) => drop(known_services.apply(event)),
                Some(Err(error)) => tracing::debug!(%error, "watch of services"),
                None => return,
            },
        }
        // not in the middle of a watch's start, when half of the objects are not known yet
        if known_pods.restarted.is_none() && known_services.restarted.is_none() {
            let pods: Vec<&Pod> = known_pods.objects.values().map(Arc::as_ref).collect();
            let wanted = shared.hosts.wanted(known_services.objects.values().map(Arc::as_ref), &pods);
            shared.hosts.replace(wanted, shared.options.on_host.as_ref());
        }
    }
}

/// Binds a pod without a node, and runs a pod that is bound to this one.
async fn take(shared: &Arc<Shared>, running: &mut HashMap<String, Running>, pod: Arc<Pod>) {
    let uid = pod.uid().unwrap_or_default();
    match pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
        None => {
            if let Err(error) = bind(shared, &pod).await {
                // it is gone, or another fake node was faster
                tracing::debug!(%error, pod = pod.name_any(), "bind");
            }
        }
        Some(node) if node == shared.node => match running.get(&uid) {
            Some(known) => drop(known.updates.send(pod)),
            None => {
                let (updates, receiver) = channel::channel(pod);
                let task = tokio::spawn(pod::run(shared.clone(), receiver));
                running.insert(uid, Running { updates, task });
            }
        },
        Some(_) => {}
    }
}

async fn bind(shared: &Shared, pod: &Pod) -> Result<(), kube::Error> {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let body = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": name, "namespace": namespace, "uid": pod.uid()},
        "target": {"apiVersion": "v1", "kind": "Node", "name": shared.node},
    });
    let request = http::Request::post(format!("/api/v1/namespaces/{namespace}/pods/{name}/binding"))
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    shared.client.request_text(request).await.map(drop)
}
