//! Deletion in any order, with GitLab, its token or the namespace going at the same time: it always ends, and takes
//! nothing that is not ours.

#![allow(missing_docs, clippy::expect_used, reason = "a test program has no API and ends where its world cannot go on")]

use std::net::IpAddr;
use std::time::Duration;

use duo_e2e::wait::condition;
use duo_e2e::{Options, World, hand};
use duo_sim::gitlab::{Action, Fault};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

/// GitLab's gateway URL before the operator came.
const PREVIOUS: &str = "http://gateway.before.example:5052";
const PREVIOUS_HOST: &str = "gateway.before.example";
/// The features of the article.
const FEATURES: [&str; 4] = ["code_generations", "code_completions", "duo_chat", "duo_chat_explain_code"];

/// The article's scenario in a GitLab that had another gateway before and holds things of others.
async fn ready_world() -> World {
    let world = World::start("gone", Options::default()).await;
    world.add_what_is_foreign();
    world.gitlab.hosts().insert(PREVIOUS_HOST, IpAddr::from([127, 0, 0, 1]));
    world.gitlab.edit(|state| state.settings.ai_gateway_url = Some(PREVIOUS.to_owned()));
    world.apply_article().await;
    world.until_article_is_ready().await;
    world.users_are_served().await;
    world
}

fn gateway_url(world: &World) -> Option<String> {
    world.gitlab.state().settings.ai_gateway_url
}

/// GitLab is as it was before the operator came.
fn nothing_of_ours_is_left(world: &World) {
    let log = world.log_tail();
    assert_eq!(world.models_in_gitlab(), [hand::FOREIGN_MODEL], "{log}");
    assert_eq!(gateway_url(world).as_deref(), Some(PREVIOUS), "{log}");
    for feature in FEATURES {
        let (provider, model) = world.feature_in_gitlab(feature);
        assert!(provider != "self_hosted" && model.is_none(), "{feature}: {provider} {model:?}\n{log}");
    }
    world.foreign_is_untouched();
}

async fn delete_everything(world: &World) {
    for (kind, name) in World::article_objects() {
        world.delete(kind, name).await;
    }
}

async fn until_everything_is_gone(world: &World) {
    for (kind, name) in World::article_objects() {
        world.until_gone(kind, name).await;
    }
}

async fn delete_token_secret(world: &World) {
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), &world.namespace);
    secrets.delete("gitlab-admin", &DeleteParams::default()).await.expect("the Secret is deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_waits_for_its_assignment_and_an_assignment_leaves_its_model() {
    let world = ready_world().await;
    world.delete("SelfHostedModel", "claude-3-sonnet").await;
    let waiting = world.until_condition("SelfHostedModel", "claude-3-sonnet", "Synced", "False", "InUse").await;
    let (_, _, message) = condition(&waiting, "Synced");
    assert!(message.contains("chat"), "the assignment is not named: {message}");
    assert_eq!(condition(&waiting, "Stalled").0, "True", "only a person can end this wait");
    world.users_are_served().await;

    world.delete("FeatureAssignment", "chat").await;
    world.until_gone("FeatureAssignment", "chat").await;
    world.until_gone("SelfHostedModel", "claude-3-sonnet").await;
    assert_eq!(world.feature_in_gitlab("duo_chat"), ("unassigned".to_owned(), None));
    assert_eq!(world.models_in_gitlab(), ["Mixtral 8x7B", hand::FOREIGN_MODEL]);

    world.delete("FeatureAssignment", "code-suggestions").await;
    world.until_gone("FeatureAssignment", "code-suggestions").await;
    assert_eq!(world.feature_in_gitlab("code_completions"), ("unassigned".to_owned(), None));
    assert_eq!(world.models_in_gitlab(), ["Mixtral 8x7B", hand::FOREIGN_MODEL]);
    world.delete("SelfHostedModel", "mixtral-8x7b").await;
    world.until_gone("SelfHostedModel", "mixtral-8x7b").await;
    assert_ne!(gateway_url(&world).as_deref(), Some(PREVIOUS), "the gateway is still declared");
    world.delete("AIGateway", "duo").await;
    world.until_gone("AIGateway", "duo").await;
    nothing_of_ours_is_left(&world);
    world.no_secret_is_told(&[]).await;
}

/// As `kubectl delete -f` of the samples does it: the gateway's deletion arrives before those of its models.
#[tokio::test(flavor = "multi_thread")]
async fn all_at_once_with_the_gateway_first() {
    let world = ready_world().await;
    world.delete("AIGateway", "duo").await;
    // a slow client, or one that throttles itself
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for (kind, name) in &World::article_objects()[1..] {
        world.delete(kind, name).await;
    }
    until_everything_is_gone(&world).await;
    nothing_of_ours_is_left(&world);
}

