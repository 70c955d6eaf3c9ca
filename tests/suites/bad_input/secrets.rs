//! Keys that are missing, incomplete or refused by the models' servers.

use duo_e2e::wait::condition;
use duo_e2e::{Options, World, manifests};
use duo_sim::gitlab::What;
use duo_sim::openai;
use duo_sim::upstream::Secret;
use serde_json::json;

use crate::{Cure, Told, assignment, delete_secret, model, patch_secret};

#[tokio::test(flavor = "multi_thread")]
async fn missing_and_incomplete_secrets_name_what_is_missing_and_are_taken_up_when_they_come() {
    let world = World::start("secrets", Options::default()).await;
    delete_secret(&world, "aws-bedrock").await;
    world.apply_article().await;
    let told = |reason, words| Told {
        object: ("AIGateway", "duo"),
        condition: ("ConfigAccepted", "Unknown", reason),
        words,
        cure: Cure::Person,
    };
    told("SecretNotFound", &["aws-bedrock", "create it"]).until(&world).await;
    assert!(world.gitlab.state().settings.ai_gateway_url.is_none(), "GitLab must not be sent to a gateway that is not");

    let incomplete = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: aws-bedrock, namespace: {}}}, stringData: {{AWS_ACCESS_KEY_ID: {}}}}}",
        world.namespace,
        manifests::AWS_KEY_ID
    );
    world.apply(&incomplete).await;
    told("SecretInvalid", &["aws-bedrock", "AWS_SECRET_ACCESS_KEY"]).until(&world).await;
    world.apply(&manifests::secrets(&world.namespace)).await;
    world.until_article_is_ready().await;
    world.users_are_served().await;

    // An authority that is not there, while everything runs.
    let bundle = json!({"spec": {"gitlab": {"caBundleRef": {"name": "company-ca"}}}});
    world.patch("AIGateway", "duo", bundle).await.expect("a patch");
    let object = world.until_condition("AIGateway", "duo", "ConfigAccepted", "Unknown", "ConfigMapNotFound").await;
    assert!(condition(&object, "ConfigAccepted").2.contains("company-ca"), "{object:#}");
    assert_eq!(condition(&object, "Stalled").0, "True");
    world.users_are_served().await;
    world.patch("AIGateway", "duo", json!({"spec": {"gitlab": {"caBundleRef": null}}})).await.expect("a patch");
    world.until_article_is_ready().await;

    // The model's own key: the others are unaffected, and the key is taken up when it comes.
    let vllm = openai::start(openai::Config {
        api_keys: vec![Secret::new(manifests::VLLM_KEY)],
        served_model_names: vec!["mistral".to_owned()],
        ..openai::Config::default()
    })
    .await
    .expect("a model server");
    delete_secret(&world, "vllm").await;
    let spec = json!({"platform": "OpenAICompatible", "family": "Mistral", "identifier": "custom_openai/mistral",
                      "endpoint": vllm.url(), "apiKeySecretRef": {"name": "vllm"}});
    world.apply(&model(&world, "vllm", spec)).await;
    world.apply(&assignment(&world, "fix", &["DuoChatFixCode"], "vllm")).await;
    let told = |type_, status, reason, words| Told {
        object: ("SelfHostedModel", "vllm"),
        condition: (type_, status, reason),
        words,
        cure: Cure::Person,
    };
    told("Accepted", "Unknown", "SecretNotFound", &["spec.apiKeySecretRef", "vllm", "create it"]).until(&world).await;
    world.until_condition("FeatureAssignment", "fix", "ModelResolved", "Unknown", "ModelNotSynced").await;
    world.until_article_is_ready().await;
    let other = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: vllm, namespace: {}}}, stringData: {{other: x}}}}",
        world.namespace
    );
    world.apply(&other).await;
    told("Accepted", "Unknown", "SecretKeyMissing", &["spec.apiKeySecretRef", "\"token\""]).until(&world).await;

    // With the key, but without `/v1`: a warning at once, and then the server's own words.
    patch_secret(&world, "vllm", json!({"stringData": {"token": manifests::VLLM_KEY}})).await;
    let warning = world.until_event("EndpointWithoutV1", "vllm").await;
    assert!(warning.contains("/v1"), "{warning}");
    told("ConnectionVerified", "False", "ModelRefused", &["404"]).until(&world).await;
    let url = json!({"spec": {"endpoint": vllm.base_url()}});
    world.patch("SelfHostedModel", "vllm", url).await.expect("a patch");
    world.until_ready("SelfHostedModel", "vllm").await;
    world.until_ready("FeatureAssignment", "fix").await;

    // A key that the server does not take.
    patch_secret(&world, "vllm", json!({"stringData": {"token": "wrong-key-of-vllm-000"}})).await;
    told("ConnectionVerified", "False", "ModelRefused", &["401"]).until(&world).await;
    world.until_condition("FeatureAssignment", "fix", "Ready", "False", "ModelNotReady").await;
    patch_secret(&world, "vllm", json!({"stringData": {"token": manifests::VLLM_KEY}})).await;
    world.until_ready("FeatureAssignment", "fix").await;
    world.users_are_served().await;
    world.no_secret_is_told(&["wrong-key-of-vllm-000".to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_access_at_aws_is_not_ready_and_the_other_serves() {
    let world = World::start("access", Options::default()).await;
    world.bedrock.reconfigure(|config| config.granted_models = vec!["mistral.mixtral-8x7b-instruct-v0:1".to_owned()]);
    world.apply_article().await;
    world.until_ready("FeatureAssignment", "code-suggestions").await;
    Told {
        object: ("SelfHostedModel", "claude-3-sonnet"),
        condition: ("ConnectionVerified", "False", "ModelRefused"),
        words: &["403", "access"],
        cure: Cure::Person,
    }
    .until(&world)
    .await;
    let chat = world.until_condition("FeatureAssignment", "chat", "Ready", "False", "ModelNotReady").await;
    assert!(condition(&chat, "Ready").2.contains("403"), "{chat:#}");
    world.until_ready("AIGateway", "duo").await;
    assert!(world.ask(What::CodeCompletion).await.ok, "the other model serves\n{}", world.log_tail());
    assert!(!world.ask(What::Chat).await.ok, "the break is none for users");

    world.bedrock.reconfigure(|config| config.granted_models.clear());
    world.until_article_is_ready().await;
    world.users_are_served().await;
}
