//! What users and the instance may use.

use duo_e2e::Options;
use serde_json::{Value, json};

use crate::scene::{change, complete, completes, completes_for, declare, on, statuses, vllm, world};

/// Limits with nothing but these.
fn only(limits: &Value) -> Value {
    let mut whole = json!({"perUser": null, "perInstance": null});
    for (name, value) in limits.as_object().expect("an object") {
        whole[name] = value.clone();
    }
    json!({ "limits": whole })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_or_an_instance_beyond_its_limit_gets_429() {
    let (world, server) = (world(Options::default(), &json!({})).await, vllm().await);
    declare(&world, "code", &on(&server, &json!({})), &["CodeCompletions"]).await;
    let another = world.gitlab.state().users.into_iter().find(|user| user.admin).expect("an administrator").username;

    change(&world, "AIGateway", "duo", &only(&json!({"perUser": {"requestsPerMinute": 2}}))).await;
    completes(&world).await;
    completes(&world).await;
    let third = complete(&world).await;
    assert!(!third.ok && statuses(&third).contains(&429), "{third:#?}");
    assert!(completes_for(&world, &another).await.ok, "the limit is each user's own");

    let tokens = only(&json!({"perUser": {"requestsPerMinute": null, "tokensPerMinute": 1}}));
    change(&world, "AIGateway", "duo", &tokens).await;
    let mut statuses_of = Vec::new();
    for _ in 0..3 {
        statuses_of.extend(statuses(&complete(&world).await));
    }
    assert!(statuses_of.contains(&429), "{statuses_of:?}");

    change(&world, "AIGateway", "duo", &only(&json!({"perInstance": {"requestsPerMinute": 1}}))).await;
    let mut statuses_of = Vec::new();
    for user in ["developer", &another] {
        statuses_of.extend(statuses(&completes_for(&world, user).await));
    }
    assert!(statuses_of.contains(&429), "{statuses_of:?}");

    let concurrent = only(&json!({"perInstance": {"requestsPerMinute": null, "concurrentRequests": 1}}));
    change(&world, "AIGateway", "duo", &concurrent).await;
    server.reconfigure(|config| config.chunk_delay_ms = 100);
    let (first, second) = futures::join!(complete(&world), completes_for(&world, &another));
    let both = [statuses(&first), statuses(&second)].concat();
    assert!(both.contains(&200) && both.contains(&429), "{first:#?} {second:#?}");
}
