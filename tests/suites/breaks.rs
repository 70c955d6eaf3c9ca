//! A break that fails a user's call turns Ready False within a period, with its own reason, and back when it is mended;
//! or the operator mends it within a period. Never do users fail while everything says Ready.
//!
//! A period is counted by the operator's own looks at GitLab, not by a clock.
//!
//! A model server that hangs is seen by the gateway's pods when the first user's call ends without an answer; GitLab's
//! Silent Mode, which its own probe of the gateway does not notice, by GitLab's settings.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test program has no API, ends where it cannot go on and says what it did"
)]

use std::time::{Duration, Instant};

use duo_e2e::wait::{LIMIT, condition};
use duo_e2e::{Options, World, manifests};
use duo_sim::bedrock::FaultKind;
use duo_sim::gitlab::What;
use duo_sim::upstream::Fault;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

const MIXTRAL: &str = "mistral.mixtral-8x7b-instruct-v0:1";
/// A round that was under way when it broke, the one of the period, and one in which the finding is checked again.
const ROUNDS: usize = 3;

/// What somebody does in GitLab.
type Act = fn(&World);

/// How a break ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// Some Ready is False, for this reason.
    Told(String),
    /// Users are served again.
    Mended,
}

async fn ready_world() -> World {
    let world = World::start("breaks", Options::default()).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    world.users_are_served().await;
    world
}

/// Asks until a user's call fails, and then until it is told or mended.
async fn told_or_mended(world: &World, name: &str, what: What) -> Ended {
    let started = Instant::now();
    while world.ask(what).await.ok {
        // what is told or mended before anybody notices is what one hopes for
        if let Some(reason) = not_ready(world).await {
            return Ended::Told(reason);
        }
        assert!(started.elapsed() < LIMIT, "{name}: does not reach the user");
    }
    let (failed, mark) = (Instant::now(), world.gitlab.journal().mark());
    let ended = loop {
        if let Some(reason) = not_ready(world).await {
            break Ended::Told(reason);
        }
        if world.ask(what).await.ok {
            break Ended::Mended;
        }
        assert!(failed.elapsed() < LIMIT, "{name}: users fail and everything is Ready\n{}", world.log_tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let rounds = rounds(world, mark);
    println!("{name}: {ended:?} after {rounds} rounds of looking, {} ms", failed.elapsed().as_millis());
    assert!(rounds <= ROUNDS, "{name}: {ended:?} only after {rounds} rounds");
    ended
}

/// The operator's looks at GitLab since a mark, those that followed another within half a period not counted: a change
/// of some status asks for a look of its own.
fn rounds(world: &World, mark: u64) -> usize {
    let apart = i64::try_from(Options::default().resync_seconds * 1000 / 2).unwrap_or(i64::MAX);
    let mut last = i64::MIN;
    let looks = world.gitlab.journal().since(mark);
    let looks = looks.iter().filter(|entry| entry.operation_name.as_deref() == Some("DuoObserve"));
    looks
        .filter(|entry| {
            let at = entry.at.as_millisecond();
            let counts = at >= last.saturating_add(apart);
            if counts {
                last = at;
            }
            counts
        })
        .count()
}

/// The reason of a Ready that is False.
async fn not_ready(world: &World) -> Option<String> {
    for (kind, name) in World::article_objects() {
        let (status, reason, _) = condition(&world.get(kind, name).await, "Ready");
        if status == "False" {
            return Some(format!("{kind} {name} {reason}"));
        }
    }
    None
}

/// All is well again after the mending.
async fn recovers(world: &World) {
    world.until_article_is_ready().await;
    world.users_are_served().await;
}

async fn keys(world: &World, secret: &str) {
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), &world.namespace);
    let patch = Patch::Merge(json!({"stringData": {"AWS_SECRET_ACCESS_KEY": secret}}));
    secrets.patch("aws-bedrock", &PatchParams::default(), &patch).await.expect("the Secret is changed");
}

