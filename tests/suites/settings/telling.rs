//! Prompts in logs, and traces.

use duo_e2e::{Options, World};
use duo_sim::gitlab::{Ask, What};
use serde_json::json;

use crate::neighbours::recorder;
use crate::scene::{change, completes, data, declare, on, vllm, world};

/// Whether what a user typed stands in a log of the gateway.
async fn logged(world: &World, marker: &str) -> bool {
    let ask = Ask { above: format!("def {marker}\n"), ..Ask::default() };
    assert!(world.gitlab.ask(What::CodeCompletion, &ask).await.ok, "{}", world.log_tail());
    // The line of the request is written after its answer: another answer is behind it.
    completes(world).await;
    world.gateway_logs().iter().any(|(_, log)| log.contains(marker))
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_are_logged_only_under_the_switch() {
    let (world, server) = (world(Options::default(), &json!({})).await, vllm().await);
    declare(&world, "code", &on(&server, &json!({})), &["CodeCompletions"]).await;
    assert!(!logged(&world, "nobody_shall_read_this").await);
    change(&world, "AIGateway", "duo", &json!({"logging": {"prompts": true}})).await;
    world.until_event("PromptLoggingEnabled", "duo").await;
    assert!(logged(&world, "who_reads_logs_reads_this").await, "{}", world.log_tail());
    change(&world, "AIGateway", "duo", &json!({"logging": {"prompts": false}})).await;
    assert!(!logged(&world, "nobody_shall_read_this_either").await);
    world.no_secret_is_told(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_arrive_at_the_collector_with_its_headers() {
    let (world, server) = (world(Options::default(), &json!({})).await, vllm().await);
    declare(&world, "code", &on(&server, &json!({})), &["CodeCompletions"]).await;
    let collector = recorder("application/x-protobuf", String::new()).await;
    let secret = "collector-secret-0123456789";
    data(&world, "Secret", "otel", &[("x-tenant", "company-4711-duo"), ("authorization", secret)]).await;
    let tracing = json!({"tracing": {
        "otlpEndpoint": format!("http://{}", collector.addr), "headersSecretRef": {"name": "otel"}, "samplePerMille": 1000,
    }});
    change(&world, "AIGateway", "duo", &tracing).await;
    completes(&world).await;
    world.eventually("spans arrive", || collector.seen.has("/v1/traces")).await;
    let span = collector.seen.all().into_iter().find(|text| text.contains("/v1/traces")).expect("spans");
    assert!(span.to_lowercase().contains("x-tenant: company-4711-duo"), "{span}");
    world.no_secret_is_told(&[secret.to_owned()]).await;
}
