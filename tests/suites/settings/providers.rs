//! Settings of Bedrock and Vertex AI.

use duo_e2e::{Options, World, manifests};
use duo_sim::bedrock::AccessKey;
use duo_sim::upstream::Credential;
use serde_json::{Value, json};

use crate::neighbours::recorder;
use crate::scene::{asked_bedrock, change, completes, declare, on_bedrock, world};

/// What Bedrock was asked last.
fn last(world: &World) -> duo_sim::upstream::Call {
    world.bedrock.journal().calls().last().cloned().expect("a call")
}

#[tokio::test(flavor = "multi_thread")]
async fn bedrock_is_asked_with_guardrail_region_and_assumed_role() {
    let guardrail = json!({"identifier": "gr-1", "version": "3", "trace": "Full", "streamProcessing": "Async"});
    let world = world(Options::default(), &json!({"providers": {"bedrock": {"guardrail": guardrail}}})).await;
    declare(&world, "code", &on_bedrock(&json!({})), &["CodeCompletions"]).await;
    completes(&world).await;
    let config = last(&world).request["guardrailConfig"].clone();
    assert_eq!(config["guardrailIdentifier"], "gr-1");
    assert_eq!((&config["guardrailVersion"], &config["trace"]), (&json!("3"), &json!("enabled_full")));
    change(&world, "AIGateway", "duo", &json!({"providers": {"bedrock": {"guardrail": null}}})).await;
    completes(&world).await;
    assert!(last(&world).request["guardrailConfig"].is_null());

    let frankfurt = duo_sim::bedrock::start(duo_sim::bedrock::Config {
        region: "eu-central-1".to_owned(),
        access_keys: vec![AccessKey::new(manifests::AWS_KEY_ID, manifests::AWS_SECRET)],
        ..duo_sim::bedrock::Config::default()
    })
    .await
    .expect("a Bedrock of another region");
    let elsewhere = json!({"connection": {"region": "eu-central-1", "endpoint": frankfurt.url()}});
    change(&world, "SelfHostedModel", "code", &elsewhere).await;
    let before = asked_bedrock(&frankfurt);
    completes(&world).await;
    assert!(asked_bedrock(&frankfurt) > before);
    let home = json!({"connection": {"region": null, "endpoint": null}});
    change(&world, "SelfHostedModel", "code", &home).await;

    let (id, secret, token) =
        ("ASIAROLEROLEROLEROLE", "roleSecretAccessKey/0123456789abcdef", "role-session-token-01234");
    let keys = [AccessKey::new(manifests::AWS_KEY_ID, manifests::AWS_SECRET), AccessKey::temporary(id, secret, token)];
    world.bedrock.reconfigure(|config| config.access_keys = keys.to_vec());
    let sts = recorder("text/xml", role(id, secret, token)).await;
    let assumed = json!({"connection": {"assumeRole": {
        "roleArn": "arn:aws:iam::123456789012:role/duo", "externalId": "company-7", "stsEndpoint": format!("http://{}", sts.addr),
    }}});
    change(&world, "SelfHostedModel", "code", &assumed).await;
    completes(&world).await;
    assert!(sts.seen.has("ExternalId=company-7") && sts.seen.has("role%2Fduo"), "{:?}", sts.seen.all());
    assert!(
        matches!(last(&world).credential, Credential::SigV4 { access_key_id, session: true, .. } if access_key_id == id)
    );
    world.no_secret_is_told(&[secret.to_owned(), token.to_owned()]).await;
}

/// STS's answer to AssumeRole.
fn role(id: &str, secret: &str, token: &str) -> String {
    format!(
        "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><AssumedRoleUser>\
         <AssumedRoleId>AROA:duo</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/duo/duo</Arn>\
         </AssumedRoleUser><Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
         <SessionToken>{token}</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
         </AssumeRoleResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vertex_model_waits_for_a_project() {
    let world = world(Options::default(), &json!({})).await;
    let spec: Value = json!({"gatewayRef": {"name": "duo"}, "displayName": "Claude", "platform": "VertexAI",
                             "family": "Claude", "identifier": "vertex_ai/claude-sonnet-4-6@default"});
    let object = json!({"apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": "SelfHostedModel",
                        "metadata": {"name": "claude", "namespace": world.namespace}, "spec": spec});
    world.apply(&object.to_string()).await;
    world.until_condition("SelfHostedModel", "claude", "Accepted", "False", "ProviderNotConfigured").await;
    let vertex = json!({"providers": {"vertexAI": {"project": "company-ai", "location": "europe-west1",
                                                   "endpoint": "http://127.0.0.1:9"}}});
    change(&world, "AIGateway", "duo", &vertex).await;
    world.until_condition("SelfHostedModel", "claude", "Accepted", "True", "").await;
    world.until_condition("SelfHostedModel", "claude", "Synced", "True", "").await;
}
