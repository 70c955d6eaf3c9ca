//! GitLab's traps as the operator meets them, each with a test of its name. The simulated GitLab has all of them on.

#![allow(missing_docs, clippy::expect_used, reason = "a test program has no API and ends where its world cannot go on")]

use std::time::Duration;

use duo_e2e::wait::condition;
use duo_e2e::{Options, World, hand, manifests};
use duo_sim::gitlab::{Action, Fault, What};
use serde_json::json;

const PLACEHOLDER: &str = "http://bedrockselfhostedmodel.com";

async fn world(gitlab: &'static str) -> World {
    World::start("trap", Options { gitlab, ..Options::default() }).await
}

async fn ready_world(gitlab: &'static str) -> World {
    let world = world(gitlab).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    world
}

fn model(world: &World, name: &str, display_name: &str, family: &str, identifier: &str) -> String {
    format!(
        "apiVersion: duo.selfhosted.dev/v1alpha1
kind: SelfHostedModel
metadata: {{name: {name}, namespace: {}}}
spec:
  gatewayRef: {{name: duo}}
  displayName: {display_name}
  platform: Bedrock
  family: {family}
  identifier: {identifier}
---
",
        world.namespace
    )
}

fn assignment(world: &World, name: &str, features: &str, model: &str) -> String {
    format!(
        "apiVersion: duo.selfhosted.dev/v1alpha1
kind: FeatureAssignment
metadata: {{name: {name}, namespace: {}}}
spec:
  gatewayRef: {{name: duo}}
  features: [{features}]
  modelRef: {{name: {model}}}
---
",
        world.namespace
    )
}

/// The parts of the article's manifests with this kind.
fn only(world: &World, kinds: &[&str]) -> String {
    manifests::article(&world.namespace, &world.gitlab.url(), &world.bedrock.url())
        .split("---\n")
        .filter(|part| kinds.iter().any(|kind| part.contains(&format!("kind: {kind}\n"))))
        .collect::<Vec<_>>()
        .join("---\n")
}

/// Several periods pass, in which GitLab is looked at and not written to.
async fn nothing_is_written_to_gitlab(world: &World) {
    let mark = world.gitlab.journal().mark();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!world.gitlab.journal().since(mark).is_empty(), "nobody looked: the test proves nothing");
    assert_eq!(world.mutations_since(mark), Vec::<String>::new(), "{}", world.log_tail());
}

