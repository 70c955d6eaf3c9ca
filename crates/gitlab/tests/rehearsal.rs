//! A rehearsing client against a simulated GitLab: it ends where a real one would, and sends nothing that changes anything.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use duo_gitlab::{
    ApiToken, Client, ClientConfig, Deleted, Error, FeatureProvider, ModelInput, ModelProvider, SettingsInput, Token,
};
use duo_sim::gitlab::{Config, Handle, start, state::ADMIN_TOKEN};

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

/// An observation without what only GitLab knows: numbers of rows, times, states of families.
fn comparable(client_saw: &duo_gitlab::Observation) -> duo_gitlab::Observation {
    let mut seen = client_saw.clone();
    let mut models = seen.models.take().unwrap_or_default();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    let name_of = |id: &String| models.iter().find(|model| model.id == *id).map(|model| model.name.clone());
    for feature in seen.features.iter_mut().flatten() {
        feature.model_id = feature.model_id.as_ref().and_then(name_of);
    }
    for model in &mut models {
        model.id.clear();
        model.release_state = None;
        model.updated_at = None;
    }
    seen.models = Some(models);
    seen
}

#[tokio::test]
async fn a_rehearsed_gitlab_ends_as_the_real_one_and_gets_no_write() {
    for version in BOTH {
        let (rehearsed, real) = (gitlab(version).await, gitlab(version).await);
        let mut ends = Vec::new();
        for client in [admin(&rehearsed).rehearsing(), admin(&real)] {
            client.observe().await.unwrap();
            let one = client.create_model(&mixtral()).await.unwrap();
            let two = client.create_model(&vllm("vLLM", "codestral")).await.unwrap();
            let three = client.create_model(&vllm("Three", "mistral")).await.unwrap();
            assert_eq!(client.observe().await.unwrap().models.unwrap()[0].name, "Three", "newest first");
            client.update_feature("code_completions", &FeatureProvider::SelfHosted, Some(&one.id)).await.unwrap();
            client.update_feature("code_generations", &FeatureProvider::SelfHosted, Some(&three.id)).await.unwrap();
            client.update_feature("duo_chat", &FeatureProvider::SelfHosted, Some(&one.id)).await.unwrap();
            client.update_feature("duo_chat", &FeatureProvider::Disabled, None).await.unwrap();
            let renamed = ModelInput {
                name: "renamed".into(),
                endpoint: Some("http://10.0.0.8:8000/v1/".into()),
                api_token: ApiToken::Set(Token::new("sk-0123456789")),
                ..vllm("vLLM", "codestral")
            };
            assert!(client.update_model(&two.id, &renamed).await.unwrap().has_api_token);
            let cleared = ModelInput { api_token: ApiToken::Clear, ..renamed };
            assert!(!client.update_model(&two.id, &cleared).await.unwrap().has_api_token);
            assert_eq!(client.delete_model(&three.id).await.unwrap(), Deleted::Now);
            assert_eq!(client.delete_model(&three.id).await.unwrap(), Deleted::AlreadyGone);
            let settings = SettingsInput {
                ai_gateway_url: Some(Some("http://10.0.0.1:5052/".into())),
                timeout_seconds: Some(90),
                agent_platform_url: None,
                agent_platform_secure: None,
            };
            client.update_settings(&settings).await.unwrap();
            ends.push(comparable(&client.observe().await.unwrap()));
        }
        assert_eq!(ends[0], ends[1], "{version}");
        assert_eq!(ends[0].models.as_ref().map(Vec::len), Some(2));
        let entries = rehearsed.journal().since(0);
        assert!(!entries.is_empty() && entries.iter().all(|entry| !entry.mutation), "{entries:#?}");
        assert!(!real.journal().writes(0).is_empty());
    }
}

#[tokio::test]
async fn a_rehearsal_refuses_the_connection_check_and_reads_as_ever() {
    let gitlab = gitlab("19.5.0").await;
    let client = admin(&gitlab).rehearsing();
    assert_eq!(client.rehearsed(), None);
    let seen = client.observe().await.unwrap();
    assert_eq!(client.rehearsed(), Some((seen.clone(), seen)));
    assert!(matches!(client.connection_check(&mixtral()).await, Err(Error::WriteNotAllowed { .. })));
    assert_eq!(client.health_check().await.unwrap(), client.health_check().await.unwrap());
    assert!(client.rights().await.unwrap().license.is_some());
    assert!(matches!(
        client.update_model("gid://gitlab/Ai::SelfHostedModel/9", &mixtral()).await,
        Err(Error::ServerError { .. })
    ));
    assert!(gitlab.journal().since(0).iter().all(|entry| !entry.mutation));
}
