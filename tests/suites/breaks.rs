//! A break that fails a user's call turns Ready False, with its own reason, and back when it is mended.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test program has no API, ends where it cannot go on and says what it did"
)]

use duo_e2e::{Options, World};
use duo_sim::bedrock::FaultKind;
use duo_sim::gitlab::What;
use duo_sim::upstream::Fault;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

const MIXTRAL: &str = "mistral.mixtral-8x7b-instruct-v0:1";

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_after_it_was_verified_is_not_ready() {
    let world = World::start("breaks", Options::default()).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    world.users_are_served().await;

    world.bedrock.faults().add(Fault::always(FaultKind::AccessDenied).for_model(MIXTRAL));
    let refused = world.ask(What::CodeCompletion).await;
    assert!(!refused.ok, "the break does not reach the user: {refused:#?}");
    let model = world.until_condition("SelfHostedModel", "mixtral-8x7b", "Ready", "False", "ModelRefused").await;
    let (_, _, message) = duo_e2e::wait::condition(&model, "ConnectionVerified");
    assert!(message.contains("403"), "GitLab's words are missing: {message}");
    world.until_condition("FeatureAssignment", "code-suggestions", "Ready", "False", "ModelNotReady").await;
    world.until_ready("SelfHostedModel", "claude-3-sonnet").await;
    assert!(world.ask(What::Chat).await.ok, "the other model's users are affected");

    world.bedrock.faults().clear();
    world.until_article_is_ready().await;
    world.users_are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_gateways_turn_the_gateway_not_ready() {
    let world = World::start("breaks", Options::default()).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    let api: Api<Pod> = Api::namespaced(world.client.clone(), &world.namespace);
    let pods: Vec<String> =
        api.list(&ListParams::default()).await.expect("pods").iter().map(ResourceExt::name_any).collect();
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        world.node.signal(&world.namespace, pod, "STOP").expect("a process");
    }
    world.until_condition("AIGateway", "duo", "Ready", "False", "PodsNotAvailable").await;
    for pod in &pods {
        world.node.signal(&world.namespace, pod, "CONT").expect("a process");
    }
    world.until_article_is_ready().await;
    world.users_are_served().await;
}
