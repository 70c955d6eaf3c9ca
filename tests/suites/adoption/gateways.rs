//! Two AIGateways for one GitLab, by one URL or by two.

use duo_e2e::World;
use duo_e2e::wait::condition;

use crate::{NO_RESYNC, a_second_passes, ready_world};

const G: &str = "AIGateway";

fn gateway(world: &World, name: &str, gitlab: &str) -> String {
    format!(
        "apiVersion: duo.selfhosted.dev/v1alpha1
kind: AIGateway
metadata: {{name: {name}, namespace: {}}}
spec:
  gitlab: {{url: '{gitlab}', offline: true, tokenSecretRef: {{name: gitlab-admin, key: token}}}}
  replicas: 1
---
",
        world.namespace
    )
}

fn urls_written(world: &World) -> Vec<String> {
    let all = world.mutations_since(0);
    all.into_iter().filter(|mutation| mutation.starts_with("duoSettingsUpdate ")).collect()
}

async fn one_gitlab_has_one_gateway(gitlab: impl Fn(&World) -> String) {
    let world = ready_world(NO_RESYNC).await;
    let ours = world.gitlab.state().settings.ai_gateway_url;
    assert_eq!(urls_written(&world).len(), 1);
    a_second_passes().await;
    world.apply(&gateway(&world, "another", &gitlab(&world))).await;
    let refused = world.until_condition(G, "another", "GatewayURLConfigured", "False", "InstanceClaimed").await;
    let (_, _, message) = condition(&refused, "GatewayURLConfigured");
    assert!(message.contains(&format!("{}/duo", world.namespace)), "the older is not named: {message}");
    assert_eq!(condition(&refused, "Stalled").0, "True");
    world
        .until(G, "another", "its own pods are there", |object| condition(object, "WorkloadAvailable").0 == "True")
        .await;
    assert_eq!(urls_written(&world).len(), 1, "the younger wrote to GitLab: {:#?}", urls_written(&world));
    assert_eq!(world.gitlab.state().settings.ai_gateway_url, ours);
    world.users_are_served().await;

    // The older goes: its URL is taken back first, then the younger takes over.
    for (kind, name) in World::article_objects().into_iter().rev() {
        world.delete(kind, name).await;
    }
    for (kind, name) in World::article_objects() {
        world.until_gone(kind, name).await;
    }
    world.until_ready(G, "another").await;
    let theirs = format!("http://another.{}.svc:5052", world.namespace);
    assert_eq!(world.gitlab.state().settings.ai_gateway_url, Some(theirs));
    world.delete(G, "another").await;
    world.until_gone(G, "another").await;
    assert_eq!(world.gitlab.state().settings.ai_gateway_url, None, "there was none before");
    world.foreign_is_untouched();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_of_one_url() {
    // Another way to write the same one.
    one_gitlab_has_one_gateway(|world| format!("{}/", world.gitlab.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_of_one_instance_behind_two_urls() {
    one_gitlab_has_one_gateway(|world| world.gitlab.url().replace("127.0.0.1", "localhost")).await;
}
