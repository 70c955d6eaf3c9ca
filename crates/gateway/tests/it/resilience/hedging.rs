//! Second calls of slow completions.

use super::{complete, configured, metric, model, say, stream};
use crate::support::world::eventually;
use crate::support::{Script, Upstream, World, claims};

/// So many calls have to be known before one counts as slow.
const KNOWN: usize = 10;

async fn learn(world: &World) {
    for _ in 0..KNOWN {
        assert_eq!(complete(world).await.status(), 200);
        assert_eq!(stream(world).await.status(), 200);
    }
}

#[tokio::test]
async fn a_slow_completion_gets_a_second_call_and_the_first_answer_counts() {
    let (world, _folder) = model("  hedging: {minDelayMilliseconds: 1}\n  retries: {attempts: 0}", say()).await;
    learn(&world).await;
    let (before, hedged) = (world.upstream.calls(), metric(&world, "duo_gateway_hedges_total{model=\"vllm\"}").await);
    world.upstream.script(Script::InTurn(vec![Script::Silent, say()]));
    assert_eq!(complete(&world).await.status(), 200);
    world.upstream.gone(1).await;
    world.upstream.script(Script::InTurn(vec![Script::Silent, say()]));
    assert!(stream(&world).await.text().await.unwrap().contains("hello"));
    world.upstream.gone(2).await;
    assert_eq!(world.upstream.calls(), before + 4);
    assert_eq!(metric(&world, "duo_gateway_hedges_total{model=\"vllm\"}").await, hedged + 2.0);
    assert!(metric(&world, "duo_gateway_hedges_won_total{model=\"vllm\"}").await >= 2.0);
    // what the loser read is not counted: one answer, one count
    let line = world.access(2 * KNOWN + 1).await.pop().unwrap();
    assert_eq!(line["input_tokens"], 11, "{line}");
}

#[tokio::test]
async fn the_second_call_goes_to_another_replica() {
    let b = Upstream::start(say()).await;
    let rules = format!("  hedging: {{minDelayMilliseconds: 1}}\n  replicas: [{{endpoint: {}, weight: 0}}]", b.url);
    let (world, _folder) = model(&rules, say()).await;
    learn(&world).await;
    let before = b.calls();
    world.upstream.script(Script::Silent);
    assert_eq!(complete(&world).await.status(), 200);
    assert_eq!(b.calls(), before + 1);
    world.upstream.cancelled().await;
}

#[tokio::test]
async fn without_the_setting_or_before_its_time_or_for_other_features_there_is_none() {
    let times = "  timeouts: {overallSeconds: 1}\n  retries: {attempts: 0}\n";
    for rules in ["", "  hedging: {minDelayMilliseconds: 60000}"] {
        let (world, _folder) = model(&format!("{times}{rules}"), say()).await;
        learn(&world).await;
        let before = world.upstream.calls();
        world.upstream.script(Script::InTurn(vec![Script::Silent, say()]));
        assert_eq!(complete(&world).await.status(), 504, "{rules}");
        assert_eq!(world.upstream.calls(), before + 1);
    }
    let (world, _folder) = model(&format!("{times}  hedging: {{minDelayMilliseconds: 1}}"), say()).await;
    learn(&world).await;
    let before = world.upstream.calls();
    world.upstream.script(Script::InTurn(vec![Script::Silent, say()]));
    assert_eq!(world.post("/v3/code/completions", &world.generation(false)).await.status(), 504);
    assert_eq!(world.upstream.calls(), before + 1);
}

#[tokio::test]
async fn a_client_that_goes_takes_both_calls_with_it_and_gives_back_once_what_they_held() {
    let rules = "  hedging: {minDelayMilliseconds: 1}\n  concurrency: {maxRequests: 2, maxQueued: 0}";
    let more = "limits: {perUser: {concurrentRequests: 1}, perInstance: {concurrentRequests: 1}}";
    let (world, _folder) = configured(rules, more, say()).await;
    for _ in 0..2 * KNOWN {
        assert_eq!(complete(&world).await.status(), 200);
    }
    let cancelled = "duo_gateway_upstream_calls_total{model=\"vllm\",place=\"primary\",outcome=\"cancelled\"}";
    let requests = "duo_gateway_feature_requests_total{model=\"vllm\",feature=\"complete_code\"}";
    let (before, counted) = (world.upstream.calls(), metric(&world, requests).await);
    world.upstream.script(Script::Silent);
    let asking = || {
        let request = world.signed(reqwest::Method::POST, "/v2/code/completions", &claims()).json(&world.completion());
        tokio::spawn(request.send())
    };
    let first = asking();
    eventually("both calls", || (world.upstream.calls() == before + 2).then_some(())).await;
    first.abort();
    world.upstream.gone(2).await;
    idle(&world).await;
    assert_eq!(metric(&world, cancelled).await, 2.0);
    assert_eq!(metric(&world, "duo_gateway_upstream_in_flight{model=\"vllm\",place=\"primary\"}").await, 0.0);
    assert_eq!(metric(&world, requests).await, counted + 1.0);
    let lines = world.access(2 * KNOWN + 1).await;
    assert_eq!(lines.iter().filter(|line| line["status_code"] == 499).count(), 1);

    // there is room for one again, and for one only
    let second = asking();
    eventually("a call", || (world.upstream.calls() > before + 2).then_some(())).await;
    assert_eq!(complete(&world).await.status(), 429);
    second.abort();
    world.upstream.script(say());
    idle(&world).await;
    assert_eq!(complete(&world).await.status(), 200);
}

/// Waits until no request holds a place.
async fn idle(world: &World) {
    while metric(world, "duo_gateway_model_requests{model=\"vllm\"}").await != 0.0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
