//! Models that somebody registered by hand.

use duo_e2e::World;
use duo_e2e::wait::condition;
use serde_json::json;

use crate::{creates, model, ready_world};

const M: &str = "SelfHostedModel";
const IDENTIFIER: &str = "bedrock/anthropic.claude-3-haiku-20240307-v1:0";
const TYPED_KEY: &str = "e2e-key-typed-before-the-operator-came-86420";

/// policy × exists × hidden family, in one world.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_policy_takes_over_what_exists() {
    let world = ready_world(2).await;
    let by_hand = |name: &str, family: &str| {
        let id = world.model_by_hand(name, family, "custom_openai/theirs");
        world.gitlab.edit(|state| state.models.get_mut(&id).expect("it").api_token = Some(TYPED_KEY.to_owned()));
        id
    };
    let [named, refused] = ["Named", "Refused"].map(|name| by_hand(name, "gpt"));
    let [hidden_named, hidden_refused] = ["Hidden named", "Hidden refused"].map(|name| by_hand(name, "llama3"));
    let theirs = world.gitlab.state().models;
    let mut all = String::new();
    for (name, display_name, family, adoption) in [
        ("named", "Named", "Claude", "ByName"),
        ("refused", "Refused", "Claude", "Never"),
        ("new-named", "New named", "Claude", "ByName"),
        ("new", "New", "Claude", "Never"),
        ("hidden-named", "Hidden named", "Llama3", "ByName"),
        ("hidden-refused", "Hidden refused", "Llama3", "Never"),
    ] {
        all += &model(&world, name, display_name, family, adoption);
    }
    world.apply(&all).await;
    for name in ["named", "new-named", "new"] {
        world.until_condition(M, name, "Synced", "True", "").await;
    }
    let taken = world.until_condition(M, "refused", "Synced", "False", "NameTaken").await;
    assert!(condition(&taken, "Synced").2.contains("adoptionPolicy: ByName"), "the cure is not named: {taken:#}");
    for name in ["hidden-named", "hidden-refused"] {
        world.until_condition(M, name, "Accepted", "False", "TestingTermsNotAccepted").await;
    }
    assert_eq!(creates(&world), 4, "the article's two and the two new ones");
    let adopted = world.model_in_gitlab("Named");
    assert_eq!((adopted.id, adopted.family.as_str(), adopted.identifier.as_str()), (named, "claude_3", IDENTIFIER));
    assert_eq!(adopted.api_token, None, "GitLab still stores the key");
    world.until_event("ModelAdopted", "named").await;
    let untouched = |world: &World, id: u64| {
        let now = world.gitlab.state().models[&id].clone();
        assert_eq!(now.updated_at, theirs[&id].updated_at, "{now:?}");
        assert_eq!(now.api_token.as_deref(), Some(TYPED_KEY));
    };
    for id in [refused, hidden_named, hidden_refused] {
        untouched(&world, id);
    }

    world.gitlab.edit(|state| state.terms_accepted = true);
    world.until_condition(M, "hidden-named", "Synced", "True", "").await;
    world.until_condition(M, "hidden-refused", "Synced", "False", "NameTaken").await;
    assert_eq!((world.model_in_gitlab("Hidden named").id, creates(&world)), (hidden_named, 4));
    for id in [refused, hidden_refused] {
        untouched(&world, id);
    }

    // What was adopted is ours to delete, unless told otherwise; what was not adopted is not.
    let orphan = json!({"spec": {"deletionPolicy": "Orphan"}});
    world.patch(M, "hidden-named", orphan).await.expect("a patch");
    for name in ["named", "refused", "new-named", "new", "hidden-named", "hidden-refused"] {
        world.delete(M, name).await;
    }
    for name in ["named", "refused", "new-named", "new", "hidden-named", "hidden-refused"] {
        world.until_gone(M, name).await;
    }
    let left = world.models_in_gitlab();
    assert_eq!(
        left,
        ["Claude 3 Sonnet", "Hidden named", "Hidden refused", "Mixtral 8x7B", "Refused", duo_e2e::hand::FOREIGN_MODEL]
    );
    for id in [refused, hidden_refused] {
        untouched(&world, id);
    }
    world.users_are_served().await;
    world.foreign_is_untouched();
    world.no_secret_is_told(&[TYPED_KEY.to_owned()]).await;
}