async fn pods(world: &World) -> Vec<String> {
    let api: Api<Pod> = Api::namespaced(world.client.clone(), &world.namespace);
    api.list(&ListParams::default()).await.expect("pods").iter().map(ResourceExt::name_any).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_after_it_was_verified_is_not_ready() {
    let world = ready_world().await;
    world.bedrock.faults().add(Fault::always(FaultKind::AccessDenied).for_model(MIXTRAL));
    let refused = world.ask(What::CodeCompletion).await;
    assert!(!refused.ok, "the break does not reach the user: {refused:#?}");
    let model = world.until_condition("SelfHostedModel", "mixtral-8x7b", "Ready", "False", "ModelRefused").await;
    let (_, _, message) = condition(&model, "ConnectionVerified");
    assert!(message.contains("403"), "GitLab's words are missing: {message}");
    world.until_condition("FeatureAssignment", "code-suggestions", "Ready", "False", "ModelNotReady").await;
    world.until_ready("SelfHostedModel", "claude-3-sonnet").await;
    assert!(world.ask(What::Chat).await.ok, "the other model's users are affected");
    world.bedrock.faults().clear();
    recovers(&world).await;

    // Each way in which a model server breaks; of one that hangs users are told after their own time.
    let limit = json!({"spec": {"timeouts": {"overall": "4s"}, "retries": {"attempts": 0}}});
    world.patch("SelfHostedModel", "mixtral-8x7b", limit).await.expect("a patch");
    recovers(&world).await;
    for kind in [
        FaultKind::ServiceUnavailable,
        FaultKind::InternalServer,
        FaultKind::ExpiredToken,
        FaultKind::Html { status: 502 },
        FaultKind::Cut { after: 0 },
        FaultKind::Stall { after: 0 },
    ] {
        let name = format!("{kind:?}");
        world.bedrock.faults().add(Fault::always(kind).for_model(MIXTRAL));
        let ended = told_or_mended(&world, &name, What::CodeCompletion).await;
        assert!(matches!(ended, Ended::Told(_)), "{name}: {ended:?}");
        world.bedrock.faults().clear();
        recovers(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_told_by_both_models_that_use_it() {
    let world = ready_world().await;
    keys(&world, "wrongSecretAccessKey/0000000000000000000").await;
    let ended = told_or_mended(&world, "a wrong AWS key", What::Chat).await;
    assert!(matches!(ended, Ended::Told(_)), "{ended:?}");
    for model in ["mixtral-8x7b", "claude-3-sonnet"] {
        world.until_condition("SelfHostedModel", model, "Ready", "False", "ModelRefused").await;
    }
    keys(&world, manifests::AWS_SECRET).await;
    recovers(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_clicked_in_gitlab_is_mended_or_told_within_a_period() {
    let world = ready_world().await;
    let clicks: [(&str, Act); 3] = [
        ("GitLab's gateway URL changed by hand", |world| {
            world.gitlab.edit(|state| state.settings.ai_gateway_url = Some("http://127.0.0.1:9/hand".to_owned()));
        }),
        ("a feature disabled by hand", |world| world.feature_by_hand("duo_chat", "disabled", None)),
        ("a model deleted by hand", |world| {
            world.gitlab.edit(|state| {
                let gone: Vec<u64> =
                    state.models.values().filter(|model| model.name.contains("Claude")).map(|model| model.id).collect();
                state.models.retain(|id, _| !gone.contains(id));
                state.features.retain(|_, row| !row.model_id.is_some_and(|id| gone.contains(&id)));
            });
        }),
    ];
    for (name, click) in &clicks {
        click(&world);
        told_or_mended(&world, name, What::Chat).await;
        recovers(&world).await;
    }
    // The same under Observe is told and stays.
    world.patch("AIGateway", "duo", json!({"spec": {"managementPolicy": "Observe"}})).await.expect("a patch");
    world.until_article_is_ready().await;
    for (name, click) in &clicks {
        click(&world);
        let ended = told_or_mended(&world, name, What::Chat).await;
        assert!(matches!(&ended, Ended::Told(_)), "{name}: {ended:?}");
        world.patch("AIGateway", "duo", json!({"spec": {"managementPolicy": "Full"}})).await.expect("a patch");
        recovers(&world).await;
        world.patch("AIGateway", "duo", json!({"spec": {"managementPolicy": "Observe"}})).await.expect("a patch");
        world.until_article_is_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_licence_is_told_within_a_period() {
    let world = ready_world().await;
    world.gitlab.edit(|state| expires(state, Some("2020-01-01")));
    let ended = told_or_mended(&world, "the licence expired", What::Chat).await;
    assert!(matches!(&ended, Ended::Told(_)), "{ended:?}");
    world.gitlab.edit(|state| expires(state, None));
    recovers(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_mode_is_told_within_a_period() {
    let world = ready_world().await;
    world.gitlab.edit(|state| state.instance.silent_mode = true);
    let ended = told_or_mended(&world, "GitLab's Silent Mode", What::Chat).await;
    assert!(matches!(&ended, Ended::Told(_)), "{ended:?}");
    let told = world.until_condition("AIGateway", "duo", "GatewayReachable", "False", "SilentMode").await;
    assert!(condition(&told, "Ready").2.contains("Silent Mode"), "{told:#}");
    world.gitlab.edit(|state| state.instance.silent_mode = false);
    recovers(&world).await;
}

fn expires(state: &mut duo_sim::gitlab::State, at: Option<&str>) {
    if let Some(license) = &mut state.license {
        license.expires_at = at.map(str::to_owned);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_gateways_turn_the_gateway_not_ready() {
    let world = ready_world().await;
    let pods = pods(&world).await;
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        world.node.signal(&world.namespace, pod, "STOP").expect("a process");
    }
    world.until_condition("AIGateway", "duo", "Ready", "False", "PodsNotAvailable").await;
    for pod in &pods {
        world.node.signal(&world.namespace, pod, "CONT").expect("a process");
    }
    recovers(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_are_killed_or_deleted_are_told_or_come_back() {
    let world = ready_world().await;
    for pod in pods(&world).await {
        world.node.signal(&world.namespace, &pod, "KILL").expect("a process");
    }
    told_or_mended(&world, "all gateways killed", What::CodeCompletion).await;
    recovers(&world).await;

    let before = world.pods().await;
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), &world.namespace);
    deployments.delete("duo", &DeleteParams::default()).await.expect("it is deleted");
    told_or_mended(&world, "the Deployment deleted by hand", What::CodeCompletion).await;
    let started = Instant::now();
    while !world.pods().await.is_disjoint(&before) {
        assert!(started.elapsed() < LIMIT, "the pods of before stay");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    recovers(&world).await;
}
