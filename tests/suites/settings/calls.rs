//! How calls of a model are made: repeats, other places, times, how many at once.

use duo_e2e::Options;
use duo_sim::openai::FaultKind;
use duo_sim::upstream::Fault;
use serde_json::json;

use crate::scene::{asked, asked_bedrock, change, complete, completes, declare, on, statuses, vllm, world};

const MODEL: &str = "SelfHostedModel";

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_call_is_made_again_and_then_elsewhere() {
    let (world, server) = (world(Options::default(), &json!({})).await, vllm().await);
    let once = json!({"retries": {"attempts": 2, "maxPause": "100ms"}, "circuitBreaker": {"consecutiveFailures": 0}});
    declare(&world, "code", &on(&server, &once), &["CodeCompletions"]).await;

    server.faults().add(Fault::times(FaultKind::Unavailable, 2));
    completes(&world).await;
    assert!(server.faults().list().is_empty(), "both faults met a call");

    change(&world, MODEL, "code", &json!({"retries": {"attempts": 0}})).await;
    server.faults().add(Fault::once(FaultKind::Unavailable));
    let refused = complete(&world).await;
    assert!(!refused.ok && statuses(&refused).contains(&503), "{refused:#?}");
    server.faults().clear();
    world.until_ready(MODEL, "code").await;

    let fallback = json!({"fallbacks": [{
        "name": "bedrock", "platform": "Bedrock", "family": "Mixtral",
        "identifier": "bedrock/mistral.mixtral-8x7b-instruct-v0:1",
    }]});
    change(&world, MODEL, "code", &fallback).await;
    let before = asked_bedrock(&world.bedrock);
    completes(&world).await;
    assert_eq!(asked_bedrock(&world.bedrock), before, "nobody else is asked while the first place answers");
    server.faults().add(Fault::always(FaultKind::Unavailable));
    completes(&world).await;
    assert!(asked_bedrock(&world.bedrock) > before);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_spread_over_mirrors_and_a_failing_one_is_left_alone() {
    let (world, one, two) = (world(Options::default(), &json!({})).await, vllm().await, vllm().await);
    let mirrored = json!({
        "mirrors": [{"name": "two", "endpoint": two.base_url()}], "retries": {"attempts": 0},
        "circuitBreaker": {"consecutiveFailures": 2, "openFor": "600s"},
    });
    declare(&world, "code", &on(&one, &mirrored), &["CodeCompletions"]).await;
    let before = (asked(&one), asked(&two));
    for _ in 0..40 {
        completes(&world).await;
    }
    assert!(asked(&one) > before.0 + 5 && asked(&two) > before.1 + 5, "{before:?} {} {}", asked(&one), asked(&two));

    // A weight of 0: only when all others fail.
    change(&world, MODEL, "code", &json!({"mirrors": [{"name": "two", "endpoint": two.base_url(), "weight": 0}]}))
        .await;
    let before = asked(&two);
    for _ in 0..10 {
        completes(&world).await;
    }
    assert_eq!(asked(&two), before);

    // Two failures open the breaker; then the place is not asked any more, though it would answer.
    one.faults().add(Fault::always(FaultKind::Internal));
    for _ in 0..3 {
        completes(&world).await;
    }
    assert!(asked(&two) > before);
    one.faults().clear();
    let before = asked(&one);
    for _ in 0..5 {
        completes(&world).await;
    }
    assert_eq!(asked(&one), before, "an open breaker keeps calls away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_tries_again_after_its_time() {
    let (world, server) = (world(Options::default(), &json!({})).await, vllm().await);
    let breaker = json!({"retries": {"attempts": 0}, "circuitBreaker": {"consecutiveFailures": 1, "openFor": "1s"}});
    declare(&world, "code", &on(&server, &breaker), &["CodeCompletions"]).await;
    server.faults().add(Fault::always(FaultKind::Internal));
    assert!(!complete(&world).await.ok);
    server.faults().clear();
    loop {
        if complete(&world).await.ok {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_completion_is_hedged_and_a_stalled_server_is_given_up() {
    let (world, server) = (world(Options::default(), &json!({})).await, vllm().await);
    let hedged = json!({"hedging": {"percentile": 90, "minDelay": "50ms"}, "retries": {"attempts": 0},
                        "circuitBreaker": {"consecutiveFailures": 0}});
    declare(&world, "code", &on(&server, &hedged), &["CodeCompletions"]).await;
    for _ in 0..12 {
        completes(&world).await;
    }
    server.faults().add(Fault::once(FaultKind::Stall { after: 0 }));
    completes(&world).await;
    assert!(server.faults().list().is_empty(), "the first call stalled, the second one answered");

    let timeouts = json!({"hedging": null, "timeouts": {"firstByte": "1s", "overall": "2s"}});
    change(&world, MODEL, "code", &timeouts).await;
    server.faults().add(Fault::always(FaultKind::Stall { after: 0 }));
    let outcome = complete(&world).await;
    assert!(!outcome.ok && statuses(&outcome).contains(&504), "{outcome:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_at_a_time_and_no_queue_means_429_for_the_second() {
    let (world, server) = (world(Options::default(), &json!({})).await, vllm().await);
    let one = json!({"concurrency": {"maxRequests": 1, "maxQueued": 0}});
    declare(&world, "code", &on(&server, &one), &["CodeCompletions"]).await;
    server.reconfigure(|config| config.chunk_delay_ms = 100);
    let (first, second) = futures::join!(complete(&world), complete(&world));
    let all = [statuses(&first), statuses(&second)].concat();
    assert!(all.contains(&200) && all.contains(&429), "{first:#?} {second:#?}");

    // With a queue both are served.
    change(&world, MODEL, "code", &json!({"concurrency": {"maxQueued": 5, "queueTimeout": "60s"}})).await;
    let (first, second) = futures::join!(complete(&world), complete(&world));
    assert!(first.ok && second.ok, "{first:#?} {second:#?}");
}