/// A sub-feature would return to Duo Chat's model, which is on its way out as well.
#[tokio::test(flavor = "multi_thread")]
async fn duo_chat_its_sub_feature_and_their_model_at_once() {
    let world = ready_world().await;
    let explain = format!(
        "apiVersion: duo.selfhosted.dev/v1alpha1
kind: FeatureAssignment
metadata: {{name: explain, namespace: {}}}
spec: {{gatewayRef: {{name: duo}}, features: [DuoChatExplainCode], modelRef: {{name: claude-3-sonnet}}}}
",
        world.namespace
    );
    world.apply(&explain).await;
    let chat = json!({"spec": {"features": ["DuoChat"]}});
    world.patch("FeatureAssignment", "chat", chat).await.expect("a patch");
    world.until_ready("FeatureAssignment", "explain").await;
    world.until_ready("FeatureAssignment", "chat").await;
    world.users_are_served().await;
    let going =
        [("FeatureAssignment", "explain"), ("FeatureAssignment", "chat"), ("SelfHostedModel", "claude-3-sonnet")];
    // Both releases are decided before either takes effect.
    world.gitlab.faults().add(Fault::new(Action::Delay { ms: 1500 }).on("aiFeatureSettingUpdate"));
    for (kind, name) in going {
        world.delete(kind, name).await;
    }
    for (kind, name) in going {
        world.until_gone(kind, name).await;
    }
    assert_eq!(world.feature_in_gitlab("duo_chat_explain_code"), ("unassigned".to_owned(), None));
    assert_eq!(world.models_in_gitlab(), ["Mixtral 8x7B", hand::FOREIGN_MODEL]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_alone_puts_the_url_back_and_what_follows_ends_too() {
    let world = ready_world().await;
    world.delete("AIGateway", "duo").await;
    world.until_gone("AIGateway", "duo").await;
    assert_eq!(gateway_url(&world).as_deref(), Some(PREVIOUS));
    world.until_condition("SelfHostedModel", "mixtral-8x7b", "Accepted", "Unknown", "GatewayNotFound").await;
    for (kind, name) in &World::article_objects()[1..] {
        world.delete(kind, name).await;
    }
    until_everything_is_gone(&world).await;
    // Nobody can ask this GitLab any more: what is left there is told, and nothing of others went.
    world.until_event("LeftBehind", "mixtral-8x7b").await;
    world.foreign_is_untouched();
}

/// GitLab saves only a URL whose host it can resolve: the former gateway may be gone by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_former_url_that_gitlab_takes_no_more_leaves_no_url() {
    let world = ready_world().await;
    world.gitlab.hosts().remove(PREVIOUS_HOST);
    delete_everything(&world).await;
    until_everything_is_gone(&world).await;
    assert_eq!(gateway_url(&world), None);
    assert_eq!(world.models_in_gitlab(), [hand::FOREIGN_MODEL]);
    let told = world.until_event("PreviousURLRefused", "duo").await;
    assert!(told.contains(PREVIOUS), "{told}");
}

/// A URL that somebody changed by hand is not ours any more and stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_url_changed_by_hand_under_deletion_stays() {
    let world = ready_world().await;
    world.kill_operator();
    world.gitlab.edit(|state| state.settings.ai_gateway_url = Some("http://by-hand.example".to_owned()));
    delete_everything(&world).await;
    world.start_operator_again();
    until_everything_is_gone(&world).await;
    assert_eq!(gateway_url(&world).as_deref(), Some("http://by-hand.example"));
    assert_eq!(world.models_in_gitlab(), [hand::FOREIGN_MODEL]);
}

