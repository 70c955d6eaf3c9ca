//! What runs in the cluster: which gateway, how many pods, how they are reached, whom they reach, their keys.
//!
//! The API server decides the rules and who owns which field; pods of the fake node are real gateways. For GitLab's own
//! image stands the operator's own gateway, started as that image is: by environment variables, and with the models' keys
//! in GitLab's requests.

#![allow(missing_docs, clippy::expect_used, clippy::panic, reason = "a test program ends where its world cannot go on")]

mod agents;
mod children;
mod implementation;
mod keys;
mod renamed;
mod rules;
mod users;

use duo_e2e::{Options, World};
use serde_json::{Value, json};

/// An image that the fake node serves with the gateway program, named as a mirror would name it.
pub const IMAGE: &str = "mirror.example.com/duo-gateway:self-hosted-v19.5.3-ee";

/// A world with the article's resources, all Ready, and its configuration at rest.
pub async fn article(options: Options) -> World {
    let world = World::start("work", options).await;
    world.apply_article().await;
    at_rest(&world).await;
    world
}

/// Waits until all is Ready and the configuration is served that has the instance's id.
pub async fn at_rest(world: &World) {
    world
        .until("AIGateway", "duo", "an instance id", |gateway| !gateway["status"]["gitlab"]["instanceId"].is_null())
        .await;
    let mut before = Value::Null;
    loop {
        world.until_article_is_ready().await;
        let now = world.get("AIGateway", "duo").await["status"]["configHash"].clone();
        if now == before {
            return;
        }
        before = now;
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    }
}

/// Changes the AIGateway's spec.
pub async fn set(world: &World, spec: Value) {
    world.patch("AIGateway", "duo", json!({ "spec": spec })).await.expect("a patch");
}
