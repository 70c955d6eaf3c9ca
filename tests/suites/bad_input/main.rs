//! What wrong input gets: a condition with a reason of its own, GitLab's words, and the others go on; cured when the
//! cause is gone, and then users are served.

#![allow(missing_docs, reason = "a test program has no API")]
#![allow(clippy::expect_used, clippy::panic, reason = "a suite ends where its world cannot go on")]

mod gateways;
mod gitlab_away;
mod refused;
mod rights;
mod secrets;
mod versions;

use duo_e2e::World;
use duo_e2e::wait::condition;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

/// Who can cure what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cure {
    /// A person: `Stalled`, which tools take for a failure.
    Person,
    /// Time, or another controller: `Reconciling`.
    Time,
}

/// What an object is expected to say.
#[derive(Clone, Copy, Debug)]
struct Told<'a> {
    object: (&'a str, &'a str),
    /// Condition type, status and reason.
    condition: (&'a str, &'a str, &'a str),
    /// Stand in its message.
    words: &'a [&'a str],
    cure: Cure,
}

impl Told<'_> {
    /// Waits until the object says it and is not Ready for that reason; then it must say who has to act.
    async fn until(self, world: &World) -> Value {
        let (kind, name) = self.object;
        let (type_, status, reason) = self.condition;
        let object = world
            .until(kind, name, &format!("{self:?}"), |object| {
                let (found, why, message) = condition(object, type_);
                let ready = condition(object, "Ready");
                (found.as_str(), why.as_str()) == (status, reason)
                    && self.words.iter().all(|words| message.contains(words))
                    && (ready.0 == status || ready.0 == "False")
                    && ready.1 == reason
                    && object["status"]["observedGeneration"] == object["metadata"]["generation"]
            })
            .await;
        for type_ in types_of(kind) {
            assert_ne!(condition(&object, type_).0, "", "{kind} {name} is silent about {type_}");
        }
        let (stalled, reconciling) = (condition(&object, "Stalled"), condition(&object, "Reconciling"));
        match self.cure {
            Cure::Person => assert_eq!((stalled.0.as_str(), stalled.1.as_str()), ("True", reason), "{kind} {name}"),
            Cure::Time => assert_eq!((stalled.0.as_str(), reconciling.0.as_str()), ("", "True"), "{kind} {name}"),
        }
        object
    }
}

/// The conditions that an object of this kind always has: what cannot be looked at is Unknown.
fn types_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "AIGateway" => &[
            "Ready",
            "TokenValid",
            "ConfigAccepted",
            "WorkloadAvailable",
            "GatewayURLConfigured",
            "GatewayReachable",
            "LicenseActive",
            "CodeSuggestionsModelAssigned",
        ],
        "SelfHostedModel" => &["Ready", "Accepted", "Synced", "ConnectionVerified", "ModelServing"],
        _ => &["Ready", "Accepted", "ModelResolved", "Synced"],
    }
}

/// Merges a patch into a Secret.
async fn patch_secret(world: &World, name: &str, patch: Value) {
    let api: Api<Secret> = Api::namespaced(world.client.clone(), &world.namespace);
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.expect("the Secret is changed");
}

async fn set_token(world: &World, token: &str) {
    patch_secret(world, "gitlab-admin", json!({"stringData": {"token": token}})).await;
}

async fn delete_secret(world: &World, name: &str) {
    let api: Api<Secret> = Api::namespaced(world.client.clone(), &world.namespace);
    api.delete(name, &DeleteParams::default()).await.expect("the Secret is deleted");
}

/// A SelfHostedModel on Bedrock, with fields that differ.
fn model(world: &World, name: &str, spec: Value) -> String {
    let mut object = json!({
        "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": "SelfHostedModel",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"gatewayRef": {"name": "duo"}, "displayName": name, "platform": "Bedrock", "family": "Mixtral",
                 "identifier": "bedrock/mistral.mixtral-8x7b-instruct-v0:1"},
    });
    for (field, value) in spec.as_object().expect("fields") {
        object["spec"][field] = value.clone();
    }
    object.to_string()
}

/// A FeatureAssignment to a model.
fn assignment(world: &World, name: &str, features: &[&str], model: &str) -> String {
    json!({
        "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": "FeatureAssignment",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"gatewayRef": {"name": "duo"}, "features": features, "modelRef": {"name": model}},
    })
    .to_string()
}

/// Nothing was written to GitLab since a mark.
fn nothing_written(world: &World, mark: u64) {
    let writes = world.mutations_since(mark);
    assert!(writes.is_empty(), "written nevertheless: {writes:#?}");
}
