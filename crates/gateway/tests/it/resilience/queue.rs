//! Calls at a time, and those who wait for one.

use reqwest::Method;

use super::{check, complete, configured, detail, metric, model, say, wait};
use crate::support::world::eventually;
use crate::support::{Script, World, claims};

type Asking = tokio::task::JoinHandle<reqwest::Result<reqwest::Response>>;

fn ask(world: &World) -> Asking {
    let request = world.signed(Method::POST, "/v2/code/completions", &claims()).json(&world.completion());
    tokio::spawn(request.send())
}

async fn until_waiting(world: &World, count: f64) {
    while metric(world, "duo_gateway_queue_length{model=\"vllm\"}").await != count {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn until_called(world: &World, count: usize) {
    eventually("a call", || (world.upstream.calls() == count).then_some(())).await;
}

#[tokio::test]
async fn one_too_many_is_told_so_and_whoever_leaves_makes_room() {
    let rules = "  concurrency: {maxRequests: 1, maxQueued: 1, queueSeconds: 600}";
    let (world, _folder) =
        configured(rules, "requestTimeoutSeconds: 600", Script::InTurn(vec![Script::Silent, say()])).await;
    let first = ask(&world);
    until_called(&world, 1).await;
    let gone = ask(&world);
    until_waiting(&world, 1.0).await;

    let answer = complete(&world).await;
    assert_eq!((answer.status().as_u16(), wait(&answer)), (429, 600));
    let text = detail(answer).await;
    assert!(text.contains("custom_openai/the-model") && text.contains("(1), and 1 more wait"), "{text}");
    assert_eq!(check(&world).await.status(), 200, "a connection check does not wait");

    gone.abort();
    until_waiting(&world, 0.0).await;
    let patient = ask(&world);
    until_waiting(&world, 1.0).await;
    first.abort();
    assert_eq!(patient.await.unwrap().unwrap().status(), 200);
    assert_eq!(metric(&world, "duo_gateway_queue_rejections_total{model=\"vllm\",reason=\"full\"}").await, 1.0);
    assert_eq!(metric(&world, "duo_gateway_queued_requests_total{model=\"vllm\"}").await, 2.0);
    let served = |line: &serde_json::Value| line["status_code"] == 200 && line["queue_duration_s"].as_f64() > Some(0.0);
    assert_eq!(world.access(5).await.iter().filter(|line| served(line)).count(), 1);
}

#[tokio::test]
async fn nobody_waits_longer_than_the_model_says() {
    let rules = "  concurrency: {maxRequests: 1, queueSeconds: 1}";
    let (world, _folder) = model(rules, Script::Silent).await;
    let _first = ask(&world);
    until_called(&world, 1).await;
    let answer = complete(&world).await;
    assert_eq!((answer.status().as_u16(), wait(&answer)), (429, 1));
    assert!(detail(answer).await.contains("none ended within 1 s"));
    assert_eq!(metric(&world, "duo_gateway_queue_rejections_total{model=\"vllm\",reason=\"waited\"}").await, 1.0);
}

#[tokio::test]
async fn a_stream_holds_its_place_until_its_end() {
    let rules = "  concurrency: {maxRequests: 1, maxQueued: 0}";
    let (world, _folder) = model(rules, Script::SayAndStall(vec!["one "])).await;
    let mut answer = super::stream(&world).await;
    assert!(answer.chunk().await.unwrap().is_some());
    assert_eq!(complete(&world).await.status(), 429);
    drop(answer);
    world.upstream.cancelled().await;
    world.upstream.script(say());
    while complete(&world).await.status() != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
