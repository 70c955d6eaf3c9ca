//! Several places of one model: shares, failover, fallbacks.

use serde_json::json;

use super::{check, complete, detail, failing, metric, model, say, status, stream};
use crate::support::{Script, Upstream};

#[tokio::test]
async fn calls_are_spread_by_weight() {
    let (b, c) = (Upstream::start(say()).await, Upstream::start(say()).await);
    let rules = format!("  weight: 3\n  replicas: [{{endpoint: {}}}, {{endpoint: {}, weight: 0}}]", b.url, c.url);
    let (world, _folder) = model(&rules, say()).await;
    for _ in 0..8 {
        assert_eq!(complete(&world).await.status(), 200);
    }
    assert_eq!((world.upstream.calls(), b.calls(), c.calls()), (6, 2, 0));
    assert_eq!(world.access(8).await.iter().filter(|line| line["model_place"] == "replica-1").count(), 2);
}

#[tokio::test]
async fn a_replica_that_fails_costs_nobody_an_answer() {
    let (b, c) = (Upstream::start(say()).await, Upstream::start(say()).await);
    let rules = format!(
        "  retries: {{attempts: 0}}\n  replicas: [{{endpoint: {}}}, {{endpoint: {}, weight: 0}}]",
        b.url, c.url
    );
    let (world, _folder) = model(&rules, status(401)).await;
    for _ in 0..4 {
        assert_eq!(complete(&world).await.status(), 200);
    }
    assert_eq!((world.upstream.calls(), b.calls(), c.calls()), (2, 4, 0));
    // the one without weight only when all others fail
    b.script(status(500));
    assert_eq!(stream(&world).await.status(), 200);
    assert_eq!(c.calls(), 1);
}

#[tokio::test]
async fn fallbacks_answer_in_their_order_with_prompts_of_their_own_family() {
    let (b, c) = (Upstream::start(status(403)).await, Upstream::start(say()).await);
    let rules = format!(
        "  retries: {{attempts: 0}}\n  fallbacks:\n  - {{identifier: custom_openai/second, endpoint: {}}}\n  - \
         {{identifier: custom_openai/third, family: codegemma, endpoint: {}}}",
        b.url, c.url
    );
    for failure in [status(500), status(429), status(401), status(404), Script::Status(200, vec![], "<html>".into())] {
        let (world, _folder) = model(&rules, failure).await;
        let before = (b.calls(), c.calls());
        assert_eq!(complete(&world).await.status(), 200);
        assert_eq!((world.upstream.calls(), b.calls(), c.calls()), (1, before.0 + 1, before.1 + 1));
        let (asked, answered) = (world.upstream.last().body, c.last().body);
        assert_eq!((&asked["model"], &answered["model"]), (&json!("the-model"), &json!("third")));
        assert_ne!(asked["messages"], answered["messages"], "another family is asked in other words");
        assert_eq!(failing(&world).await, json!([]), "its users get answers");
        assert_eq!(metric(&world, "duo_gateway_fallbacks_total{model=\"vllm\",place=\"fallback-2\"}").await, 1.0);
        let line = world.access(1).await.remove(0);
        assert_eq!(line["model_fallback_identifier"], "custom_openai/third", "{line}");
        assert_eq!(line["model_failed_calls"].as_array().unwrap().len(), 2, "{line}");
    }
}

#[tokio::test]
async fn the_requests_own_fault_falls_back_on_nobody() {
    let b = Upstream::start(say()).await;
    let rules = format!("  fallbacks: [{{identifier: custom_openai/second, endpoint: {}}}]", b.url);
    for code in [400, 413, 422] {
        let (world, _folder) = model(&rules, status(code)).await;
        assert_eq!(complete(&world).await.status(), 421);
        assert_eq!(b.calls(), 0, "{code}");
    }
    let (world, _folder) = model(&rules, status(500)).await;
    assert_eq!(check(&world).await.status(), 421);
    assert_eq!(b.calls(), 0, "a connection check asks for the model itself");
}

#[tokio::test]
async fn when_all_fail_the_models_own_cause_is_told_and_the_fallbacks_behind_it() {
    let b = Upstream::start(status(404)).await;
    let rules =
        format!("  retries: {{attempts: 0}}\n  fallbacks: [{{identifier: custom_openai/second, endpoint: {}}}]", b.url);
    let script = Script::Status(503, vec![("retry-after", "9")], json!({"error": {"message": "drained"}}).to_string());
    let (world, _folder) = model(&rules, script).await;
    let answer = complete(&world).await;
    assert_eq!((answer.status().as_u16(), super::wait(&answer)), (503, 9));
    let text = detail(answer).await;
    assert!(text.starts_with("Model 'custom_openai/the-model' failed") && text.contains("drained"), "{text}");
    assert!(text.contains("fallback 'custom_openai/second' failed, too: 404"), "{text}");
    assert_eq!(failing(&world).await, json!(["vllm"]));
}

#[tokio::test]
async fn a_silent_place_leaves_the_next_one_time() {
    for (times, rest) in [("{firstByteSeconds: 1, overallSeconds: 60}", ""), ("{overallSeconds: 2}", "half of it")] {
        let b = Upstream::start(say()).await;
        let rules = format!(
            "  timeouts: {times}\n  retries: {{attempts: 0}}\n  fallbacks: [{{identifier: custom_openai/second, \
             endpoint: {}}}]",
            b.url
        );
        let (world, _folder) = model(&rules, Script::Silent).await;
        assert_eq!(complete(&world).await.status(), 200, "{rest}");
        assert!(stream(&world).await.text().await.unwrap().contains("hello"), "{rest}");
        world.upstream.gone(2).await;
    }
}
