//! Two FeatureAssignments with one feature.

use duo_e2e::wait::condition;
use serde_json::json;

use crate::{NO_RESYNC, a_second_passes, assignment, ready_world};

const F: &str = "FeatureAssignment";

#[tokio::test(flavor = "multi_thread")]
async fn the_older_has_the_feature_and_the_other_takes_over_as_soon_as_it_goes_or_drops_it() {
    let world = ready_world(NO_RESYNC).await;
    let on = |feature: &str| world.feature_in_gitlab(feature).1;
    let (claude, mixtral) = (Some("Claude 3 Sonnet".to_owned()), Some("Mixtral 8x7B".to_owned()));
    a_second_passes().await;
    let serves = "modelRef: {name: mixtral-8x7b}";
    world.apply(&assignment(&world, "aa-younger", "DuoChat, DuoChatExplainCode, DuoChatWriteTests", serves)).await;
    let refused = world.until_condition(F, "aa-younger", "Accepted", "False", "FeatureClaimed").await;
    let (_, _, message) = condition(&refused, "Accepted");
    assert!(message.contains(&format!("DuoChat by {}/chat", world.namespace)), "{message}");
    assert!(!message.contains("DuoChatWriteTests"), "{message}");
    // What nobody else holds is set.
    world.eventually("the free feature is set", || on("duo_chat_write_tests") == mixtral).await;
    assert_eq!((on("duo_chat"), on("duo_chat_explain_code")), (claude.clone(), claude.clone()));

    world.patch(F, "chat", json!({"spec": {"features": ["DuoChat"]}})).await.expect("a patch");
    world.eventually("the dropped feature is taken over", || on("duo_chat_explain_code") == mixtral).await;
    assert_eq!(on("duo_chat"), claude);

    // No moment without a model: the one that goes leaves the feature to the one that stays.
    world.delete(F, "chat").await;
    world.until_gone(F, "chat").await;
    world.eventually("the other feature is taken over", || on("duo_chat") == mixtral).await;
    world.until_ready(F, "aa-younger").await;
    let unassigned = world.mutations_since(0).into_iter().filter(|mutation| mutation.contains("UNASSIGNED"));
    assert_eq!(unassigned.collect::<Vec<_>>(), Vec::<String>::new());

    // Another model's deletion waited for an assignment that now names this one.
    world.delete("SelfHostedModel", "mixtral-8x7b").await;
    world.until_condition("SelfHostedModel", "mixtral-8x7b", "Synced", "False", "InUse").await;
    for name in ["aa-younger", "code-suggestions"] {
        world.patch(F, name, json!({"spec": {"modelRef": {"name": "claude-3-sonnet"}}})).await.expect("a patch");
    }
    world.until_gone("SelfHostedModel", "mixtral-8x7b").await;
    assert_eq!((on("duo_chat"), on("code_completions")), (claude.clone(), claude));
    world.users_are_served().await;
    world.foreign_is_untouched();
}

/// One edit names a model in place of a provider and drops a feature; then the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn a_feature_dropped_in_the_edit_that_changes_what_serves_it_is_released() {
    let world = ready_world(NO_RESYNC).await;
    world.apply(&assignment(&world, "more", "DuoChatWriteTests, DuoChatRefactorCode", "provider: Disabled")).await;
    world.until_ready(F, "more").await;
    let seen = |feature: &str| world.feature_in_gitlab(feature);
    assert_eq!(seen("duo_chat_refactor_code"), ("disabled".to_owned(), None));
    let edit = json!({"spec": {
        "features": ["DuoChatWriteTests"], "provider": null, "modelRef": {"name": "claude-3-sonnet"},
    }});
    world.patch(F, "more", edit).await.expect("a patch");
    let claude = ("self_hosted".to_owned(), Some("Claude 3 Sonnet".to_owned()));
    world.eventually("what stays has the model", || seen("duo_chat_write_tests") == claude).await;
    // A chat sub-feature returns to Duo Chat's model.
    world
        .eventually("what was dropped is not switched off any more", || seen("duo_chat_refactor_code") == claude)
        .await;

    let edit = json!({"spec": {"features": ["DuoChatFixCode"], "provider": "Disabled", "modelRef": null}});
    world.patch(F, "more", edit).await.expect("a patch");
    world.eventually("the new one is off", || seen("duo_chat_fix_code").0 == "disabled").await;
    world.until_ready(F, "more").await;
    assert_eq!(seen("duo_chat_write_tests"), claude);
    // Somebody else switched one off that this resource had let go of: it stays.
    world.feature_by_hand("duo_chat_refactor_code", "disabled", None);
    world.delete(F, "more").await;
    world.until_gone(F, "more").await;
    assert_eq!(seen("duo_chat_fix_code"), claude);
    assert_eq!(seen("duo_chat_refactor_code"), ("disabled".to_owned(), None));
    world.foreign_is_untouched();
}
