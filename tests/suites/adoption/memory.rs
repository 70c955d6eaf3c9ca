//! Status lost, annotations lost, both lost.

use duo_e2e::World;
use duo_e2e::wait::condition;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::{creates, ready_world};

const M: &str = "SelfHostedModel";
const NAMES: [&str; 2] = ["mixtral-8x7b", "claude-3-sonnet"];

async fn lose_status(world: &World, kind: &str, name: &str) {
    let nothing = json!({"status": null});
    world.api(kind).patch_status(name, &PatchParams::default(), &Patch::Merge(nothing)).await.expect("a patch");
}

/// As `kubectl replace` does it.
async fn lose_annotations(world: &World, kind: &str, name: &str) {
    world.patch(kind, name, json!({"metadata": {"annotations": null, "finalizers": null}})).await.expect("a patch");
}

fn external_id(object: &Value) -> Option<String> {
    object["metadata"]["annotations"]["duo.selfhosted.dev/external-id"].as_str().map(ToOwned::to_owned)
}

/// Whether the operator runs or not, the two stand in for each other.
#[tokio::test(flavor = "multi_thread")]
async fn status_or_annotations_lost_find_the_same_model_again() {
    let world = ready_world(2).await;
    let models = || world.gitlab.state().models.into_keys().collect::<Vec<_>>();
    let before = models();
    for stopped in [false, true] {
        for lost in ["status", "annotations"] {
            if stopped {
                world.kill_operator();
            }
            for (kind, name) in World::article_objects() {
                match lost {
                    "status" => lose_status(&world, kind, name).await,
                    _ => lose_annotations(&world, kind, name).await,
                }
            }
            if stopped {
                world.start_operator_again();
            }
            for name in NAMES {
                world.until(M, name, "its id is noted", |object| external_id(object).is_some()).await;
            }
            world.until_article_is_ready().await;
            assert_eq!((models(), creates(&world)), (before.clone(), 2), "{lost}, stopped: {stopped}");
            world.users_are_served().await;
        }
    }
    for (kind, name) in World::article_objects() {
        world.delete(kind, name).await;
    }
    for (kind, name) in World::article_objects() {
        world.until_gone(kind, name).await;
    }
    assert_eq!(world.models_in_gitlab(), [duo_e2e::hand::FOREIGN_MODEL]);
    world.foreign_is_untouched();
}

/// Nothing tells whose the models are: they are taken over by policy, or not at all, and never made twice.
#[tokio::test(flavor = "multi_thread")]
async fn with_both_lost_only_the_policy_takes_over() {
    let world = ready_world(2).await;
    let before: Vec<u64> = world.gitlab.state().models.into_keys().collect();
    world.kill_operator();
    for name in NAMES {
        lose_annotations(&world, M, name).await;
        lose_status(&world, M, name).await;
    }
    world.start_operator_again();
    for name in NAMES {
        world.until_condition(M, name, "Synced", "False", "NameTaken").await;
    }
    for name in NAMES {
        world.patch(M, name, json!({"spec": {"adoptionPolicy": "ByName"}})).await.expect("a patch");
    }
    world.until_article_is_ready().await;
    let after: Vec<u64> = world.gitlab.state().models.into_keys().collect();
    assert_eq!((after, creates(&world)), (before, 2));
    let object = world.get(M, NAMES[0]).await;
    assert!(external_id(&object).is_some(), "{object:#} {:?}", condition(&object, "Synced"));
    world.users_are_served().await;
    world.foreign_is_untouched();
}