/// The token's Secret goes at once, the pods too; the token in memory does.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_torn_down_takes_everything_of_ours_from_gitlab() {
    let world = ready_world().await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    namespaces.delete(&world.namespace, &DeleteParams::default()).await.expect("the namespace is deleted");
    until_everything_is_gone(&world).await;
    nothing_of_ours_is_left(&world);
    let started = std::time::Instant::now();
    while namespaces.get_opt(&world.namespace).await.expect("the API server answers").is_some() {
        assert!(started.elapsed() < duo_e2e::wait::LIMIT, "the namespace stays\n{}", world.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_put_on_the_model_by_hand_is_named_before_it_is_taken_off() {
    let world = ready_world().await;
    let claude = world.model_in_gitlab("Claude 3 Sonnet").id;
    world.feature_by_hand("duo_chat_write_tests", "self_hosted", Some(claude));
    world.delete("FeatureAssignment", "chat").await;
    world.until_gone("FeatureAssignment", "chat").await;
    world.delete("SelfHostedModel", "claude-3-sonnet").await;
    let waiting = world.until_condition("SelfHostedModel", "claude-3-sonnet", "Synced", "False", "InUse").await;
    let (_, _, message) = condition(&waiting, "Synced");
    assert!(message.contains("duo_chat_write_tests") && !message.contains("duo_chat_explain_code"), "{message}");
    assert_eq!(world.feature_in_gitlab("duo_chat_write_tests").0, "self_hosted");

    world.feature_by_hand("duo_chat_write_tests", "disabled", None);
    world.until_gone("SelfHostedModel", "claude-3-sonnet").await;
    assert_eq!(world.models_in_gitlab(), ["Mixtral 8x7B", hand::FOREIGN_MODEL]);
    assert_eq!(world.feature_in_gitlab("duo_chat_write_tests"), ("disabled".to_owned(), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_that_is_dropped_in_the_edit_that_names_another_model_is_released() {
    let world = ready_world().await;
    let edit = json!({"spec": {"features": ["CodeGenerations"], "modelRef": {"name": "claude-3-sonnet"}}});
    world.patch("FeatureAssignment", "code-suggestions", edit).await.expect("a patch");
    let switched = ("self_hosted".to_owned(), Some("Claude 3 Sonnet".to_owned()));
    let started = std::time::Instant::now();
    while world.feature_in_gitlab("code_completions") != ("unassigned".to_owned(), None)
        || world.feature_in_gitlab("code_generations") != switched
    {
        assert!(started.elapsed() < duo_e2e::wait::LIMIT, "the feature stays\n{}", world.log_tail());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.until_ready("FeatureAssignment", "code-suggestions").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphan_leaves_gitlab_as_it_is() {
    let world = ready_world().await;
    for (kind, name) in World::article_objects() {
        world.patch(kind, name, json!({"spec": {"deletionPolicy": "Orphan"}})).await.expect("a patch");
        world.until_ready(kind, name).await;
    }
    let before = world.gitlab.state();
    delete_everything(&world).await;
    until_everything_is_gone(&world).await;
    let after = world.gitlab.state();
    assert_eq!(after.revision, before.revision);
    assert_eq!(world.models_in_gitlab().len(), 3);
    assert_eq!(after.settings.ai_gateway_url, before.settings.ai_gateway_url);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gitlab_that_is_down_is_waited_for_unless_told_to_let_go() {
    let world = ready_world().await;
    world.gitlab.faults().add(Fault::new(Action::Cut));
    delete_everything(&world).await;
    world.until_condition("FeatureAssignment", "chat", "Synced", "False", "").await;
    let abandon = json!({"metadata": {"annotations": {"duo.selfhosted.dev/abandon": "true"}}});
    for (kind, name) in [("FeatureAssignment", "chat"), ("SelfHostedModel", "claude-3-sonnet")] {
        world.patch(kind, name, abandon.clone()).await.expect("a patch");
        world.until_gone(kind, name).await;
        world.until_event("LeftBehind", name).await;
    }
    for (kind, name) in [("AIGateway", "duo"), ("SelfHostedModel", "mixtral-8x7b")] {
        assert!(!world.get(kind, name).await.is_null(), "{kind} {name} went without GitLab");
    }

    world.gitlab.faults().clear();
    until_everything_is_gone(&world).await;
    assert_eq!(world.models_in_gitlab(), ["Claude 3 Sonnet", hand::FOREIGN_MODEL]);
    assert_eq!(gateway_url(&world).as_deref(), Some(PREVIOUS));
    world.foreign_is_untouched();
    world.no_secret_is_told(&[]).await;
}

/// GitLab then shows an empty world, which looks as if everything of ours were gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_license_that_ran_out_does_not_pass_for_a_gitlab_without_our_things() {
    let world = ready_world().await;
    let license = world.gitlab.edit(|state| state.license.take());
    delete_everything(&world).await;
    world.until_condition("FeatureAssignment", "chat", "Synced", "False", "TokenLacksRights").await;
    for (kind, name) in World::article_objects() {
        assert!(!world.get(kind, name).await.is_null(), "{kind} {name} went and left something behind");
    }

    world.gitlab.edit(|state| state.license = license);
    until_everything_is_gone(&world).await;
    nothing_of_ours_is_left(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_went_first_and_that_nobody_remembers_stops_no_deletion() {
    let world = ready_world().await;
    world.kill_operator();
    delete_token_secret(&world).await;
    delete_everything(&world).await;
    world.start_operator_again();
    until_everything_is_gone(&world).await;
    for name in ["duo", "mixtral-8x7b", "claude-3-sonnet", "chat"] {
        world.until_event("LeftBehind", name).await;
    }
    world.foreign_is_untouched();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_went_first_is_remembered_by_the_running_operator() {
    let world = ready_world().await;
    delete_token_secret(&world).await;
    world.until_condition("AIGateway", "duo", "TokenValid", "Unknown", "SecretNotFound").await;
    delete_everything(&world).await;
    until_everything_is_gone(&world).await;
    nothing_of_ours_is_left(&world);
}
