//! Two SelfHostedModels with one name.

use duo_e2e::wait::condition;
use serde_json::json;

use crate::{NO_RESYNC, a_second_passes, creates, model, ready_world};

const M: &str = "SelfHostedModel";

#[tokio::test(flavor = "multi_thread")]
async fn the_older_has_the_name_and_the_other_takes_over_as_soon_as_it_goes_or_is_renamed() {
    let world = ready_world(NO_RESYNC).await;
    world.apply(&model(&world, "zz-older", "Shared", "Claude", "Never")).await;
    world.until_condition(M, "zz-older", "Synced", "True", "").await;
    let first = world.model_in_gitlab("Shared").id;
    a_second_passes().await;
    world.apply(&model(&world, "aa-younger", "Shared", "Claude", "ByName")).await;
    let refused = world.until_condition(M, "aa-younger", "Accepted", "False", "NameClaimed").await;
    let (_, _, message) = condition(&refused, "Accepted");
    assert!(message.contains(&format!("{}/zz-older", world.namespace)), "the older is not named: {message}");
    assert_eq!(condition(&refused, "Stalled").0, "True");

    // Renamed: GitLab's model goes with its resource, and the name is free.
    world.patch(M, "zz-older", json!({"spec": {"displayName": "Moved"}})).await.expect("a patch");
    world.until_condition(M, "aa-younger", "Synced", "True", "").await;
    world.until_condition(M, "zz-older", "Synced", "True", "").await;
    assert_eq!(world.model_in_gitlab("Moved").id, first, "the older's model was taken over");
    assert_ne!(world.model_in_gitlab("Shared").id, first);
    assert_eq!(creates(&world), 4);

    // Back: now the older wants a name that the younger holds.
    world.patch(M, "zz-older", json!({"spec": {"displayName": "Shared"}})).await.expect("a patch");
    world.until_condition(M, "aa-younger", "Accepted", "False", "NameClaimed").await;
    world.delete(M, "aa-younger").await;
    world.until_gone(M, "aa-younger").await;
    world.until_condition(M, "zz-older", "Synced", "True", "").await;
    world.eventually("the older has its name", || world.model_in_gitlab("Shared").id == first).await;

    // Deleted: the younger follows.
    a_second_passes().await;
    world.apply(&model(&world, "aa-younger", "Shared", "Claude", "Never")).await;
    world.until_condition(M, "aa-younger", "Accepted", "False", "NameClaimed").await;
    world.delete(M, "zz-older").await;
    world.until_gone(M, "zz-older").await;
    world.until_condition(M, "aa-younger", "Synced", "True", "").await;
    assert_ne!(world.model_in_gitlab("Shared").id, first);
    assert_eq!(world.models_in_gitlab().iter().filter(|name| *name == "Shared").count(), 1);
    world.users_are_served().await;
    world.foreign_is_untouched();
}
