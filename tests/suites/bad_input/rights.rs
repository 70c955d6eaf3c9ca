//! Tokens and licences that do not do. GitLab answers most of them with one sentence; the operator tells them apart.

use duo_e2e::{Options, World, manifests};
use duo_sim::gitlab::What;
use duo_sim::gitlab::state::{AddOn, EXPIRED_TOKEN, READ_API_TOKEN, REVOKED_TOKEN, USER_TOKEN};
use serde_json::json;

use crate::{Cure, Told, delete_secret, nothing_written, patch_secret, set_token};

const GATEWAY: (&str, &str) = ("AIGateway", "duo");
const WRONG: &str = "glpat-nobody-knows-this-one";

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_do_not_do_are_told_apart_and_the_right_one_is_enough() {
    let world = World::start("token", Options::default()).await;
    let mark = world.gitlab.journal().mark();
    set_token(&world, WRONG).await;
    world.apply_article().await;

    let told = |status, reason, words| Told {
        object: GATEWAY,
        condition: ("TokenValid", status, reason),
        words,
        cure: Cure::Person,
    };
    told("False", "TokenInvalid", &["GitLab refuses the token", "401 Unauthorized"]).until(&world).await;
    // The cluster's side goes on, and those that need GitLab say what they wait for.
    world.until_condition("AIGateway", "duo", "WorkloadAvailable", "True", "").await;
    for object in [("SelfHostedModel", "mixtral-8x7b"), ("FeatureAssignment", "chat")] {
        let told = world.until_condition(object.0, object.1, "Synced", "Unknown", "GatewayNotReady").await;
        assert!(told["status"].to_string().contains("401 Unauthorized"), "{told:#}");
    }

    let others: [(&str, &str, &[&str]); 4] = [
        (READ_API_TOKEN, "TokenLacksScope", &["read_api", "needs api"]),
        (EXPIRED_TOKEN, "TokenInvalid", &["Token is expired"]),
        (USER_TOKEN, "NotAdministrator", &["not an instance administrator"]),
        (REVOKED_TOKEN, "TokenInvalid", &["Token was revoked"]),
    ];
    for (token, reason, words) in others {
        set_token(&world, token).await;
        told("False", reason, words).until(&world).await;
    }
    patch_secret(&world, "gitlab-admin", json!({"data": {"token": null}})).await;
    told("Unknown", "SecretKeyMissing", &["gitlab-admin", "\"token\"", "add it"]).until(&world).await;
    delete_secret(&world, "gitlab-admin").await;
    told("Unknown", "SecretNotFound", &["gitlab-admin", "create it"]).until(&world).await;
    nothing_written(&world, mark);

    world.apply(&manifests::secrets(&world.namespace)).await;
    world.until_article_is_ready().await;
    world.users_are_served().await;

    // The right token of a user who is blocked now.
    world.gitlab.edit(|state| state.users[0].blocked = true);
    told("False", "AccessForbidden", &["API not accessible for user"]).until(&world).await;
    world.gitlab.edit(|state| state.users[0].blocked = false);
    world.until_article_is_ready().await;
    let tokens = [WRONG, READ_API_TOKEN, EXPIRED_TOKEN, USER_TOKEN, REVOKED_TOKEN].map(str::to_owned);
    world.no_secret_is_told(&tokens).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_licence_and_a_missing_add_on_are_told_apart_and_their_end_is_noticed() {
    let world = World::start("licence", Options::default()).await;
    let mark = world.gitlab.journal().mark();
    let license = world.gitlab.edit(|state| state.license.take());
    world.apply_article().await;
    let told =
        |reason, words| Told { object: GATEWAY, condition: ("TokenValid", "False", reason), words, cure: Cure::Person };
    told("NoLicense", &["GitLab has no licence", "Premium or Ultimate"]).until(&world).await;

    let duo_enterprise: Vec<AddOn> = world.gitlab.edit(|state| {
        state.license = license;
        std::mem::take(&mut state.add_ons)
    });
    told("SelfHostedModelsNotLicensed", &["add-ons none", "GitLab Duo Enterprise"]).until(&world).await;
    nothing_written(&world, mark);

    // Bought: nobody tells the operator, it looks again.
    world.gitlab.edit(|state| state.add_ons.clone_from(&duo_enterprise));
    world.until_article_is_ready().await;
    world.users_are_served().await;

    // Run out: users get nothing, so nothing is Ready any more.
    world.gitlab.edit(|state| state.add_ons.clear());
    told("SelfHostedModelsNotLicensed", &["GitLab Duo Enterprise"]).until(&world).await;
    assert!(!world.ask(What::CodeCompletion).await.ok, "the break is none for users");
    world.until_condition("FeatureAssignment", "code-suggestions", "Ready", "False", "GatewayNotReady").await;
    world.gitlab.edit(|state| state.add_ons = duo_enterprise);
    world.until_article_is_ready().await;
    world.users_are_served().await;
}
