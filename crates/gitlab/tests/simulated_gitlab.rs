//! The client against a GitLab that is simulated from its schema, in both shapes, with its traps on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use duo_gitlab::{
    ApiToken, Client, ClientConfig, Deleted, Error, FeatureProvider, ModelInput, ModelProvider, SettingsInput, Source,
    Token,
};
use duo_sim::gitlab::{
    Action, Config, Fault, Handle, start,
    state::{ADMIN_TOKEN, EXPIRED_TOKEN, READ_API_TOKEN, REVOKED_TOKEN, USER_TOKEN},
};

const BOTH: [&str; 2] = ["18.9.0", "19.5.0"];

async fn gitlab(version: &str) -> Handle {
    // most tests are not about the size of the schema, and parsing megabytes takes a second without optimisation
    start(Config { version: version.parse().unwrap(), introspection_filler_types: 20, ..Config::default() })
        .await
        .unwrap()
}

fn client_as(gitlab: &Handle, token: &str) -> Client {
    Client::new(ClientConfig { token: Token::new(token), ..support::config(&gitlab.url()) }).unwrap()
}

fn admin(gitlab: &Handle) -> Client {
    client_as(gitlab, ADMIN_TOKEN)
}

fn mixtral() -> ModelInput {
    ModelInput {
        name: "Mixtral 8x7B".into(),
        family: "mixtral".into(),
        endpoint: None,
        identifier: Some("bedrock/mistral.mixtral-8x7b-instruct-v0:1".into()),
        provider: ModelProvider::Bedrock,
        api_token: ApiToken::Keep,
    }
}

fn vllm(name: &str, family: &str) -> ModelInput {
    ModelInput {
        name: name.into(),
        family: family.into(),
        endpoint: Some("http://10.0.0.7:8000/v1".into()),
        identifier: Some("custom_openai/m".into()),
        provider: ModelProvider::Api,
        api_token: ApiToken::Keep,
    }
}

fn category<T: std::fmt::Debug>(result: duo_gitlab::Result<T>) -> (&'static str, String) {
    let error = result.unwrap_err();
    (error.category(), error.to_string())
}

#[tokio::test]
async fn the_whole_life_of_a_model_in_both_shapes() {
    for version in BOTH {
        let gitlab = gitlab(version).await;
        let client = admin(&gitlab);
        let caps = client.capabilities().await.unwrap();
        assert_eq!((caps.source, caps.has_model_provider), (Source::Introspection, version == "19.5.0"));

        let created = client.create_model(&mixtral()).await.unwrap();
        assert_eq!(created.family, "mixtral");
        assert_eq!(created.endpoint, None, "the placeholder reads as none");
        assert_eq!(created.provider, caps.has_model_provider.then_some(ModelProvider::Bedrock));
        let seen = client.observe().await.unwrap();
        assert_eq!(seen.metadata.version, format!("{version}-ee"));
        assert_eq!(seen.models.as_deref(), Some(&[created.clone()][..]));

        let with_key = ModelInput { api_token: ApiToken::Set(Token::new("sk-one-key")), ..mixtral() };
        assert!(client.update_model(&created.id, &with_key).await.unwrap().has_api_token);
        let renamed = ModelInput { name: "Mixtral".into(), ..mixtral() };
        let updated = client.update_model(&created.id, &renamed).await.unwrap();
        assert!(updated.has_api_token && updated.name == "Mixtral", "left out: the stored key stays");
        let cleared = ModelInput { api_token: ApiToken::Clear, ..renamed };
        assert!(!client.update_model(&created.id, &cleared).await.unwrap().has_api_token);

        assert_eq!(client.delete_model(&created.id).await.unwrap(), Deleted::Now);
        assert_eq!(client.delete_model(&created.id).await.unwrap(), Deleted::AlreadyGone);
        assert_eq!(client.observe().await.unwrap().models, Some(vec![]));
    }
}

