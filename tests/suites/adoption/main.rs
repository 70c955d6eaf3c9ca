//! What is taken over and what is not: models that exist already, declarations that lost their memory, and two resources
//! that claim the same thing.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program has no API and ends where its world cannot go on"
)]

mod assignments;
mod existing;
mod gateways;
mod memory;
mod models;

use duo_e2e::{Options, World};

/// A period that does not pass during a test: what happens then, happens because something changed.
const NO_RESYNC: u64 = 86_400;

async fn ready_world(resync_seconds: u64) -> World {
    let world = World::start("adopt", Options { resync_seconds, ..Options::default() }).await;
    world.add_what_is_foreign();
    world.apply_article().await;
    world.until_article_is_ready().await;
    world
}

/// A SelfHostedModel on Bedrock.
fn model(world: &World, name: &str, display_name: &str, family: &str, adoption: &str) -> String {
    format!(
        "apiVersion: duo.selfhosted.dev/v1alpha1
kind: SelfHostedModel
metadata: {{name: {name}, namespace: {}}}
spec:
  gatewayRef: {{name: duo}}
  displayName: {display_name}
  platform: Bedrock
  family: {family}
  identifier: bedrock/anthropic.claude-3-haiku-20240307-v1:0
  adoptionPolicy: {adoption}
---
",
        world.namespace
    )
}

fn assignment(world: &World, name: &str, features: &str, serves: &str) -> String {
    format!(
        "apiVersion: duo.selfhosted.dev/v1alpha1
kind: FeatureAssignment
metadata: {{name: {name}, namespace: {}}}
spec: {{gatewayRef: {{name: duo}}, features: [{features}], {serves}}}
---
",
        world.namespace
    )
}

fn creates(world: &World) -> usize {
    world.mutations_since(0).iter().filter(|mutation| mutation.starts_with("aiSelfHostedModelCreate ")).count()
}

/// creationTimestamp counts in whole seconds: of two objects of one second the name decides.
async fn a_second_passes() {
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
}
