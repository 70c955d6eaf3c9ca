//! The stage of these tests: one gateway pod, and models of simulated servers that are declared as a test needs them.

use duo_e2e::wait::condition;
use duo_e2e::{Options, World};
use duo_sim::gitlab::{Ask, Outcome, What};
use duo_sim::{bedrock, openai};
use serde_json::{Value, json};

/// A world with an AIGateway `duo` of one pod, and `spec` laid over its declaration (JSON merge patch).
pub async fn world(options: Options, spec: &Value) -> World {
    let world = World::start("set", options).await;
    let mut whole = json!({
        "gitlab": {"url": world.gitlab.url(), "offline": true, "tokenSecretRef": {"name": "gitlab-admin"}},
        "replicas": 1,
        "url": format!("http://duo.{}.svc:5052", world.namespace),
        "requestTimeout": "60s",
        "providers": {"bedrock": {
            "region": "us-east-1", "endpoint": world.bedrock.url(), "credentialsSecretRef": {"name": "aws-bedrock"},
        }},
    });
    merge(&mut whole, spec);
    apply(&world, "AIGateway", "duo", &whole).await;
    world
}

/// JSON merge patch, RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    for (name, value) in fields {
        if value.is_null() {
            target.as_object_mut().expect("an object").remove(name);
        } else if value.is_object() && target[name].is_object() {
            merge(&mut target[name], value);
        } else {
            target[name] = value.clone();
        }
    }
}

async fn apply(world: &World, kind: &str, name: &str, spec: &Value) {
    let object = json!({
        "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": world.namespace}, "spec": spec,
    });
    world.apply(&object.to_string()).await;
}

/// Applies a Secret or ConfigMap.
pub async fn data(world: &World, kind: &str, name: &str, values: &[(&str, &str)]) {
    let values: Value =
        values.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect::<serde_json::Map<_, _>>().into();
    let field = if kind == "Secret" { "stringData" } else { "data" };
    let object = json!({
        "apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": world.namespace}, field: values,
    });
    world.apply(&object.to_string()).await;
}

/// A server with OpenAI's API, as vLLM, and the part of a declaration that names it.
pub async fn vllm() -> openai::Handle {
    openai::start(openai::Config::default()).await.expect("an OpenAI-compatible server")
}

/// Declaration of a model on such a server, with `more` laid over it.
pub fn on(server: &openai::Handle, more: &Value) -> Value {
    let mut spec = json!({
        "platform": "OpenAICompatible", "family": "Mistral", "identifier": "custom_openai/duo-sim",
        "endpoint": server.base_url(),
    });
    merge(&mut spec, more);
    spec
}

/// Declaration of Mixtral on the simulated Bedrock, with `more` laid over it.
pub fn on_bedrock(more: &Value) -> Value {
    let mut spec = json!({
        "platform": "Bedrock", "family": "Mixtral", "identifier": "bedrock/mistral.mixtral-8x7b-instruct-v0:1",
    });
    merge(&mut spec, more);
    spec
}

/// Declares a model and what it serves, and waits until users can use it.
pub async fn declare(world: &World, name: &str, spec: &Value, features: &[&str]) {
    let mut whole = json!({"gatewayRef": {"name": "duo"}, "displayName": name});
    merge(&mut whole, spec);
    apply(world, "SelfHostedModel", name, &whole).await;
    let serves = json!({"gatewayRef": {"name": "duo"}, "features": features, "modelRef": {"name": name}});
    apply(world, "FeatureAssignment", name, &serves).await;
    world.until_ready("SelfHostedModel", name).await;
    world.until_ready("FeatureAssignment", name).await;
    settled(world, name).await;
}

/// Changes a declaration (JSON merge patch of its spec) and waits until the pods serve it and the model is checked.
pub async fn change(world: &World, kind: &str, name: &str, spec: &Value) {
    let before = hash(world).await;
    world.patch(kind, name, json!({ "spec": spec })).await.expect("the change is admitted");
    world
        .until("AIGateway", "duo", "another configuration served", |gateway| {
            gateway["status"]["configHash"].as_str() != Some(&before)
                && condition(gateway, "ConfigAccepted").0 == "True"
        })
        .await;
    world.until_ready("AIGateway", "duo").await;
    if kind == "SelfHostedModel" {
        settled(world, name).await;
    }
}

/// The connection check of the last change is over: no call of it meets the faults of a test.
async fn settled(world: &World, model: &str) {
    world.until_condition("SelfHostedModel", model, "ConnectionVerified", "True", "").await;
}

pub async fn hash(world: &World) -> String {
    world.get("AIGateway", "duo").await["status"]["configHash"].as_str().unwrap_or_default().to_owned()
}

/// A developer's editor asks for a completion.
pub async fn complete(world: &World) -> Outcome {
    world.ask(What::CodeCompletion).await
}

/// [`complete`], which must be answered.
pub async fn completes(world: &World) -> Outcome {
    let outcome = complete(world).await;
    assert!(outcome.ok && !outcome.text.trim().is_empty(), "{outcome:#?}\n{}", world.log_tail());
    outcome
}

/// Somebody else's editor asks for a completion.
pub async fn completes_for(world: &World, user: &str) -> Outcome {
    world.gitlab.ask(What::CodeCompletion, &Ask { user: user.to_owned(), ..Ask::default() }).await
}

/// Statuses of the gateway's answers.
pub fn statuses(outcome: &Outcome) -> Vec<u16> {
    outcome.calls.iter().filter_map(|call| call.status).collect()
}

/// Calls of a server so far that asked the model something.
pub fn asked(server: &openai::Handle) -> usize {
    server.journal().calls().iter().filter(|call| call.operation.contains("completions")).count()
}

/// Calls of Bedrock so far.
pub fn asked_bedrock(server: &bedrock::Handle) -> usize {
    server.journal().calls().len()
}

/// What the gateway's pod answers to a GET, asked as `curl` would with these arguments before the URL.
pub async fn curl(args: &[&str], url: &str) -> Result<String, String> {
    let output = tokio::process::Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "20"])
        .args(args)
        .arg(url)
        .output()
        .await
        .expect("curl runs");
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Address of the gateway's pod.
pub fn address(world: &World) -> String {
    let name = format!("duo.{}.svc", world.namespace);
    world.node.hosts().get(&name).expect("a ready pod").to_string()
}

/// The pod's metrics.
pub async fn metrics(world: &World) -> String {
    curl(&[], &format!("http://{}:8082/metrics", address(world))).await.expect("metrics")
}