#[tokio::test]
async fn an_openai_compatible_model_keeps_its_endpoint_and_its_blank_identifier_is_none() {
    for version in BOTH {
        let gitlab = gitlab(version).await;
        let client = admin(&gitlab);
        let model =
            ModelInput { endpoint: Some("http://10.0.0.7:8000/v1/".into()), identifier: None, ..vllm("v", "mistral") };
        let created = client.create_model(&model).await.unwrap();
        assert_eq!(created.endpoint.as_deref(), Some("http://10.0.0.7:8000/v1"));
        assert_eq!(created.identifier, None);
    }
}

#[tokio::test]
async fn features_are_assigned_and_released_one_by_one() {
    for version in BOTH {
        let gitlab = gitlab(version).await;
        let client = admin(&gitlab);
        let id = client.create_model(&mixtral()).await.unwrap().id;
        for feature in ["code_generations", "code_completions"] {
            let set = client.update_feature(feature, &FeatureProvider::SelfHosted, Some(&id)).await.unwrap().unwrap();
            assert_eq!((set.feature.as_str(), set.model_id.as_deref()), (feature, Some(id.as_str())));
        }
        let seen = client.observe().await.unwrap().features.unwrap();
        let of = |key: &str| seen.iter().find(|f| f.feature == key).unwrap().clone();
        assert_eq!(of("code_generations").provider, FeatureProvider::SelfHosted);
        assert_eq!(of("duo_chat").provider, FeatureProvider::Unassigned, "a feature without a row is listed, too");
        assert!(of("code_generations").compatible_llms.iter().any(|f| f == "mixtral"));

        let words = category(client.update_feature("duo_chat", &FeatureProvider::SelfHosted, None).await);
        assert_eq!(words.0, "Refused");
        assert!(words.1.contains("Self hosted model can't be blank"), "{}", words.1);
    }
}

#[tokio::test]
async fn trap_disabled_and_unassigned_keep_the_model_unless_null_is_explicit() {
    for version in BOTH {
        let gitlab = gitlab(version).await;
        let client = admin(&gitlab);
        let id = client.create_model(&mixtral()).await.unwrap().id;
        for released in [FeatureProvider::Disabled, FeatureProvider::Unassigned] {
            client.update_feature("code_generations", &FeatureProvider::SelfHosted, Some(&id)).await.unwrap();
            client.update_feature("code_generations", &released, None).await.unwrap();
            assert_eq!(gitlab.state().features["code_generations"].model_id, None, "{released:?}");
        }
    }
}

#[tokio::test]
async fn an_incompatible_family_is_refused_in_gitlabs_words() {
    let gitlab = gitlab("18.9.0").await;
    let client = admin(&gitlab);
    gitlab.edit(|s| s.terms_accepted = true);
    let id = client.create_model(&vllm("c", "codegemma")).await.unwrap().id;
    let words = category(client.update_feature("duo_chat", &FeatureProvider::SelfHosted, Some(&id)).await);
    assert_eq!(words.0, "IncompatibleFamily");
    assert!(words.1.contains("is incompatible with the"), "{}", words.1);
}

#[tokio::test]
async fn trap_a_deleted_model_takes_its_features_rows_with_it() {
    let gitlab = gitlab("19.5.0").await;
    let client = admin(&gitlab);
    let id = client.create_model(&mixtral()).await.unwrap().id;
    client.update_feature("code_generations", &FeatureProvider::SelfHosted, Some(&id)).await.unwrap();
    assert_eq!(client.delete_model(&id).await.unwrap(), Deleted::Now, "GitLab does not refuse it");
    let features = client.observe().await.unwrap().features.unwrap();
    assert!(features.iter().all(|f| f.provider == FeatureProvider::Unassigned));
}

