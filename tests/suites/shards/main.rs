//! Several operators on one cluster: each works on the gateways that its label selector takes, never two on one.
//!
//! GitLab's journal tells who called: an operator names its shard to it.

#![allow(missing_docs, clippy::expect_used, reason = "a test program has no API and ends where its world cannot go on")]

mod handover;
mod neighbours;

use std::collections::BTreeSet;

use duo_e2e::operator::Operator;
use duo_e2e::{Options, World, programs};
use duo_sim::gitlab::{Entry, Handle};
use serde_json::{Value, json};

/// The features that each gateway of these tests assigns to its model, as GitLab calls them.
const FEATURES: [&str; 5] =
    ["code_generations", "code_completions", "duo_chat", "duo_chat_explain_code", "duo_chat_write_tests"];
const DECLARED: [&str; 5] =
    ["CodeGenerations", "CodeCompletions", "DuoChat", "DuoChatExplainCode", "DuoChatWriteTests"];

/// A world without an operator, with the rights of `deploy/kustomize/shard` for these shards in its own namespace.
async fn world(shards: &[&str]) -> World {
    let world = World::start("shards", Options { operator: false, ..Options::default() }).await;
    for shard in shards {
        world.apply(&rights(shard, &world.namespace)).await;
    }
    world
}

/// What the example gives the shard `east`, for another shard whose Lease is in this namespace.
fn rights(shard: &str, namespace: &str) -> String {
    let path = programs::checkout("deploy/kustomize/shard/rbac.yaml");
    let text = std::fs::read_to_string(path).expect("the example's rights");
    let text = text
        .replace("duo-operator-east", &format!("duo-operator-{shard}"))
        .replace("name: duo-operator-shard-leases", &format!("name: duo-operator-shard-leases-{shard}"));
    // The ServiceAccount stays where it is.
    let (before, subjects) = text.split_once("subjects:").expect("subjects");
    format!("{}subjects:{subjects}", before.replace("namespace: duo-operator\n", &format!("namespace: {namespace}\n")))
}

/// One replica of a shard.
async fn operator(world: &World, shard: &str, selector: &str) -> Operator {
    let lease = ["--leader-elect", "--leader-namespace", world.namespace.as_str()];
    let args = [lease.as_slice(), &["--shard-name", shard, "--shard-selector", selector]].concat();
    Operator::start(world.control_plane, &world.namespace, 2, &args).await
}

/// Declares a gateway with this label for this GitLab, a model and an assignment of its own.
async fn declare(world: &World, name: &str, shard: &str, gitlab: &Handle) {
    let namespace = &world.namespace;
    let object = |kind: &str, name: &str, labels: Value, spec: Value| {
        json!({
            "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": spec,
        })
        .to_string()
    };
    let gateway = json!({
        "gitlab": {"url": gitlab.url(), "offline": true, "tokenSecretRef": {"name": "gitlab-admin", "key": "token"}},
        "replicas": 1, "url": format!("http://{name}.{namespace}.svc:5052"),
        "providers": {"bedrock": {"region": "us-east-1", "endpoint": world.bedrock.url(),
                                  "credentialsSecretRef": {"name": "aws-bedrock"}}},
    });
    let model = json!({
        "gatewayRef": {"name": name}, "displayName": "Claude 3 Sonnet", "platform": "Bedrock", "family": "Claude",
        "identifier": "bedrock/anthropic.claude-3-sonnet-20240229-v1:0",
    });
    let features = json!({"gatewayRef": {"name": name}, "features": DECLARED, "modelRef": {"name": name}});
    let objects = [
        object("AIGateway", name, json!({"shard": shard}), gateway),
        object("SelfHostedModel", name, json!({}), model),
        object("FeatureAssignment", name, json!({}), features),
    ];
    world.apply(&objects.join("\n---\n")).await;
}

async fn until_all_is_ready(world: &World, name: &str) {
    for kind in ["AIGateway", "SelfHostedModel", "FeatureAssignment"] {
        world.until_ready(kind, name).await;
    }
}

/// The shard that made a call; `None` for what GitLab's users and GitLab itself do.
fn caller(entry: &Entry) -> Option<String> {
    let agent = entry.user_agent.as_deref().filter(|agent| agent.starts_with("duo-operator/"))?;
    let shard = agent.split_once("(shard ").and_then(|(_, rest)| rest.strip_suffix(')'));
    Some(shard.unwrap_or_default().to_owned())
}

/// The shards that called a GitLab since a mark.
fn callers(gitlab: &Handle, mark: u64) -> BTreeSet<String> {
    gitlab.journal().since(mark).iter().filter_map(caller).collect()
}

fn only(shard: &str) -> BTreeSet<String> {
    BTreeSet::from([shard.to_owned()])
}

/// Switches a feature off by hand.
fn switch_off(gitlab: &Handle, feature: &str) {
    gitlab.edit(|state| {
        let row = state.features.get_mut(feature).expect("the feature is set");
        "disabled".clone_into(&mut row.provider);
        row.model_id = None;
    });
}

fn is_served(gitlab: &Handle, feature: &str) -> bool {
    gitlab.state().features.get(feature).is_some_and(|row| row.provider == "self_hosted" && row.model_id.is_some())
}

/// Events with this reason about this object.
async fn told(world: &World, reason: &str, name: &str) -> Vec<String> {
    let events = world.events().await.into_iter();
    events.filter(|event| event.0 == reason && event.1 == name).map(|event| event.2).collect()
}
