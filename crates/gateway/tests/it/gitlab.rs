//! Users of the simulated GitLab, which calls the gateway as Rails does, with models on the simulated Bedrock: three
//! independent readings of the contract must agree.

use duo_gateway::secret::Secret;
use duo_sim::gitlab::{self, Ask, State, TokenOptions, What};
use duo_sim::{bedrock, gitlab::state::FeatureRow, gitlab::state::Model};
use serde_json::json;

use crate::support::{Key, Script, World};

const FEATURES: [(&str, u64); 5] = [
    ("duo_chat", 2),
    ("duo_chat_explain_code", 2),
    ("code_completions", 1),
    ("code_generations", 1),
    ("generate_commit_message", 2),
];

fn model(id: u64, name: &str, family: &str, identifier: &str) -> Model {
    Model {
        id,
        name: name.to_owned(),
        family: family.to_owned(),
        endpoint: Some("http://bedrockselfhostedmodel.com".to_owned()),
        identifier: identifier.to_owned(),
        api_token: None,
        provider: "BEDROCK".to_owned(),
        created_at: jiff::Timestamp::UNIX_EPOCH,
        updated_at: jiff::Timestamp::UNIX_EPOCH,
    }
}

/// The article's models and assignments, typed in by hand.
fn article(state: &mut State, gateway: String) {
    state.settings.ai_gateway_url = Some(gateway);
    let models = [
        model(1, "Mixtral 8x7B", "mixtral", "bedrock/mistral.mixtral-8x7b-instruct-v0:1"),
        model(2, "Claude 3 Sonnet", "claude_3", "bedrock/anthropic.claude-3-sonnet-20240229-v1:0"),
    ];
    state.models = models.into_iter().map(|model| (model.id, model)).collect();
    for (feature, model) in FEATURES {
        let row = FeatureRow { provider: "self_hosted".into(), model_id: Some(model), offered_model_ref: None };
        state.features.insert(feature.to_owned(), row);
    }
}