#[tokio::test]
async fn trap_models_of_beta_families_are_hidden_but_their_names_are_taken() {
    for version in BOTH {
        let gitlab = gitlab(version).await;
        let client = admin(&gitlab);
        client.create_model(&vllm("Gemma", "codegemma")).await.unwrap();
        let seen = client.observe().await.unwrap();
        assert_eq!(seen.models.as_deref(), Some(&[][..]));
        assert_eq!(seen.testing_terms_accepted(), Some(false));
        assert_eq!(category(client.create_model(&vllm("Gemma", "codegemma")).await).0, "NameTaken");
        gitlab.edit(|s| s.terms_accepted = true);
        let seen = client.observe().await.unwrap();
        assert_eq!(seen.models.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn accepted_testing_terms_show_in_the_list_of_features() {
    let gitlab = gitlab("18.9.0").await;
    gitlab.edit(|s| s.terms_accepted = true);
    assert_eq!(admin(&gitlab).observe().await.unwrap().testing_terms_accepted(), Some(true));
}

#[tokio::test]
async fn trap_lists_are_cut_at_a_hundred_and_come_newest_first() {
    let gitlab = gitlab("19.5.0").await;
    let client = admin(&gitlab);
    let first = client.create_model(&vllm("model 0", "mistral")).await.unwrap();
    gitlab.edit(|state| {
        let template = state.models.values().next().unwrap().clone();
        for id in 2..=250u64 {
            let copy = duo_sim::gitlab::state::Model { id, name: format!("model {id}"), ..template.clone() };
            state.models.insert(id, copy);
        }
        state.next_model_id = 251;
    });
    let models = client.observe().await.unwrap().models.unwrap();
    assert_eq!(models.len(), 250);
    assert_eq!(models.last().unwrap().id, first.id);
    let names: std::collections::BTreeSet<_> = models.iter().map(|m| &m.name).collect();
    assert_eq!(names.len(), 250);
}

#[tokio::test]
async fn settings_are_normalised_and_only_the_given_ones_change() {
    for version in BOTH {
        let gitlab = gitlab(version).await;
        gitlab.hosts().insert("duo.gitlab-duo.svc", IpAddr::from([10, 0, 0, 9]));
        let client = admin(&gitlab);
        let url = Some(Some("http://duo.gitlab-duo.svc:5052/".to_owned()));
        let saved = client
            .update_settings(&SettingsInput { ai_gateway_url: url, timeout_seconds: Some(90), ..Default::default() })
            .await
            .unwrap();
        assert_eq!(saved.ai_gateway_url.as_deref(), Some("http://duo.gitlab-duo.svc:5052"));
        assert_eq!(saved.timeout_seconds, Some(90));
        let saved =
            client.update_settings(&SettingsInput { timeout_seconds: Some(60), ..Default::default() }).await.unwrap();
        assert!(saved.ai_gateway_url.is_some(), "left out: it stays");
        let saved =
            client.update_settings(&SettingsInput { ai_gateway_url: Some(None), ..Default::default() }).await.unwrap();
        assert_eq!((saved.ai_gateway_url, saved.timeout_seconds), (None, Some(60)));
        assert_eq!(client.observe().await.unwrap().settings.unwrap().timeout_seconds, Some(60));
    }
}

#[tokio::test]
async fn trap_the_gateway_url_needs_a_host_that_gitlab_itself_resolves() {
    let gitlab = gitlab("18.9.0").await;
    let client = admin(&gitlab);
    let url = |u: &str| SettingsInput { ai_gateway_url: Some(Some(u.into())), ..Default::default() };
    for (input, words) in [
        (url("http://duo.no-such-namespace.svc.invalid:5052"), "Host cannot be resolved or invalid"),
        (url("ftp://duo.example.com"), "Only allowed schemes are http, https"),
        (SettingsInput { timeout_seconds: Some(30), ..Default::default() }, "greater than or equal to 60"),
    ] {
        let (category, text) = category(client.update_settings(&input).await);
        assert_eq!(category, "Refused", "{text}");
        assert!(text.contains(words), "{text}");
    }
}

#[tokio::test]
async fn settings_that_an_older_gitlab_lacks_are_neither_asked_for_nor_sent() {
    for (version, timeout, agent) in [("18.6.0", false, true), ("18.3.0", false, false), ("17.9.0", false, false)] {
        let gitlab = gitlab(version).await;
        let client = admin(&gitlab);
        let caps = client.capabilities().await.unwrap();
        assert_eq!((caps.timeout_setting, caps.agent_platform_url), (timeout, agent), "{version}");
        let mark = gitlab.journal().mark();
        client.update_settings(&SettingsInput { timeout_seconds: Some(90), ..Default::default() }).await.unwrap();
        assert_eq!(gitlab.journal().writes(mark).is_empty(), !timeout, "{version}");
        let settings = client.observe().await.unwrap().settings.unwrap();
        assert_eq!(settings.timeout_seconds, None, "{version}");
        client.create_model(&mixtral()).await.unwrap();
    }
}

#[tokio::test]
async fn tokens_without_rights_are_told_apart() {
    let gitlab = gitlab("19.5.0").await;
    for token in [EXPIRED_TOKEN, REVOKED_TOKEN, "glpat-unknown-token"] {
        let client = client_as(&gitlab, token);
        assert_eq!(category(client.observe().await).0, "TokenInvalid");
        assert_eq!(category(client.token_self().await).0, "TokenInvalid");
    }
    let user = client_as(&gitlab, USER_TOKEN);
    let seen = user.observe().await.unwrap();
    assert_eq!(seen.models, None, "no right is null without an error");
    assert_eq!(seen.settings.unwrap_or_default().ai_gateway_url, None);
    assert_eq!(category(user.create_model(&mixtral()).await).0, "TokenLacksRights");
    assert_eq!(category(user.rights().await).0, "TokenLacksRights");
    assert_eq!(category(user.health_check().await).0, "TokenLacksRights");
    let timeout = SettingsInput { timeout_seconds: Some(60), ..Default::default() };
    assert_eq!(category(user.update_settings(&timeout).await).0, "TokenLacksRights");

    let reader = client_as(&gitlab, READ_API_TOKEN);
    assert!(reader.observe().await.unwrap().models.is_some());
    assert_eq!(category(reader.create_model(&mixtral()).await).0, "TokenLacksRights");
    assert!(!reader.token_self().await.unwrap().may_write());
    assert!(admin(&gitlab).token_self().await.unwrap().may_write());
}

#[tokio::test]
async fn licence_and_add_ons_tell_causes_apart_that_gitlab_answers_with_one_sentence() {
    let gitlab = gitlab("18.9.0").await;
    let client = admin(&gitlab);
    let rights = client.rights().await.unwrap();
    assert!(rights.metadata.enterprise && rights.metadata.revision.is_some());
    let license = rights.license.unwrap();
    assert_eq!((license.kind.as_str(), license.plan.as_str()), ("offline_cloud", "ultimate"));
    assert!(license.expires_at.is_some());
    assert_eq!(rights.add_ons[0].name, "DUO_ENTERPRISE");
    gitlab.edit(|s| s.add_ons.clear());
    assert_eq!(client.observe().await.unwrap().models, None);
    assert_eq!(category(client.create_model(&mixtral()).await).0, "TokenLacksRights");
    assert_eq!(client.rights().await.unwrap().add_ons, []);
    gitlab.edit(|s| s.license = None);
    assert_eq!(client.rights().await.unwrap().license, None);
}

#[tokio::test]
async fn the_health_check_is_read_probe_by_probe() {
    for version in BOTH {
        let gitlab = gitlab(version).await;
        let client = admin(&gitlab);
        let probes = client.health_check().await.unwrap();
        assert!(!probes.is_empty());
        assert!(probes.iter().all(|p| !p.name.is_empty() && (p.success || p.message.is_some())), "{probes:?}");
    }
}

#[tokio::test]
async fn trap_the_connection_check_needs_the_gateway_url_and_saves_nothing() {
    for version in BOTH {
        let gitlab = gitlab(version).await;
        let client = admin(&gitlab);
        let revision = gitlab.state().revision;
        let probe = client.connection_check(&mixtral()).await.unwrap();
        assert!(!probe.success);
        assert!(probe.message.unwrap().contains("You have not configured your local AI gateway URL"));
        assert_eq!((gitlab.state().revision, gitlab.state().models.len()), (revision, 0));
    }
}

#[tokio::test]
async fn trap_an_unknown_id_in_an_update_is_an_internal_server_error() {
    let gitlab = gitlab("18.9.0").await;
    let client = admin(&gitlab);
    let update = client.update_model("gid://gitlab/Ai::SelfHostedModel/99", &mixtral()).await;
    assert_eq!(category(update).0, "ServerError");
}

#[tokio::test]
async fn trap_introspection_answers_several_megabytes_whatever_was_asked() {
    let gitlab = start(Config::default()).await.unwrap();
    let caps = admin(&gitlab).capabilities().await.unwrap();
    assert_eq!((caps.source, caps.has_model_provider), (Source::Introspection, true));
}

#[tokio::test]
async fn introspection_may_be_off_and_everything_still_works() {
    for version in BOTH {
        let gitlab = gitlab(version).await;
        gitlab.edit(|s| s.instance.introspection = false);
        let client = admin(&gitlab);
        let caps = client.capabilities().await.unwrap();
        assert_eq!((caps.source, caps.has_model_provider), (Source::Version, version == "19.5.0"));
        client.create_model(&mixtral()).await.unwrap();
        assert_eq!(client.observe().await.unwrap().models.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn an_upgrade_of_gitlab_is_noticed_while_observing_and_while_writing() {
    let gitlab = gitlab("18.9.0").await;
    let client = admin(&gitlab);
    client.create_model(&mixtral()).await.unwrap();
    assert_eq!(client.observe().await.unwrap().models.unwrap()[0].provider, None);
    gitlab.edit(|s| s.instance.version = "19.5.0".parse().unwrap());
    client.create_model(&ModelInput { name: "second".into(), ..mixtral() }).await.unwrap();
    let models = client.observe().await.unwrap().models.unwrap();
    let provider = |name: &str| models.iter().find(|m| m.name == name).unwrap().provider;
    assert_eq!(provider("second"), Some(ModelProvider::Bedrock));
    assert_eq!(provider("Mixtral 8x7B"), Some(ModelProvider::Api), "trap: old rows read as API");
    assert!(client.capabilities().await.unwrap().has_model_provider);
    // a backup of the older version is restored
    gitlab.edit(|s| {
        s.instance.version = "18.9.0".parse().unwrap();
        s.models.retain(|_, m| m.endpoint.is_some());
    });
    assert_eq!(client.observe().await.unwrap().models.unwrap().len(), 1);
    assert!(!client.capabilities().await.unwrap().has_model_provider);
}

#[tokio::test]
async fn an_upgrade_is_noticed_by_observing_alone_although_the_older_query_still_fits() {
    let gitlab = gitlab("18.9.0").await;
    let client = admin(&gitlab);
    client.create_model(&mixtral()).await.unwrap();
    client.observe().await.unwrap();
    gitlab.edit(|s| s.instance.version = "19.5.0".parse().unwrap());
    let seen = client.observe().await.unwrap();
    assert_eq!(seen.models.unwrap()[0].provider, Some(ModelProvider::Api));
}

#[tokio::test]
async fn a_read_only_instance_is_its_own_category() {
    let gitlab = gitlab("19.5.0").await;
    gitlab.edit(|s| s.instance.read_only = true);
    let client = admin(&gitlab);
    assert!(client.observe().await.unwrap().models.is_some());
    let (category, text) = category(client.create_model(&mixtral()).await);
    assert_eq!(category, "ReadOnlyInstance", "{text}");
}

#[tokio::test]
async fn faults_on_the_way_become_categories() {
    let gitlab = gitlab("19.5.0").await;
    let client = admin(&gitlab);
    client.capabilities().await.unwrap();
    let status = |code, retry_after| Action::Status { code, retry_after };
    for (action, expected) in [
        (status(429, Some(3)), "RateLimited"),
        (status(503, None), "ServerError"),
        (status(500, None), "ServerError"),
        (Action::Html, "ServerError"),
        (Action::Cut, "Unreachable"),
        (Action::Oversized { bytes: 8 << 20 }, "AnswerTooLarge"),
        (Action::GraphqlError { message: "Internal server error".into() }, "ServerError"),
    ] {
        let label = format!("{action:?}");
        gitlab.faults().add(Fault::new(action).times(1));
        assert_eq!(category(client.rights().await).0, expected, "{label}");
        client.rights().await.unwrap_or_else(|e| panic!("after {label}: {e}"));
    }
    let hasty = ClientConfig {
        token: Token::new(ADMIN_TOKEN),
        request_timeout: Duration::from_millis(300),
        ..support::config(&gitlab.url())
    };
    gitlab.faults().add(Fault::new(Action::Hang));
    assert_eq!(category(Client::new(hasty).unwrap().metadata().await).0, "Timeout");
}

#[tokio::test]
async fn a_lost_answer_leaves_the_outcome_open() {
    let gitlab = gitlab("19.5.0").await;
    let client = admin(&gitlab);
    client.capabilities().await.unwrap();
    gitlab.faults().add(Fault::new(Action::Cut).on("aiSelfHostedModelCreate").times(1).after_effect());
    let error = client.create_model(&mixtral()).await.unwrap_err();
    assert!(error.outcome_unknown() && error.is_transient(), "{error}");
    assert_eq!(client.observe().await.unwrap().models.unwrap().len(), 1);
    assert!(matches!(client.create_model(&mixtral()).await, Err(Error::NameTaken { .. })));
}

#[tokio::test]
async fn no_request_asks_for_keys_or_for_what_is_costly() {
    let gitlab = gitlab("19.5.0").await;
    let client = admin(&gitlab);
    let mark = gitlab.journal().mark();
    let id = client.create_model(&mixtral()).await.unwrap().id;
    client.update_model(&id, &ModelInput { api_token: ApiToken::Clear, ..mixtral() }).await.unwrap();
    client.observe().await.unwrap();
    for entry in gitlab.journal().since(mark) {
        assert!(!entry.api_token_sent);
        let query = entry.query.unwrap_or_default();
        assert!(!query.contains("apiToken") && !query.contains("validModels"), "{query}");
    }
}

#[tokio::test]
async fn no_write_is_sent_without_leave_and_each_ends_within_its_budget() {
    let gitlab = gitlab("19.5.0").await;
    let budget = Arc::new(Mutex::new(None::<Duration>));
    let asked = budget.clone();
    let client = admin(&gitlab).with_write_budget(Arc::new(move || *asked.lock().unwrap()));
    let mark = gitlab.journal().mark();
    let seconds = SettingsInput { timeout_seconds: Some(90), ..Default::default() };
    assert_eq!(category(client.create_model(&mixtral()).await).0, "NotLeading");
    assert_eq!(category(client.update_settings(&seconds).await).0, "NotLeading");
    assert_eq!(category(client.delete_model("gid://gitlab/Ai::SelfHostedModel/1").await).0, "NotLeading");
    let feature = client.update_feature("duo_chat", &FeatureProvider::Disabled, None).await;
    assert_eq!(category(feature).0, "NotLeading");
    assert!(gitlab.journal().writes(mark).is_empty());
    client.observe().await.unwrap();
    client.connection_check(&mixtral()).await.unwrap();

    *budget.lock().unwrap() = Some(Duration::from_millis(200));
    gitlab.faults().add(Fault::new(Action::Hang).on("aiSelfHostedModelCreate").times(1));
    assert_eq!(category(client.create_model(&mixtral()).await).0, "Timeout", "before the 20 s of other calls");
    *budget.lock().unwrap() = Some(Duration::from_secs(60));
    client.create_model(&mixtral()).await.unwrap();
}
