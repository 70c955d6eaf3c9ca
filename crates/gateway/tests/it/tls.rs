//! Encrypted ways to GitLab and to model servers, under a certificate authority of the company's own.

use serde_json::{Value, json};

use crate::support::{Authority, Key, Script, World, config_folder};

fn config(ca: bool, gitlab: &str, model: &str, bedrock: &str) -> String {
    let ca = if ca { "caBundleFile: ca.crt\n" } else { "" };
    format!(
        "gitlab: {{url: '{gitlab}'}}\n{ca}undeclaredModels: Allow\n\
         providers: {{bedrock: {{region: us-east-1, endpoint: '{bedrock}', credentials: true}}}}\n\
         models:\n\
         - {{name: vllm, family: mistral, identifier: custom_openai/the-model, endpoint: '{model}'}}\n\
         - {{name: bed, family: mixtral, identifier: 'bedrock/mistral.mixtral-8x7b-instruct-v0:1'}}\n"
    )
}

#[tokio::test]
async fn the_companys_own_authority_is_trusted_for_gitlab_models_and_bedrock_when_mounted() {
    let authority = Authority::new();
    let issuer = crate::support::Issuer::start(vec![Key::number(0, "kid-0")]).await;
    let upstream = crate::support::Upstream::start(Script::Say("x".into())).await;
    let bedrock = duo_sim::bedrock::start(duo_sim::bedrock::Config::default()).await.unwrap();
    let urls = (
        authority.in_front_of(&issuer.url).await,
        authority.in_front_of(&upstream.url).await,
        authority.in_front_of(&bedrock.url()).await,
    );
    let files = [
        ("ca.crt", authority.ca.as_str()),
        ("AWS_ACCESS_KEY_ID", duo_sim::bedrock::EXAMPLE_ACCESS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", duo_sim::bedrock::EXAMPLE_SECRET_ACCESS_KEY),
    ];
    let folder = config_folder(&config(false, &issuer.url, &urls.1, &urls.2), "", "", &files);
    let file = folder.path().join("config.yaml");
    let world = World::with(Script::Silent, |settings, _, _| settings.config_file = Some(file.clone())).await;
    let mut completion = world.completion();
    completion["model_endpoint"] = urls.1.as_str().into();
    let check = json!({"inputs": {}, "model_metadata": {
        "name": "mixtral", "identifier": "bedrock/mistral.mixtral-8x7b-instruct-v0:1", "provider": "openai",
        "endpoint": "http://bedrockselfhostedmodel.com",
    }});

    // without the bundle the cause is named
    let refused = world.post("/v2/code/completions", &completion).await;
    assert_eq!(refused.status(), 503);
    let detail = refused.json::<Value>().await.unwrap()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("UnknownIssuer"), "{detail}");
    let refused = world.post("/v1/prompts/model_configuration%2Fcheck", &check).await;
    assert_eq!(refused.status(), 421);
    let detail = refused.text().await.unwrap();
    assert!(detail.contains("UnknownIssuer"), "{detail}");

    // mounted, without a restart, for all three
    std::fs::write(&file, config(true, &urls.0, &urls.1, &urls.2)).unwrap();
    loop {
        let answer = world.post("/v2/code/completions", &completion).await;
        if answer.status() == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let answer = world.post("/v1/prompts/model_configuration%2Fcheck", &check).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    assert!(issuer.fetches() > 0);
}