/// A gateway by the article's variables alone in front of a simulated Bedrock, for a simulated GitLab.
async fn scenario(version: &str) -> (gitlab::Handle, bedrock::Handle, World) {
    let config = gitlab::Config { version: version.parse().unwrap(), ..gitlab::Config::default() };
    let gitlab = gitlab::start(config).await.unwrap();
    let bedrock = bedrock::start(bedrock::Config::default()).await.unwrap();
    let text = format!(
        "gitlab: {{url: '{}'}}\nundeclaredModels: Allow\nsigningKeyFile: signing\n\
         providers: {{bedrock: {{region: us-east-1, endpoint: '{}', credentials: true}}}}\n",
        gitlab.url(),
        bedrock.url()
    );
    let files = [
        ("signing", Key::number(1, "").pem),
        ("AWS_ACCESS_KEY_ID", bedrock::EXAMPLE_ACCESS_KEY_ID.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", bedrock::EXAMPLE_SECRET_ACCESS_KEY.to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let folder = crate::support::config_folder(&text, "", "", &files);
    let world = World::with(Script::Silent, |settings, _, _| {
        settings.config_file = Some(folder.path().join("config.yaml"));
    })
    .await;
    gitlab.edit(|state| article(state, world.url("")));
    (gitlab, bedrock, world)
}

#[tokio::test]
async fn users_of_each_gitlab_line_get_every_feature() {
    for version in ["17.10.0", "18.9.0", "19.5.0"] {
        let (gitlab, bedrock, world) = scenario(version).await;
        for (what, change) in [
            (What::Chat, json!({})),
            (What::Chat, json!({"context": {"type": "issue", "title": "apples"}})),
            (What::CodeCompletion, json!({})),
            (What::CodeCompletion, json!({"stream": true})),
            (What::DirectCompletion, json!({})),
            (What::CodeGeneration, json!({"sse": true})),
            (What::CodeGeneration, json!({"sse": false})),
            (What::ExplainCode, json!({})),
            (What::CommitMessage, json!({})),
        ] {
            // 17.10 cannot give commit messages a self-hosted model
            if what == What::CommitMessage && version.starts_with("17.") {
                continue;
            }
            let ask: Ask = serde_json::from_value(change.clone()).unwrap();
            let outcome = gitlab.ask(what, &ask).await;
            assert!(outcome.ok, "{version} {what:?} {change}: {outcome:?}");
            assert!(!outcome.text.trim().is_empty(), "{version} {what:?}");
        }
        assert!(bedrock.journal().calls().iter().all(|call| call.status == 200), "{version}");
        drop(world);
    }
}

#[tokio::test]
async fn a_failing_model_is_told_to_the_user_and_does_not_open_gitlabs_circuit_breaker() {
    let (gitlab, bedrock, _world) = scenario("19.5.0").await;
    bedrock.reconfigure(|config| config.granted_models = vec!["mistral.mixtral-8x7b-instruct-v0:1".into()]);
    for _ in 0..20 {
        let outcome = gitlab.ask(What::CommitMessage, &Ask::default()).await;
        assert!(!outcome.ok);
        assert_eq!(outcome.calls.last().and_then(|call| call.status), Some(421), "{outcome:?}");
    }
    bedrock.reconfigure(|config| config.granted_models = Vec::new());
    let outcome = gitlab.ask(What::CommitMessage, &Ask::default()).await;
    assert!(outcome.ok, "{outcome:?}");
}

#[tokio::test]
async fn a_rotated_key_of_gitlab_is_noticed_by_the_first_call() {
    let (gitlab, _bedrock, _world) = scenario("18.9.0").await;
    assert!(gitlab.ask(What::CodeCompletion, &Ask::default()).await.ok);
    gitlab.rotate_keys(false).unwrap();
    let outcome = gitlab.ask(What::CodeCompletion, &Ask::default()).await;
    assert!(outcome.ok, "{outcome:?}");
}

#[tokio::test]
async fn no_token_of_gitlab_is_in_the_logs() {
    let (gitlab, _bedrock, world) = scenario("18.9.0").await;
    assert!(gitlab.ask(What::DirectCompletion, &Ask::default()).await.ok);
    world.access(2).await;
    let token = Secret::new(gitlab.issue_token(&TokenOptions::default()).unwrap());
    let header = token.expose().split('.').next().unwrap();
    assert!(!world.logs.text().contains(header));
}

#[tokio::test]
async fn openai_compatible_servers_and_azure_serve_every_feature_with_the_models_key() {
    let (gitlab, _bedrock, _world) = scenario("18.9.0").await;
    for azure in [false, true] {
        let config = duo_sim::openai::Config {
            api_keys: vec![duo_sim::upstream::Secret::new("server-key")],
            served_model_names: vec!["the-model".to_owned()],
            azure,
            ..duo_sim::openai::Config::default()
        };
        let server = duo_sim::openai::start(config).await.unwrap();
        let (identifier, family, endpoint) = if azure {
            ("azure/the-model", "gpt", format!("{}/", server.url()))
        } else {
            ("custom_openai/the-model", "mistral", format!("{}/v1/", server.url()))
        };
        gitlab.edit(|state| {
            for model in state.models.values_mut() {
                identifier.clone_into(&mut model.identifier);
                family.clone_into(&mut model.family);
                model.endpoint = Some(endpoint.clone());
                model.api_token = Some("server-key".to_owned());
            }
        });
        for what in [What::Chat, What::CodeCompletion, What::CodeGeneration, What::ExplainCode, What::CommitMessage] {
            let outcome = gitlab.ask(what, &Ask::default()).await;
            assert!(outcome.ok && !outcome.text.is_empty(), "{identifier} {what:?}: {outcome:?}");
        }
        gitlab.edit(|state| state.models.values_mut().for_each(|model| model.api_token = Some("wrong".to_owned())));
        let outcome = gitlab.ask(What::Chat, &Ask::default()).await;
        assert_eq!(outcome.calls.last().and_then(|call| call.status), Some(421), "{outcome:?}");
    }
}