fn creates(world: &World) -> usize {
    world.mutations_since(0).iter().filter(|mutation| mutation.starts_with("aiSelfHostedModelCreate ")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_beta_families_do_not_lead_to_a_second_create() {
    let world = ready_world("19.5.0").await;
    let llama = model(&world, "llama", "Llama", "Llama3", "bedrock/meta.llama3-8b-instruct-v1:0");
    world.apply(&llama).await;
    world.until_condition("SelfHostedModel", "llama", "Accepted", "False", "TestingTermsNotAccepted").await;
    assert_eq!(creates(&world), 2, "it was created before the terms were accepted");

    world.gitlab.edit(|state| state.terms_accepted = true);
    world.until_ready("SelfHostedModel", "llama").await;
    assert_eq!(creates(&world), 3);

    world.gitlab.edit(|state| state.terms_accepted = false);
    world.until_condition("SelfHostedModel", "llama", "Synced", "Unknown", "HiddenByGitLab").await;
    nothing_is_written_to_gitlab(&world).await;
    world.kill_operator();
    world.start_operator_again();
    nothing_is_written_to_gitlab(&world).await;
    assert_eq!(world.models_in_gitlab(), ["Claude 3 Sonnet", "Llama", "Mixtral 8x7B"]);
    world.gitlab.edit(|state| state.terms_accepted = true);
    world.until_ready("SelfHostedModel", "llama").await;
    world.users_are_served().await;
}

/// GitLab refuses a name that a model has which it does not list. What the refused create wrote down must not make that
/// model ours once it is listed.
#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_model_whose_name_was_refused_stays_somebody_elses() {
    let world = ready_world("19.5.0").await;
    let foreign = world.model_by_hand("Llama", "llama3", "custom_openai/x");
    world.apply(&model(&world, "mine", "Llama", "Mixtral", "bedrock/mistral.mixtral-8x22b-instruct-v0:1")).await;
    let refused = world.until_condition("SelfHostedModel", "mine", "Synced", "False", "NameTaken").await;
    assert!(condition(&refused, "Synced").2.contains("Name has already been taken"), "{refused}");

    world.gitlab.edit(|state| state.terms_accepted = true);
    world.delete("SelfHostedModel", "mine").await;
    world.until_gone("SelfHostedModel", "mine").await;
    assert_eq!(world.model_in_gitlab("Llama").id, foreign);
    assert_eq!(world.model_in_gitlab("Llama").identifier, "custom_openai/x");
}

/// Deletion: what GitLab does not list is not gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_model_of_ours_is_deleted_all_the_same() {
    let world = ready_world("19.5.0").await;
    world.gitlab.edit(|state| state.terms_accepted = true);
    world.apply(&model(&world, "llama", "Llama", "Llama3", "bedrock/meta.llama3-8b-instruct-v1:0")).await;
    world.until_ready("SelfHostedModel", "llama").await;
    world.gitlab.edit(|state| state.terms_accepted = false);
    world.delete("SelfHostedModel", "llama").await;
    world.until_gone("SelfHostedModel", "llama").await;
    assert_eq!(world.models_in_gitlab(), ["Claude 3 Sonnet", "Mixtral 8x7B"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trailing_slash_that_gitlab_cuts_is_no_drift() {
    let world = world("19.5.0").await;
    let url = format!("http://duo.{}.svc:5052", world.namespace);
    let article = manifests::article(&world.namespace, &world.gitlab.url(), &world.bedrock.url());
    let slashed = article.replace(&format!("url: {url}"), &format!("url: {url}/"));
    assert_ne!(slashed, article);
    world.apply(&slashed).await;
    world.until_article_is_ready().await;
    assert_eq!(world.gitlab.state().settings.ai_gateway_url, Some(url));
    world.users_are_served().await;
    nothing_is_written_to_gitlab(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_feature_keeps_its_model_in_use_unless_null_is_sent() {
    let world = ready_world("19.5.0").await;
    let disabled = json!({"spec": {"modelRef": null, "provider": "Disabled"}});
    world.patch("FeatureAssignment", "chat", disabled).await.expect("a patch");
    world.until_ready("FeatureAssignment", "chat").await;
    for feature in ["duo_chat", "duo_chat_explain_code"] {
        assert_eq!(world.feature_in_gitlab(feature), ("disabled".to_owned(), None));
    }
    assert!(!world.ask(What::Chat).await.ok);
    // Nothing keeps the model in use.
    world.delete("SelfHostedModel", "claude-3-sonnet").await;
    world.until_gone("SelfHostedModel", "claude-3-sonnet").await;
    assert_eq!(world.models_in_gitlab(), ["Mixtral 8x7B"]);
}

/// The batch is not atomic and its errors name no feature: features go one by one.
#[tokio::test(flavor = "multi_thread")]
async fn one_refused_feature_does_not_stop_the_others() {
    let world = world("19.5.0").await;
    world.apply(&only(&world, &["AIGateway"])).await;
    let codestral = model(&world, "codestral", "Codestral", "Codestral", "bedrock/mistral.mistral-large-2402-v1:0");
    // GitLab would refuse code review for this family: it is not even asked. Features before and after it are set.
    let features = assignment(&world, "all", "CodeCompletions, ReviewMergeRequest, CodeGenerations", "codestral");
    world.apply(&(codestral + &features)).await;
    let object = world.until_condition("FeatureAssignment", "all", "Accepted", "False", "FamilyIncompatible").await;
    let (_, _, message) = condition(&object, "Accepted");
    assert!(message.contains("Codestral cannot serve ReviewMergeRequest (takes "), "{message}");
    assert!(!message.contains("CodeCompletions"), "{message}");
    assert_eq!(condition(&object, "Stalled").0, "True", "only a person can cure it");
    for feature in ["code_completions", "code_generations"] {
        let set = || world.feature_in_gitlab(feature) == ("self_hosted".to_owned(), Some("Codestral".to_owned()));
        world.eventually(&format!("{feature} is set"), set).await;
    }
    let asked = world.mutations_since(0);
    assert!(!asked.iter().any(|mutation| mutation.contains("REVIEW_MERGE_REQUEST")), "{asked:#?}");
    let completion = world.ask(What::CodeCompletion).await;
    assert!(completion.ok, "{completion:#?}");
}

/// On 19.x GitLab's overall `success` is false on each of these instances; and its host probe does not ask private
/// addresses, while real calls do.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_runner_and_a_blocked_host_probe_do_not_lower_ready() {
    let world = world("19.5.0").await;
    assert!(!world.gitlab.state().instance.compatible_runner);
    world.apply(&only(&world, &["AIGateway"])).await;
    world.until_ready("AIGateway", "duo").await;
    let block = |allowed: bool| {
        world.gitlab.edit(|state| {
            state.instance.allow_local_requests = allowed;
            state.instance.outbound_allowlist.clear();
        });
    };
    block(false);
    world
        .until("AIGateway", "duo", "Ready with a blocked probe", |gateway| {
            condition(gateway, "GatewayReachable").1 == "ProbeBlocked" && condition(gateway, "Ready").0 == "True"
        })
        .await;

    world.apply_article().await;
    world.until_article_is_ready().await;
    world.until_condition("AIGateway", "duo", "GatewayReachable", "True", "ConnectionCheckPassed").await;
    world.users_are_served().await;
    block(true);
    world.until_condition("AIGateway", "duo", "GatewayReachable", "True", "Reachable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_user_without_a_seat_fails_gitlabs_probe_and_not_ours() {
    let world = world("19.5.0").await;
    world.gitlab.edit(|state| state.users[0].duo_seat = false);
    world.apply_article().await;
    world.until_article_is_ready().await;
    world.until_condition("AIGateway", "duo", "LicenseActive", "True", "TokenUserHasNoSeat").await;
    let note = world.until_event("TokenUserHasNoSeat", "duo").await;
    assert!(note.contains("seat"), "{note}");
    world.users_are_served().await;
    // No licence for it at all is another thing.
    world.gitlab.edit(|state| state.add_ons.clear());
    world.until("AIGateway", "duo", "Ready False", |gateway| condition(gateway, "Ready").0 == "False").await;
    assert!(!world.ask(What::Chat).await.ok);
}

/// GitLab 18.9 gives the gateway 3 s for the check; a model that is slower works all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_check_that_times_out_says_nothing_about_the_model() {
    let world = world("18.9.0").await;
    world.bedrock.reconfigure(|config| config.chunk_delay_ms = 4000);
    world.apply_article().await;
    for name in ["mixtral-8x7b", "claude-3-sonnet"] {
        let slow =
            world.until_condition("SelfHostedModel", name, "ConnectionVerified", "Unknown", "CheckTimedOut").await;
        assert_eq!(condition(&slow, "Ready").0, "True", "{:#}", slow["status"]);
    }
    world.bedrock.reconfigure(|config| config.chunk_delay_ms = 0);
    for name in ["mixtral-8x7b", "claude-3-sonnet"] {
        world.until_condition("SelfHostedModel", name, "ConnectionVerified", "True", "").await;
    }
    world.until_article_is_ready().await;
    world.users_are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offline_instance_has_no_token_before_code_completion_is_assigned() {
    let world = world("19.5.0").await;
    world.apply(&only(&world, &["AIGateway", "SelfHostedModel"])).await;
    for name in ["mixtral-8x7b", "claude-3-sonnet"] {
        let early =
            world.until_condition("SelfHostedModel", name, "ConnectionVerified", "Unknown", "NoInstanceToken").await;
        assert_eq!(condition(&early, "Ready").0, "True", "{:#}", early["status"]);
    }
    world.apply(&only(&world, &["FeatureAssignment"])).await;
    for name in ["mixtral-8x7b", "claude-3-sonnet"] {
        world.until_condition("SelfHostedModel", name, "ConnectionVerified", "True", "ConnectionVerified").await;
    }
    world.until_article_is_ready().await;
    world.users_are_served().await;
}

/// 18.9 wants an endpoint for every model and knows no provider; after the upgrade its rows read as `API`, with the
/// placeholder still there. The running operator finds out, in the same rows.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_from_18_9_under_the_running_operator_is_noticed() {
    let world = ready_world("18.9.0").await;
    let before = world.model_in_gitlab("Mixtral 8x7B");
    assert_eq!((before.endpoint.as_deref(), before.provider.as_str()), (Some(PLACEHOLDER), "API"));
    world.users_are_served().await;

    world.gitlab.edit(|state| state.instance.version = "19.5.0".parse().expect("a version"));
    world
        .until("AIGateway", "duo", "the new version in its status", |gateway| {
            gateway["status"]["gitlab"]["version"].as_str().is_some_and(|version| version.starts_with("19.5"))
        })
        .await;
    world
        .eventually("providers are set", || {
            world.gitlab.state().models.values().all(|model| model.provider == "BEDROCK")
        })
        .await;
    world.until_article_is_ready().await;
    assert_eq!(world.model_in_gitlab("Mixtral 8x7B").id, before.id, "the model was made anew");
    assert_eq!(creates(&world), 2);
    world.users_are_served().await;
    nothing_is_written_to_gitlab(&world).await;
    world.no_secret_is_told(&[]).await;
}

/// Lists come newest first and a page holds 100: ours slide to the third page.
#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_hundred_models_come_in_pages() {
    let world = ready_world("19.5.0").await;
    for number in 0..230 {
        world.model_by_hand(&format!("Model {number}"), "gpt", "custom_openai/x");
    }
    nothing_is_written_to_gitlab(&world).await;
    let ours = world.model_in_gitlab("Claude 3 Sonnet").id;
    world.gitlab.edit(|state| state.models.get_mut(&ours).expect("ours").identifier = "bedrock/other".to_owned());
    world
        .eventually("drift is put back", || world.model_in_gitlab("Claude 3 Sonnet").identifier != "bedrock/other")
        .await;
    world.until_article_is_ready().await;
    assert_eq!(world.models_in_gitlab().len(), 232);
    assert_eq!(creates(&world), 2);
    world.users_are_served().await;
}

/// An explicit unassigned row stops GitLab's fall-back from a chat sub-feature to Duo Chat's model.
#[tokio::test(flavor = "multi_thread")]
async fn a_released_chat_sub_feature_returns_to_duo_chats_model() {
    let world = world("19.5.0").await;
    world.apply(&only(&world, &["AIGateway", "SelfHostedModel"])).await;
    let all = assignment(&world, "code-suggestions", "CodeCompletions, CodeGenerations", "mixtral-8x7b")
        + &assignment(&world, "chat", "DuoChat", "claude-3-sonnet")
        + &assignment(&world, "explain", "DuoChatExplainCode", "mixtral-8x7b");
    world.apply(&all).await;
    world.until_article_is_ready().await;
    world.until_ready("FeatureAssignment", "explain").await;
    assert_eq!(world.ask(What::ExplainCode).await.model.as_deref(), Some("Mixtral 8x7B"));

    world.delete("FeatureAssignment", "explain").await;
    world.until_gone("FeatureAssignment", "explain").await;
    let outcome = world.ask(What::ExplainCode).await;
    assert!(outcome.ok && outcome.model.as_deref() == Some("Claude 3 Sonnet"), "{outcome:#?}");
    world.users_are_served().await;
}

async fn works_without_introspection(gitlab: &'static str) {
    let world = world(gitlab).await;
    world.gitlab.edit(|state| state.instance.introspection = false);
    world.apply_article().await;
    world.until_article_is_ready().await;
    world.users_are_served().await;
    nothing_is_written_to_gitlab(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_may_be_off_on_19_5() {
    works_without_introspection("19.5.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_may_be_off_on_18_9() {
    works_without_introspection("18.9.0").await;
}

/// The key of an adopted model leaves GitLab; no other call ever carries an `apiToken`.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_token_is_never_sent_and_an_adopted_one_is_cleared() {
    const HAND_MADE_KEY: &str = "e2e-key-typed-into-the-form-24680";
    let world = world("19.5.0").await;
    let id = world.model_by_hand("Mixtral 8x7B", "mixtral", "bedrock/something-else");
    world.gitlab.edit(|state| {
        let model = state.models.get_mut(&id).expect("the model");
        model.api_token = Some(HAND_MADE_KEY.to_owned());
    });
    world.feature_by_hand("code_completions", "self_hosted", Some(id));
    world.apply_article().await;
    let taken = world.until_condition("SelfHostedModel", "mixtral-8x7b", "Synced", "False", "NameTaken").await;
    assert!(condition(&taken, "Synced").2.contains("adoptionPolicy"), "the cure is not named");
    assert_eq!(world.model_in_gitlab("Mixtral 8x7B").api_token.as_deref(), Some(HAND_MADE_KEY));

    let adopt = json!({"spec": {"adoptionPolicy": "ByName"}});
    world.patch("SelfHostedModel", "mixtral-8x7b", adopt).await.expect("a patch");
    world.until_article_is_ready().await;
    let adopted = world.model_in_gitlab("Mixtral 8x7B");
    assert_eq!((adopted.id, adopted.api_token.as_deref()), (id, None));
    world.users_are_served().await;
    let cleared: Vec<_> = world
        .gitlab
        .journal()
        .since(0)
        .into_iter()
        .inspect(|entry| assert!(!entry.api_token_sent, "{entry:?}"))
        .filter(|entry| !entry.variables["input"]["apiToken"].is_null())
        .collect();
    assert_eq!(cleared.len(), 1, "one call clears the key, no other names it: {cleared:#?}");
    assert_eq!(cleared[0].variables["input"]["apiToken"], "");
    world.until_event("ModelAdopted", "mixtral-8x7b").await;
    world.no_secret_is_told(&[HAND_MADE_KEY.to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_create_makes_no_duplicate() {
    let world = world("19.5.0").await;
    world.add_what_is_foreign();
    let lost = Fault::new(Action::Cut).on("aiSelfHostedModelCreate").times(2).after_effect();
    world.gitlab.faults().add(lost);
    let lost = Fault::new(Action::Status { code: 502, retry_after: None }).on("aiFeatureSettingUpdate").times(2);
    world.gitlab.faults().add(lost.after_effect());
    world.apply_article().await;
    world.until_article_is_ready().await;
    assert_eq!(world.models_in_gitlab(), ["Claude 3 Sonnet", "Mixtral 8x7B", hand::FOREIGN_MODEL]);
    assert_eq!(creates(&world), 2, "a create was sent again");
    world.foreign_is_untouched();
    world.users_are_served().await;
}

/// A model in use is deleted by GitLab without a word, and its features' rows vanish: put back, in a new row.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_deleted_by_hand_takes_its_features_with_it_and_all_come_back() {
    let world = ready_world("19.5.0").await;
    let id = world.model_in_gitlab("Claude 3 Sonnet").id;
    assert!(world.gitlab.edit(|state| state.destroy_model(id)));
    assert_eq!(world.feature_in_gitlab("duo_chat").0, "none");
    world
        .eventually("model and features are back", || {
            let back = ("self_hosted".to_owned(), Some("Claude 3 Sonnet".to_owned()));
            world.feature_in_gitlab("duo_chat") == back && world.feature_in_gitlab("duo_chat_explain_code") == back
        })
        .await;
    world.until_article_is_ready().await;
    world.users_are_served().await;
    nothing_is_written_to_gitlab(&world).await;
}

/// GitLab saves only a URL whose host it can resolve.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_url_that_gitlab_cannot_resolve_is_refused_in_gitlabs_words() {
    let world = world("19.5.0").await;
    let article = only(&world, &["AIGateway"]);
    let good = format!("http://duo.{}.svc:5052", world.namespace);
    world.apply(&article.replace(&format!("url: {good}"), "url: http://nowhere.invalid:5052")).await;
    let refused = world.until_condition("AIGateway", "duo", "GatewayURLConfigured", "False", "").await;
    let (_, _, message) = condition(&refused, "GatewayURLConfigured");
    assert!(message.contains("Host cannot be resolved or invalid"), "{message}");
    assert_eq!((condition(&refused, "Ready").0.as_str(), condition(&refused, "Stalled").0.as_str()), ("False", "True"));
    world.apply_article().await;
    world.until_article_is_ready().await;
    world.users_are_served().await;
}

/// Numbers of models begin anew in each GitLab: the one that ours has here is somebody else's there.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_the_same_number_in_another_gitlab_is_somebody_elses() {
    let mut world = ready_world("19.5.0").await;
    let ours = world.model_in_gitlab("Mixtral 8x7B").id;
    let other = world.another_gitlab().await;
    let former = std::mem::replace(&mut world.gitlab, other);
    while world.model_by_hand(&format!("Theirs {}", world.models_in_gitlab().len()), "gpt", "custom_openai/theirs") < 5
    {
    }
    let theirs = world.gitlab.state().models;
    assert!(theirs.contains_key(&ours), "the test needs the number {ours} in both");
    let before = former.state();

    let url = json!({"spec": {"gitlab": {"url": world.gitlab.url()}}});
    world.patch("AIGateway", "duo", url).await.expect("the gateway is moved");
    for name in ["mixtral-8x7b", "claude-3-sonnet"] {
        let told = world.until_event("LeftInFormerGitLab", name).await;
        assert!(told.contains("stays in the GitLab of before"), "{told}");
    }
    world.eventually("both are made", || world.gitlab.state().models.len() == theirs.len() + 2).await;
    world.until_article_is_ready().await;
    world.users_are_served().await;
    let untouched = |world: &World| {
        let now = world.gitlab.state().models;
        theirs.iter().all(|(id, model)| {
            now.get(id).is_some_and(|found| found.name == model.name && found.updated_at == model.updated_at)
        })
    };
    assert!(untouched(&world), "{:#?}", world.gitlab.state().models);
    assert_eq!(world.feature_in_gitlab("code_completions").1.as_deref(), Some("Mixtral 8x7B"));

    for (kind, name) in [("FeatureAssignment", "code-suggestions"), ("SelfHostedModel", "mixtral-8x7b")] {
        world.delete(kind, name).await;
        world.until_gone(kind, name).await;
    }
    assert!(untouched(&world), "{:#?}", world.gitlab.state().models);
    assert_eq!(former.state().models.len(), before.models.len(), "the former GitLab is let go as it is");
}
