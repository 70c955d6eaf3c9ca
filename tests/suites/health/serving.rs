//! Models that break and come back: what users feel is what `Ready` says, without anybody asking GitLab.

use std::time::Duration;

use duo_e2e::wait::condition;
use duo_e2e::{Options, World};
use duo_sim::bedrock::FaultKind;
use duo_sim::gitlab::What;
use duo_sim::upstream::Fault;
use serde_json::json;

use crate::ready_world;

const MIXTRAL: &str = "mistral.mixtral-8x7b-instruct-v0:1";
const MODEL: (&str, &str) = ("SelfHostedModel", "mixtral-8x7b");
const FEATURES: (&str, &str) = ("FeatureAssignment", "code-suggestions");

#[tokio::test(flavor = "multi_thread")]
async fn a_model_server_that_goes_down_turns_its_model_and_features_not_ready_and_back_by_itself() {
    let world = ready_world("down", "19.5.0").await;
    world.until_condition(MODEL.0, MODEL.1, "ModelServing", "True", "").await;

    world.bedrock.faults().add(Fault::always(FaultKind::ServiceUnavailable).for_model(MIXTRAL));
    let refused = world.ask(What::CodeCompletion).await;
    assert!(!refused.ok, "the break does not reach the user: {refused:#?}");
    let broken = world.until_condition(MODEL.0, MODEL.1, "ModelServing", "False", "UpstreamFailing").await;
    assert!(condition(&broken, "ModelServing").2.contains("503"), "{broken:#}");
    world.until_condition(MODEL.0, MODEL.1, "Ready", "False", "").await;
    world.until_condition(FEATURES.0, FEATURES.1, "Ready", "False", "ModelNotReady").await;
    // nobody else is affected
    assert_eq!(condition(&world.get("SelfHostedModel", "claude-3-sonnet").await, "Ready").0, "True");
    assert_eq!(condition(&world.get("FeatureAssignment", "chat").await, "Ready").0, "True");

    // no user asks any more, and yet it is noticed that the server is back: by GitLab's check or the gateway's own
    world.bedrock.faults().clear();
    world.until_condition(MODEL.0, MODEL.1, "ModelServing", "True", "").await;
    world.until_article_is_ready().await;
    world.users_are_served().await;
}

/// The pods are looked at more often than GitLab.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_before_the_next_period_begins() {
    let world = World::start("soon", Options { resync_seconds: 20, ..Options::default() }).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    let looks = |mark| {
        let entries = world.gitlab.journal().since(mark);
        entries.iter().filter(|entry| entry.operation_name.as_deref() == Some("DuoObserve")).count()
    };
    // all that Ready brought about is over, and a period has just begun
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mark = world.gitlab.journal().mark();
    world.eventually("a look at GitLab", || looks(mark) > 0).await;

    world.bedrock.faults().add(Fault::always(FaultKind::ServiceUnavailable).for_model(MIXTRAL));
    let mark = world.gitlab.journal().mark();
    assert!(!world.ask(What::CodeCompletion).await.ok, "the break does not reach the user");
    world.until_condition(FEATURES.0, FEATURES.1, "Ready", "False", "ModelNotReady").await;
    assert_eq!(looks(mark), 0, "only the next period told it");
}

/// GitLab's connection check gives up and says nothing; users wait for ever all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_hangs_is_not_ready_although_gitlabs_check_says_nothing() {
    let world = World::start("hang", Options { gitlab: "18.9.0", ..Options::default() }).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    let limit = json!({"spec": {"timeouts": {"overall": "4s"}, "retries": {"attempts": 0}}});
    world.patch(MODEL.0, MODEL.1, limit).await.expect("a patch");
    world.until_article_is_ready().await;

    world.bedrock.faults().add(Fault::always(FaultKind::Stall { after: 0 }).for_model(MIXTRAL));
    assert!(!world.ask(What::CodeCompletion).await.ok, "the break does not reach the user");
    let broken = world.until_condition(MODEL.0, MODEL.1, "ModelServing", "False", "UpstreamFailing").await;
    assert!(condition(&broken, "ModelServing").2.contains("no answer in time"), "{broken:#}");
    world.until_condition(FEATURES.0, FEATURES.1, "Ready", "False", "ModelNotReady").await;

    world.bedrock.faults().clear();
    world.until_article_is_ready().await;
    world.users_are_served().await;
}

/// GitLab 18.9 waits 3 s for its check: the gateway asks with a user's time and finds the model slow, not broken.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_model_is_not_a_broken_one() {
    let world = World::start("slow", Options { gitlab: "18.9.0", ..Options::default() }).await;
    world.bedrock.reconfigure(|config| config.chunk_delay_ms = 4000);
    world.apply_article().await;
    world.until_condition(MODEL.0, MODEL.1, "ConnectionVerified", "Unknown", "CheckTimedOut").await;
    let slow = world.until_condition(MODEL.0, MODEL.1, "ModelServing", "True", "CheckPassed").await;
    assert_eq!(condition(&slow, "ConnectionVerified").1, "CheckTimedOut");
    assert_eq!(condition(&slow, "Ready").0, "True", "{slow:#}");
    world.until_article_is_ready().await;
}

/// A break that no user has met yet.
#[tokio::test(flavor = "multi_thread")]
async fn synthetic_requests_find_a_break_before_users_do() {
    let world = ready_world("synthetic", "19.5.0").await;
    world.bedrock.faults().add(Fault::always(FaultKind::ServiceUnavailable).for_model(MIXTRAL));
    assert_eq!(condition(&world.get(FEATURES.0, FEATURES.1).await, "SyntheticRequestsPassed").0, "", "off by default");
    let on = json!({"spec": {"syntheticRequests": {"interval": "60s"}}});
    world.patch(FEATURES.0, FEATURES.1, on).await.expect("a patch");
    let broken =
        world.until_condition(FEATURES.0, FEATURES.1, "SyntheticRequestsPassed", "False", "RequestFailed").await;
    let (_, _, message) = condition(&broken, "SyntheticRequestsPassed");
    assert!(message.contains("CodeCompletions: the model server answered 503"), "{message}");
    assert_eq!(condition(&broken, "Ready").0, "False", "{broken:#}");

    world.bedrock.faults().clear();
    world.until_condition(FEATURES.0, FEATURES.1, "SyntheticRequestsPassed", "True", "Answered").await;
    world.until_article_is_ready().await;
    world.users_are_served().await;

    let short = json!({"spec": {"syntheticRequests": {"interval": "5s"}}});
    let refused = world.patch(FEATURES.0, FEATURES.1, short).await.expect_err("too often").to_string();
    assert!(refused.contains("between 60s and 24h"), "{refused}");
}
