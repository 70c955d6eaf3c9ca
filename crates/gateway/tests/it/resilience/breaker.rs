//! Places that are left alone.

use duo_gateway_config::folder_hash;
use serde_json::json;

use super::{check, complete, detail, failing, metric, model, say, status, wait};
use crate::support::{Script, Upstream};

const STATE: &str = "duo_gateway_circuit_breaker_state{model=\"vllm\",place=\"primary\"}";

#[tokio::test]
async fn after_failures_in_a_row_a_place_is_left_alone_and_its_users_are_told_at_once() {
    let rules = "  retries: {attempts: 0}\n  circuitBreaker: {consecutiveFailures: 2, openSeconds: 500}";
    let (world, _folder) = model(rules, Script::InTurn(vec![status(500), say(), status(500)])).await;
    for (expected, state) in [(503, 0.0), (200, 0.0), (503, 0.0), (503, 2.0)] {
        assert_eq!(complete(&world).await.status(), expected);
        assert_eq!(metric(&world, STATE).await, state);
    }
    for _ in 0..3 {
        let answer = complete(&world).await;
        assert_eq!(answer.status(), 503);
        assert!((400..=500).contains(&wait(&answer)), "{}", wait(&answer));
        let text = detail(answer).await;
        assert!(text.contains("left alone") && text.contains("boom"), "{text}");
    }
    assert_eq!(world.upstream.calls(), 4);
    assert_eq!(failing(&world).await, json!(["vllm"]));
    // an administrator who repaired it does not wait, and nobody else after that
    world.upstream.script(say());
    assert_eq!(check(&world).await.status(), 200);
    assert_eq!(complete(&world).await.status(), 200);
    assert_eq!(metric(&world, STATE).await, 0.0);
}

#[tokio::test]
async fn zero_failures_stand_for_never() {
    let rules = "  retries: {attempts: 0}\n  circuitBreaker: {consecutiveFailures: 0}";
    let (world, _folder) = model(rules, status(500)).await;
    for _ in 0..7 {
        assert_eq!(complete(&world).await.status(), 503);
    }
    assert_eq!(world.upstream.calls(), 7);
}

#[tokio::test]
async fn trap_a_server_that_refuses_is_never_left_alone() {
    let rules = "  retries: {attempts: 0}\n  circuitBreaker: {consecutiveFailures: 1}";
    for code in [400, 401, 403, 404, 422, 429] {
        let (world, _folder) = model(rules, status(code)).await;
        for _ in 0..3 {
            complete(&world).await;
        }
        assert_eq!(world.upstream.calls(), 3, "{code}");
    }
}

#[tokio::test]
async fn one_call_tries_a_place_after_its_time() {
    let rules = "  retries: {attempts: 0}\n  circuitBreaker: {consecutiveFailures: 1, openSeconds: 1}";
    let (world, _folder) = model(rules, Script::InTurn(vec![status(500), say()])).await;
    assert_eq!(complete(&world).await.status(), 503);
    loop {
        let answer = complete(&world).await;
        if answer.status() == 200 {
            break;
        }
        assert_eq!(world.upstream.calls(), 1);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(world.upstream.calls(), 2);
}

#[tokio::test]
async fn the_next_place_is_asked_at_once_while_one_is_left_alone() {
    let b = Upstream::start(say()).await;
    let rules = format!(
        "  retries: {{attempts: 0}}\n  circuitBreaker: {{consecutiveFailures: 1, openSeconds: 500}}\n  fallbacks: \
         [{{identifier: custom_openai/second, endpoint: {}}}]",
        b.url
    );
    let (world, _folder) = model(&rules, status(500)).await;
    for _ in 0..5 {
        assert_eq!(complete(&world).await.status(), 200);
    }
    assert_eq!((world.upstream.calls(), b.calls()), (1, 5));
}

#[tokio::test]
async fn a_new_configuration_does_not_forget_who_fails() {
    let rules = "  retries: {attempts: 0}\n  circuitBreaker: {consecutiveFailures: 1, openSeconds: 500}\n";
    let (world, folder) = model(rules, status(500)).await;
    assert_eq!(complete(&world).await.status(), 503);
    let path = folder.path().join("config.yaml");
    let changed = std::fs::read_to_string(&path).unwrap() + "  weight: 7\nlogLevel: INFO\n";
    let beside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(beside.path(), &changed).unwrap();
    std::fs::rename(beside.path(), &path).unwrap();
    let hash = folder_hash([("config.yaml".to_owned(), changed.into_bytes())]);
    while world.hash().await["hash"] != json!(hash) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(complete(&world).await.status(), 503);
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test]
async fn a_place_that_was_asked_when_hardly_any_time_was_left_is_not_blamed() {
    let b = Upstream::start(Script::Silent).await;
    let rules = format!(
        "  timeouts: {{firstByteSeconds: 3, overallSeconds: 4}}\n  retries: {{attempts: 0}}\n  circuitBreaker: \
         {{consecutiveFailures: 1}}\n  fallbacks: [{{identifier: custom_openai/second, endpoint: {}}}]",
        b.url
    );
    let (world, _folder) = model(&rules, Script::Silent).await;
    assert_eq!(complete(&world).await.status(), 504);
    b.gone(1).await;
    assert_eq!(metric(&world, STATE).await, 2.0);
    assert_eq!(metric(&world, &STATE.replace("primary", "fallback-1")).await, 0.0);
}
