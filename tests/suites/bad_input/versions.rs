//! What a release of GitLab does not have.

use duo_e2e::wait::condition;
use duo_e2e::{Options, World};

use crate::{Cure, Told, assignment};

#[tokio::test(flavor = "multi_thread")]
async fn what_gitlab_18_6_does_not_have_is_named_and_the_rest_works() {
    let world = World::start("older", Options { gitlab: "18.6.0", ..Options::default() }).await;
    world.apply_article().await;
    // The article declares a request timeout, which GitLab has from 18.7.
    world.until_article_is_ready().await;
    let warning = world.until_event("RequestTimeoutIgnored", "duo").await;
    assert!(
        warning.contains("spec.requestTimeout") && warning.contains("18.6") && warning.contains("18.7"),
        "{warning}"
    );

    world.apply(&assignment(&world, "newer", &["SecurityReview", "DuoChatFixCode"], "claude-3-sonnet")).await;
    let newer = Told {
        object: ("FeatureAssignment", "newer"),
        condition: ("Accepted", "False", "FeatureNotSupported"),
        words: &["spec.features", "18.6", "SecurityReview"],
        cure: Cure::Person,
    }
    .until(&world)
    .await;
    assert!(!condition(&newer, "Accepted").2.contains("FixCode"), "{newer:#}");
    world
        .eventually("the feature that it has is set", || {
            world.feature_in_gitlab("duo_chat_fix_code").1.as_deref() == Some("Claude 3 Sonnet")
        })
        .await;
    world.users_are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn features_that_gitlab_18_9_hides_or_does_not_know_are_told_apart() {
    let world = World::start("hidden", Options { gitlab: "18.9.0", ..Options::default() }).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    let told = |name, reason, words| Told {
        object: ("FeatureAssignment", name),
        condition: ("Accepted", "False", reason),
        words,
        cure: Cure::Person,
    };
    world.apply(&assignment(&world, "unknown", &["SecurityReview"], "claude-3-sonnet")).await;
    world.apply(&assignment(&world, "hidden", &["SummarizeReview"], "claude-3-sonnet")).await;
    told("unknown", "FeatureNotSupported", &["18.9", "SecurityReview"]).until(&world).await;
    told("hidden", "FeatureNotListed", &["SummarizeReview", "testing terms"]).until(&world).await;

    world.gitlab.edit(|state| state.terms_accepted = true);
    world.until_ready("FeatureAssignment", "hidden").await;
    assert_eq!(world.feature_in_gitlab("summarize_review").1.as_deref(), Some("Claude 3 Sonnet"));
    world.users_are_served().await;
}
