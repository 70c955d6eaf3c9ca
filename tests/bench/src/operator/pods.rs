//! Stands in for kubelets and gateways: pods become Running and Ready at once, each gateway's address answers for all of
//! its pods with the hash and the models that are rendered now, and GitLab's calls to the gateway are answered.
//!
//! Costs one write for each pod. Deployments, ReplicaSets and their statuses are the real controllers'.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock};

use duo_api::annotations::{CONFIG_HASH, GATEWAY_LABEL};
use duo_gateway_config::{CONFIG_FILE, GatewayConfig};
use futures::StreamExt as _;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Fallible;

/// The gateway's port, and that of its metrics and hash.
const PORTS: [u16; 2] = [5052, 8082];

/// What a gateway's pods have taken over.
#[derive(Clone, Default)]
struct Taken {
    hash: String,
    /// Digests of its models by name.
    declared: BTreeMap<String, String>,
}

/// By namespace and name of the gateway.
type Configurations = Arc<RwLock<HashMap<(String, String), Taken>>>;

/// Plays until dropped.
pub struct Pods {
    _tasks: JoinSet<()>,
}

/// The address of a gateway's pods, all of them.
pub fn address(number: usize) -> Ipv4Addr {
    let [high, low] = u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
    Ipv4Addr::new(127, 177, high, low.wrapping_add(1))
}

impl Pods {
    /// Plays for these gateways, by their numbers.
    ///
    /// # Errors
    /// An address is in use.
    pub async fn start(client: Client, gateways: Vec<(String, String)>) -> Fallible<Self> {
        let configurations = Configurations::default();
        let mut tasks = JoinSet::new();
        for (number, key) in gateways.iter().enumerate() {
            for port in PORTS {
                let listener = TcpListener::bind((address(number), port)).await?;
                tasks.spawn(serve(listener, key.clone(), Arc::clone(&configurations)));
            }
        }
        let addresses = gateways.into_iter().enumerate().map(|(number, key)| (key, address(number))).collect();
        tasks.spawn(read_configurations(client.clone(), configurations));
        tasks.spawn(run_pods(client, addresses));
        Ok(Self { _tasks: tasks })
    }
}

async fn read_configurations(client: Client, configurations: Configurations) {
    let config = watcher::Config::default().labels(GATEWAY_LABEL);
    let mut maps = watcher::watcher(Api::<ConfigMap>::all(client), config).default_backoff().touched_objects().boxed();
    while let Some(map) = maps.next().await {
        let Ok(map) = map else { continue };
        let key = (map.namespace().unwrap_or_default(), map.labels().get(GATEWAY_LABEL).cloned().unwrap_or_default());
        let Some(hash) = map.annotations().get(CONFIG_HASH).cloned() else { continue };
        let text = map.data.as_ref().and_then(|data| data.get(CONFIG_FILE));
        let models = text.and_then(|text| GatewayConfig::from_yaml(text).ok()).map(|config| config.models);
        let declared = models.iter().flatten().map(|model| (model.name.clone(), model.digest())).collect();
        configurations.write().unwrap_or_else(PoisonError::into_inner).insert(key, Taken { hash, declared });
    }
}

async fn run_pods(client: Client, addresses: HashMap<(String, String), Ipv4Addr>) {
    let config = watcher::Config::default().labels(GATEWAY_LABEL);
    let pods = watcher::watcher(Api::<Pod>::all(client.clone()), config).default_backoff().touched_objects();
    let (client, addresses) = (&client, &addresses);
    let act = |pod: Result<Pod, watcher::Error>| async move {
        let Ok(pod) = pod else { return };
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        if pod.metadata.deletion_timestamp.is_some() {
            let _ = api.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await;
            return;
        }
        let gateway = pod.labels().get(GATEWAY_LABEL).cloned().unwrap_or_default();
        let running = pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some());
        if let (false, Some(address)) = (running, addresses.get(&(namespace, gateway))) {
            let _ = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(ready(*address))).await;
        }
    };
    pods.for_each_concurrent(8, act).await;
}

fn ready(address: Ipv4Addr) -> serde_json::Value {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |type_| json!({"type": type_, "status": "True", "lastTransitionTime": now});
    json!({"status": {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "startTime": now,
        "conditions": [condition("PodScheduled"), condition("Initialized"), condition("ContainersReady"), condition("Ready")],
    }})
}

async fn serve(listener: TcpListener, gateway: (String, String), configurations: Configurations) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (gateway, configurations) = (gateway.clone(), Arc::clone(&configurations));
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&request, &gateway, &configurations);
                async move { Ok::<_, Infallible>(answer) }
            });
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer(
    request: &Request<Incoming>,
    gateway: &(String, String),
    configurations: &Configurations,
) -> Response<Full<Bytes>> {
    let taken =
        || configurations.read().unwrap_or_else(PoisonError::into_inner).get(gateway).cloned().unwrap_or_default();
    let body = match (request.method(), request.uri().path()) {
        (&Method::GET, "/config/hash") => json!({"hash": taken().hash}),
        (&Method::GET, "/models") => json!({"models": {}, "declared": taken().declared}),
        (&Method::GET, "/models/failing") => json!({"failing": []}),
        // GitLab's connection check looks at the status only
        _ => json!({"response": "ok"}),
    };
    Response::new(Full::new(Bytes::from(body.to_string())))
}
