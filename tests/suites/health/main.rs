//! What is told of GitLab, of its versions and licences, and of whether users are served: `Ready` lies in neither
//! direction.

#![allow(missing_docs, reason = "a test program has no API")]
#![allow(clippy::expect_used, clippy::panic, reason = "a suite ends where its world cannot go on")]

mod licence;
mod moment;
mod reach;
mod refused;
mod serving;
mod tiers;
mod versions;

use std::time::Duration;

use duo_e2e::{Options, World};
use serde_json::{Value, json};

/// A world with the article's scenario, Ready.
async fn ready_world(prefix: &str, gitlab: &'static str) -> World {
    let world = World::start(prefix, Options { gitlab, ..Options::default() }).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    world
}

/// Several periods pass, in which GitLab is looked at and neither it nor the API server is written to.
async fn comes_to_rest(world: &World) {
    // the last changes of status wake other controllers once more
    let mark = world.rests_for(Duration::from_secs(6)).await;
    assert!(!world.gitlab.journal().since(mark.1).is_empty(), "no period passed: the test proves nothing");
}

/// A SelfHostedModel on Bedrock.
fn model(world: &World, name: &str, family: &str, identifier: &str) -> String {
    json!({
        "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": "SelfHostedModel",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"gatewayRef": {"name": "duo"}, "displayName": name, "platform": "Bedrock", "family": family,
                 "identifier": identifier},
    })
    .to_string()
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

/// What the status says of GitLab.
fn gitlab_status(gateway: &Value) -> &Value {
    &gateway["status"]["gitlab"]
}
