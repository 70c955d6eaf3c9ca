//! Users who ask at the very moment at which `Ready` turns True: the gateway's pods take a change over later than GitLab
//! does, and nobody may be told before the last of them has it.

use std::time::{Duration, Instant};

use duo_e2e::World;
use duo_e2e::wait::{LIMIT, condition};
use duo_sim::gitlab::What;
use serde_json::json;

use crate::{model, ready_world};

/// More than one try, because it is a matter of moments.
const TRIES: usize = 4;
const IDENTIFIERS: [&str; 2] = ["bedrock/mistral.mistral-large-2402-v1:0", "bedrock/mistral.mistral-7b-instruct-v0:2"];

/// Looks as often as possible until all are Ready as they are declared now.
async fn the_moment(world: &World, objects: &[(&str, &str)]) {
    let started = Instant::now();
    loop {
        let mut ready = true;
        for (kind, name) in objects {
            let object = world.get(kind, name).await;
            ready &= condition(&object, "Ready").0 == "True"
                && object["status"]["observedGeneration"] == object["metadata"]["generation"];
        }
        if ready {
            return;
        }
        assert!(started.elapsed() < LIMIT, "never Ready\n{}", world.log_tail());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Both pods are asked: GitLab's calls go to one after the other.
async fn users_are_served_now(world: &World, when: &str) {
    for _ in 0..4 {
        let answer = world.ask(What::CodeCompletion).await;
        assert!(answer.ok, "Ready, and yet a user fails {when}: {answer:#?}\n{}", world.log_tail());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn features_that_turn_ready_with_a_new_model_serve_their_users_at_that_moment() {
    let world = ready_world("moment", "19.5.0").await;
    for number in 0..TRIES {
        let name = format!("new-{number}");
        world.apply(&model(&world, &name, "Mistral", IDENTIFIERS[number % 2])).await;
        let to = json!({"spec": {"modelRef": {"name": name}}});
        world.patch("FeatureAssignment", "code-suggestions", to).await.expect("a patch");
        the_moment(&world, &[("FeatureAssignment", "code-suggestions")]).await;
        users_are_served_now(&world, &format!("with new model {number}")).await;
        let back = json!({"spec": {"modelRef": {"name": "mixtral-8x7b"}}});
        world.patch("FeatureAssignment", "code-suggestions", back).await.expect("a patch");
        the_moment(&world, &[("FeatureAssignment", "code-suggestions")]).await;
        world.delete("SelfHostedModel", &name).await;
        world.until_gone("SelfHostedModel", &name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_turns_ready_as_it_is_declared_anew_serves_its_users_at_that_moment() {
    let world = ready_world("anew", "19.5.0").await;
    world.apply(&model(&world, "changing", "Mistral", IDENTIFIERS[0])).await;
    let to = json!({"spec": {"modelRef": {"name": "changing"}}});
    world.patch("FeatureAssignment", "code-suggestions", to).await.expect("a patch");
    the_moment(&world, &[("FeatureAssignment", "code-suggestions")]).await;
    for number in 1..=TRIES {
        let other = json!({"spec": {"identifier": IDENTIFIERS[number % 2]}});
        world.patch("SelfHostedModel", "changing", other).await.expect("a patch");
        the_moment(&world, &[("SelfHostedModel", "changing"), ("FeatureAssignment", "code-suggestions")]).await;
        users_are_served_now(&world, &format!("after change {number}")).await;
    }
}
