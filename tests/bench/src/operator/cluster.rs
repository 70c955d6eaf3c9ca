//! The API server, what is declared in it, and who of it is Ready.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use duo_api::{AIGateway, Feature, FeatureAssignment, SelfHostedModel};
use duo_testkit::control_plane::{ControlPlane, ControlPlaneOptions};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::PostParams;
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::task::JoinSet;

use crate::gitlabs::{GitLabs, TOKEN};
use crate::{Arguments, Fallible, pods};

/// Requests of ours to the API server at the same time.
const AT_ONCE: usize = 16;
/// Name of the one Secret in each namespace.
const SECRET: &str = "bench";

/// Starts the API server with what `kubectl apply -k deploy/kustomize/base` installs, but for the operator's Deployment.
///
/// # Errors
/// It cannot be started.
pub async fn start() -> Fallible<ControlPlane> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let files = [
        "deploy/kustomize/base/namespace.yaml",
        "crds/aigateways.yaml",
        "crds/selfhostedmodels.yaml",
        "crds/featureassignments.yaml",
        "deploy/kustomize/base/rbac.yaml",
    ];
    let mut preload = Vec::new();
    for file in files {
        preload.push(std::fs::read_to_string(root.join(file)).map_err(|error| format!("{file}: {error}"))?);
    }
    let options = ControlPlaneOptions {
        preload: preload.join("\n---\n"),
        // a hundred namespaces' worth of our own requests must not wait behind each other
        api_server_args: vec!["--max-requests-inflight=800".into(), "--max-mutating-requests-inflight=400".into()],
    };
    Ok(ControlPlane::start_with(options).await?)
}

/// Names of what is declared.
pub struct Names {
    namespaces: usize,
}

impl Names {
    pub fn new(arguments: &Arguments) -> Self {
        Self { namespaces: arguments.namespaces.clamp(1, arguments.gateways.max(1)) }
    }

    /// Namespace and name of a gateway.
    pub fn gateway(&self, number: usize) -> (String, String) {
        (format!("bench-{:03}", number % self.namespaces), format!("duo-{number:04}"))
    }

    pub fn model(number: usize, model: usize) -> String {
        format!("duo-{number:04}-model-{model}")
    }

    pub fn assignment(number: usize, assignment: usize) -> String {
        format!("duo-{number:04}-feature-{assignment}")
    }
}

/// Declares everything.
///
/// # Errors
/// The API server refuses.
pub async fn declare(client: &Client, arguments: &Arguments, gitlabs: &GitLabs) -> Fallible<()> {
    let names = Names::new(arguments);
    for number in 0..names.namespaces {
        let name = format!("bench-{number:03}");
        let namespace = json!({"metadata": {"name": name}});
        let all: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        all.create(&PostParams::default(), &serde_json::from_value(namespace)?).await?;
        let secret = json!({"metadata": {"name": SECRET}, "stringData": {"token": TOKEN, "key": "a-models-key"}});
        let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(client.clone(), &name);
        secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
    }
    let (names, per_gateway) = (&names, arguments.assignments.min(Feature::ALL.len()));
    let one = |number: usize| async move {
        let (namespace, gateway) = names.gateway(number);
        let reference = json!({"name": gateway});
        let spec = json!({
            "gitlab": {"url": gitlabs.url(number), "offline": true, "tokenSecretRef": {"name": SECRET, "key": "token"}},
            "url": format!("http://{}:5052", pods::address(number)),
            "requestTimeout": "60s",
        });
        create::<AIGateway>(client, &namespace, &gateway, spec).await?;
        for model in 0..arguments.models {
            let spec = json!({
                "gatewayRef": reference, "displayName": format!("Model {model}"), "platform": "OpenAICompatible",
                "family": "GPT", "identifier": format!("custom_openai/model-{model}"),
                "endpoint": format!("http://vllm-{model}.models.svc:8000/v1"),
                "apiKeySecretRef": {"name": SECRET, "key": "key"},
            });
            create::<SelfHostedModel>(client, &namespace, &Names::model(number, model), spec).await?;
        }
        for (at, feature) in Feature::ALL.iter().take(per_gateway).enumerate() {
            let model = Names::model(number, at % arguments.models.max(1));
            let spec = json!({"gatewayRef": reference, "features": [feature], "modelRef": {"name": model}});
            create::<FeatureAssignment>(client, &namespace, &Names::assignment(number, at), spec).await?;
        }
        Fallible::Ok(())
    };
    futures::stream::iter(0..arguments.gateways).map(one).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    Ok(())
}

async fn create<K>(client: &Client, namespace: &str, name: &str, spec: serde_json::Value) -> Fallible<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + DeserializeOwned
        + serde::Serialize
        + Clone
        + std::fmt::Debug,
{
    let object = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    });
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    Ok(())
}

/// Who is Ready, kept current by watches.
pub struct Readiness {
    ready: Arc<Mutex<HashSet<String>>>,
    _tasks: JoinSet<()>,
}

impl Readiness {
    /// Begins to watch.
    pub fn watch(client: &Client) -> Self {
        let (ready, mut tasks) = (Arc::default(), JoinSet::new());
        tasks.spawn(follow::<AIGateway>(client.clone(), Arc::clone(&ready)));
        tasks.spawn(follow::<SelfHostedModel>(client.clone(), Arc::clone(&ready)));
        tasks.spawn(follow::<FeatureAssignment>(client.clone(), Arc::clone(&ready)));
        Self { ready, _tasks: tasks }
    }

    /// How many are Ready.
    pub fn count(&self) -> usize {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many of a kind are Ready.
    pub fn of_kind(&self, kind: &str) -> usize {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|key| key.starts_with(kind)).count()
    }

    /// Waits until as many are Ready.
    ///
    /// # Errors
    /// They are not within `limit`.
    pub async fn until(&self, wanted: usize, limit: Duration) -> Fallible<()> {
        let waiting = async {
            while self.count() < wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(limit, waiting)
            .await
            .map_err(|_| format!("only {} of {wanted} are Ready after {} s", self.count(), limit.as_secs()).into())
    }
}

async fn follow<K>(client: Client, ready: Arc<Mutex<HashSet<String>>>)
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + DeserializeOwned + serde::Serialize + 'static,
{
    let mut events = watcher::watcher(Api::<K>::all(client), watcher::Config::default()).boxed();
    while let Some(event) = events.next().await {
        let (object, gone) = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => (object, false),
            Ok(Event::Delete(object)) => (object, true),
            _ => continue,
        };
        let key = format!("{} {}/{}", K::kind(&()), object.namespace().unwrap_or_default(), object.name_any());
        let mut ready = ready.lock().unwrap_or_else(PoisonError::into_inner);
        if !gone && is_ready(&object) {
            ready.insert(key);
        } else {
            ready.remove(&key);
        }
    }
}

/// Ready for this generation.
fn is_ready(object: &impl serde::Serialize) -> bool {
    let Ok(object) = serde_json::to_value(object) else { return false };
    let conditions = object.pointer("/status/conditions").and_then(|list| list.as_array()).into_iter().flatten();
    let mut conditions = conditions.filter(|condition| condition["type"] == "Ready");
    conditions.any(|condition| {
        condition["status"] == "True" && condition["observedGeneration"] == object["metadata"]["generation"]
    })
}
