//! Calls that are made again, and those that are not.

use std::time::Duration;

use super::{check, complete, detail, failing, metric, model, say, status, stream, wait};
use crate::support::{Script, claims};

#[tokio::test]
async fn what_may_pass_is_asked_again_as_often_as_the_model_says() {
    for (code, expected) in [(500, 503), (503, 503), (429, 429), (408, 504)] {
        let (world, _folder) = model("", Script::InTurn(vec![status(code), say()])).await;
        assert_eq!(complete(&world).await.status(), 200, "{code}: once is the default");
        assert_eq!(world.upstream.calls(), 2);
        assert_eq!(failing(&world).await, serde_json::json!([]));
        let line = world.access(1).await.remove(0);
        assert_eq!(line["model_failed_calls"].as_array().unwrap().len(), 1, "{line}");

        let (world, _folder) = model("  retries: {attempts: 0}", Script::InTurn(vec![status(code), say()])).await;
        assert_eq!(complete(&world).await.status(), expected, "{code}");
        assert_eq!(world.upstream.calls(), 1);

        let (world, _folder) = model("  retries: {attempts: 3, maxPauseMilliseconds: 1}", status(code)).await;
        assert_eq!(stream(&world).await.status(), expected, "{code}");
        assert_eq!(world.upstream.calls(), 4);
        assert_eq!(metric(&world, "duo_gateway_retries_total{model=\"vllm\"}").await, 3.0);
    }
}

#[tokio::test]
async fn what_will_not_pass_is_not_asked_again() {
    for (script, expected) in [
        (status(400), 421),
        (status(401), 421),
        (status(404), 421),
        (status(422), 421),
        (Script::Status(200, vec![], "<html>".into()), 502),
    ] {
        let (world, _folder) = model("  retries: {attempts: 3}", script).await;
        assert_eq!(complete(&world).await.status(), expected);
        assert_eq!(world.upstream.calls(), 1);
    }
}

#[tokio::test]
async fn a_stream_that_has_begun_is_never_repeated_and_one_that_has_not_is() {
    let broken = Script::InTurn(vec![Script::BreakOff(vec!["one "]), say()]);
    let (world, _folder) = model("  retries: {attempts: 3}", broken).await;
    let answer = stream(&world).await;
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.is_err());
    assert_eq!(world.upstream.calls(), 1);

    let empty = Script::InTurn(vec![Script::ErrorInside(vec![]), Script::BreakOff(vec![]), say()]);
    let (world, _folder) = model("  retries: {attempts: 3}", empty).await;
    let answer = stream(&world).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    assert_eq!(answer.text().await.unwrap(), "puts 'hello'");
    assert_eq!(world.upstream.calls(), 3);
}

#[tokio::test]
async fn a_server_that_asks_for_a_longer_pause_than_the_model_allows_is_not_asked_again() {
    let later = || Script::Status(429, vec![("retry-after-ms", "700")], String::new());
    let (world, _folder) = model("  retries: {maxPauseMilliseconds: 600}", Script::InTurn(vec![later(), say()])).await;
    let answer = complete(&world).await;
    assert_eq!((answer.status().as_u16(), wait(&answer)), (429, 1));
    assert_eq!(world.upstream.calls(), 1);

    let (world, _folder) = model("  retries: {maxPauseMilliseconds: 800}", Script::InTurn(vec![later(), say()])).await;
    let asked = std::time::Instant::now();
    assert_eq!(complete(&world).await.status(), 200);
    assert!(asked.elapsed() >= Duration::from_millis(700), "never earlier than the server asked for");
}

#[tokio::test]
async fn an_outage_is_not_multiplied() {
    let rules = "  retries: {attempts: 10, maxPauseMilliseconds: 0}\n  circuitBreaker: {consecutiveFailures: 0}";
    let (world, _folder) = model(rules, status(500)).await;
    for _ in 0..40 {
        assert_eq!(complete(&world).await.status(), 503);
    }
    let extra = world.upstream.calls() - 40;
    assert!((10..=18).contains(&extra), "{extra} retries of 40 calls: a fifth and ten more");
}

#[tokio::test]
async fn a_connection_check_is_one_call() {
    let (world, _folder) = model("  retries: {attempts: 3}", status(500)).await;
    assert!(detail(check(&world).await).await.starts_with("500"));
    assert_eq!(world.upstream.calls(), 1);
}

#[tokio::test]
async fn a_connection_check_of_gitlab_18_is_answered_before_gitlab_gives_up() {
    let (world, _folder) = model("  circuitBreaker: {consecutiveFailures: 1}", Script::Silent).await;
    let asked = std::time::Instant::now();
    // GitLab 18.9 waits 3 s
    let answer = tokio::time::timeout(Duration::from_secs(3), check(&world)).await.unwrap();
    assert!(detail(answer).await.starts_with("408"));
    assert!(asked.elapsed() >= Duration::from_millis(2500), "and not much earlier: the model needs its time");
    let state = "duo_gateway_circuit_breaker_state{model=\"vllm\",place=\"primary\"}";
    assert_eq!(metric(&world, state).await, 0.0, "a user would have waited longer");
}

#[tokio::test]
async fn the_overall_time_holds_with_all_repeats() {
    let rules = "  timeouts: {firstByteSeconds: 1, overallSeconds: 2}\n  retries: {attempts: 10}";
    let (world, _folder) = model(rules, Script::Silent).await;
    assert_eq!(complete(&world).await.status(), 504);
    world.upstream.gone(2).await;
    assert_eq!(world.upstream.calls(), 2, "a second for each");

    let (world, _folder) = model("  timeouts: {overallSeconds: 1}\n  retries: {attempts: 10}", Script::Silent).await;
    assert_eq!(stream(&world).await.status(), 504);
    assert_eq!(world.upstream.calls(), 1, "the first took it all");
}

#[tokio::test]
async fn a_client_that_goes_during_a_pause_leaves_nothing_behind() {
    let later = Script::Status(429, vec![("retry-after", "50")], String::new());
    let rules = "  retries: {maxPauseMilliseconds: 60000}";
    let (world, _folder) = model(rules, Script::InTurn(vec![later, say()])).await;
    let request = world.signed(reqwest::Method::POST, "/v2/code/completions", &claims()).json(&world.completion());
    let asking = tokio::spawn(request.send());
    crate::support::world::eventually("the first call", || (world.upstream.calls() == 1).then_some(())).await;
    asking.abort();
    assert_eq!(world.access(1).await[0]["status_code"], 499);
    assert_eq!(metric(&world, "duo_gateway_model_requests{model=\"vllm\"}").await, 0.0);
    assert_eq!(world.upstream.calls(), 1);
}
