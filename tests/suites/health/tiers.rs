//! How fit a model is for a feature, and what is refused before anything is written.

use duo_e2e::wait::condition;

use crate::{assignment, comes_to_rest, model, ready_world};

#[tokio::test(flavor = "multi_thread")]
async fn tiers_are_shown_and_warned_of_once_and_a_family_that_does_not_fit_is_not_even_asked_for() {
    let world = ready_world("tiers", "18.9.0").await;
    world.gitlab.edit(|state| state.terms_accepted = true);
    let article = world.get("FeatureAssignment", "chat").await;
    assert_eq!(article["status"]["features"][0]["tier"], "Unlisted", "{:#}", article["status"]);
    assert_eq!(article["status"]["features"][0]["releaseState"], "GA");

    // a chat sub-feature: the tables' partial and limited tiers of chat are the sub-features', too
    world.apply(&model(&world, "llama", "Llama3", "bedrock/meta.llama3-8b-instruct-v1:0")).await;
    world.apply(&assignment(&world, "llama", &["DuoChatFixCode", "SummarizeReview"], "llama")).await;
    let shown = world.until_ready("FeatureAssignment", "llama").await;
    let features = &shown["status"]["features"];
    assert_eq!((&features[0]["tier"], &features[0]["listedAs"]), (&"Limited".into(), &"Llama 3 8B".into()));
    assert_eq!((&features[1]["tier"], &features[1]["releaseState"]), (&"Unlisted".into(), &"EXPERIMENT".into()));
    let told = world.until_event("LimitedFunctionality", "llama").await;
    assert!(told.contains("Llama 3 8B") && told.contains("DuoChatFixCode"), "{told}");
    comes_to_rest(&world).await;
    let events = world.events().await.into_iter().filter(|event| event.0 == "LimitedFunctionality").count();
    assert_eq!(events, 1);

    let mark = world.gitlab.journal().mark();
    world.apply(&assignment(&world, "agents", &["DuoAgentPlatform"], "mixtral-8x7b")).await;
    let refused = world.until_condition("FeatureAssignment", "agents", "Accepted", "False", "FamilyIncompatible").await;
    let (_, _, message) = condition(&refused, "Accepted");
    assert!(message.contains("DuoAgentPlatform (takes claude_3, gpt, general)"), "{message}");
    assert_eq!(condition(&refused, "Stalled").0, "True");
    world
        .apply(
            &assignment(&world, "managed", &["ReviewMergeRequest"], "mixtral-8x7b")
                .replace("\"modelRef\":{\"name\":\"mixtral-8x7b\"}", "\"provider\":\"GitLabManaged\""),
        )
        .await;
    world.until_condition("FeatureAssignment", "managed", "Accepted", "False", "OfflineLicense").await;
    assert_eq!(world.mutations_since(mark), Vec::<String>::new(), "{}", world.log_tail());
}
