//! What changes while everything runs takes effect by itself: tokens, keys, authorities, models, and hands in GitLab.

#![allow(missing_docs, clippy::expect_used, reason = "a test program has no API and ends where its world cannot go on")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use duo_e2e::wait::condition;
use duo_e2e::{Options, World, manifests};
use duo_sim::bedrock::AccessKey;
use duo_sim::gitlab::{Ask, What};
use duo_sim::openai;
use duo_sim::upstream::Secret;
use duo_testkit::pki::CertificateAuthority;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

const NEW_TOKEN: &str = "glpat-e2e-rotated-9876543210";
const NEW_AWS_ID: &str = "AKIANEWNEWNEWNEWNEWN";
const NEW_AWS_SECRET: &str = "rotatedSecretAccessKey/zyxwvutsrqponmlkji";
const NEW_VLLM_KEY: &str = "e2e-vllm-rotated-key-13579";

async fn ready_world() -> World {
    let world = World::start("turn", Options::default()).await;
    world.apply_article().await;
    settled(&world).await;
    world
}

/// Waits until all is Ready and the configuration has come to rest: it changes once more when the instance's id is known.
async fn settled(world: &World) {
    world
        .until("AIGateway", "duo", "an instance id", |gateway| !gateway["status"]["gitlab"]["instanceId"].is_null())
        .await;
    let mut before = String::new();
    loop {
        world.until_article_is_ready().await;
        let now = config_hash(world).await;
        if now == before {
            return;
        }
        before = now;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

async fn patch_secret(world: &World, name: &str, data: Value) {
    let secrets: Api<KubeSecret> = Api::namespaced(world.client.clone(), &world.namespace);
    let patch = Patch::Merge(json!({ "stringData": data }));
    secrets.patch(name, &PatchParams::default(), &patch).await.expect("the Secret is changed");
}

async fn config_hash(world: &World) -> String {
    world.get("AIGateway", "duo").await["status"]["configHash"].as_str().unwrap_or_default().to_owned()
}

/// Waits until all pods serve another configuration than `before`.
async fn until_reconfigured(world: &World, before: &str) {
    world
        .until("AIGateway", "duo", "another configuration served", |gateway| {
            gateway["status"]["configHash"] != before && condition(gateway, "ConfigAccepted").0 == "True"
        })
        .await;
    world.until_ready("AIGateway", "duo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_gitlab_token_takes_effect_without_a_restart() {
    let world = ready_world().await;
    let (pods, template) = (world.pods().await, world.pod_template().await);
    world.gitlab.edit(|state| {
        let mut token = state.tokens[0].clone();
        token.id = 99;
        NEW_TOKEN.clone_into(&mut token.value);
        state.tokens.push(token);
    });
    patch_secret(&world, "gitlab-admin", json!({"token": NEW_TOKEN})).await;
    world.gitlab.edit(|state| state.tokens[0].revoked = true);
    // Only the new token can do this.
    click_around(&world);
    world.eventually("drift is put back", || is_as_declared(&world)).await;
    world.until_article_is_ready().await;

    // Revoked before there is another one: a condition of its own, and it heals by the Secret alone.
    world.gitlab.edit(|state| state.tokens.iter_mut().for_each(|token| token.revoked = true));
    let broken = world.until_condition("AIGateway", "duo", "TokenValid", "False", "TokenInvalid").await;
    assert_eq!(condition(&broken, "Ready").0, "False");
    world.gitlab.edit(|state| state.tokens[0].revoked = false);
    patch_secret(&world, "gitlab-admin", json!({"token": manifests::ADMIN_TOKEN})).await;
    world.until_article_is_ready().await;

    world.users_are_served().await;
    assert_eq!(world.pods().await, pods);
    assert_eq!(world.pod_template().await, template);
    world.no_secret_is_told(&[NEW_TOKEN.to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_aws_key_takes_effect_without_a_restart_and_loses_no_call() {
    let world = Arc::new(ready_world().await);
    let (pods, template, hash) = (world.pods().await, world.pod_template().await, config_hash(&world).await);
    let both =
        [AccessKey::new(manifests::AWS_KEY_ID, manifests::AWS_SECRET), AccessKey::new(NEW_AWS_ID, NEW_AWS_SECRET)];
    world.bedrock.reconfigure(|config| config.access_keys = both.to_vec());

    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let users = {
        let (world, stop, asked) = (Arc::clone(&world), Arc::clone(&stop), Arc::clone(&asked));
        tokio::spawn(async move {
            let mut lost = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let outcome = world.gitlab.ask(What::CodeCompletion, &Ask::default()).await;
                asked.fetch_add(1, Ordering::Relaxed);
                if !outcome.ok {
                    lost.push(outcome);
                }
            }
            lost
        })
    };
    patch_secret(
        &world,
        "aws-bedrock",
        json!({"AWS_ACCESS_KEY_ID": NEW_AWS_ID, "AWS_SECRET_ACCESS_KEY": NEW_AWS_SECRET}),
    )
    .await;
    until_reconfigured(&world, &hash).await;
    // From here on every pod has the new key: the old one may go.
    world.bedrock.reconfigure(|config| config.access_keys = both[1..].to_vec());
    let before = asked.load(Ordering::Relaxed);
    world.eventually("users went on asking", || asked.load(Ordering::Relaxed) > before + 10).await;
    stop.store(true, Ordering::Relaxed);
    let lost = users.await.expect("the users' task");
    assert!(lost.is_empty(), "{} calls were lost: {:#?}", lost.len(), lost.first());
    world.users_are_served().await;

    // A wrong key is found by the check that its arrival causes, and the right one heals it.
    let hash = config_hash(&world).await;
    patch_secret(&world, "aws-bedrock", json!({"AWS_SECRET_ACCESS_KEY": "not/the/key/of/anything"})).await;
    until_reconfigured(&world, &hash).await;
    let refused = world.until_condition("SelfHostedModel", "mixtral-8x7b", "Ready", "False", "ModelRefused").await;
    assert!(condition(&refused, "ConnectionVerified").2.contains("403"), "{:#}", refused["status"]);
    world.until_condition("FeatureAssignment", "code-suggestions", "Ready", "False", "ModelNotReady").await;
    assert!(!world.ask(What::CodeCompletion).await.ok);
    patch_secret(&world, "aws-bedrock", json!({"AWS_SECRET_ACCESS_KEY": NEW_AWS_SECRET})).await;
    world.until_article_is_ready().await;
    world.users_are_served().await;

    assert_eq!(world.pods().await, pods);
    assert_eq!(world.pod_template().await, template);
    world.no_secret_is_told(&[NEW_AWS_SECRET.to_owned(), "not/the/key/of/anything".to_owned()]).await;
}

/// A model that comes, its key that changes and its going are configuration of running pods.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_and_its_key_come_and_change_without_a_new_pod() {
    let world = ready_world().await;
    let (pods, template, hash) = (world.pods().await, world.pod_template().await, config_hash(&world).await);
    let vllm =
        openai::start(openai::Config { api_keys: vec![Secret::new(manifests::VLLM_KEY)], ..openai::Config::default() })
            .await
            .expect("an OpenAI-compatible server");
    let served = openai::Config::default().served_model_names[0].clone();
    world
        .apply(&format!(
            "apiVersion: duo.selfhosted.dev/v1alpha1
kind: SelfHostedModel
metadata: {{name: own, namespace: {namespace}}}
spec:
  gatewayRef: {{name: duo}}
  displayName: Our own
  platform: OpenAICompatible
  family: Mistral
  identifier: custom_openai/{served}
  endpoint: {endpoint}
  apiKeySecretRef: {{name: vllm, key: token}}
---
apiVersion: duo.selfhosted.dev/v1alpha1
kind: FeatureAssignment
metadata: {{name: completion, namespace: {namespace}}}
spec:
  gatewayRef: {{name: duo}}
  features: [CodeCompletions]
  modelRef: {{name: own}}
",
            namespace = world.namespace,
            endpoint = vllm.base_url(),
        ))
        .await;
    world.until_ready("SelfHostedModel", "own").await;
    let fewer = json!({"spec": {"features": ["CodeGenerations"]}});
    world.patch("FeatureAssignment", "code-suggestions", fewer).await.expect("a patch");
    world.until_ready("FeatureAssignment", "completion").await;
    assert_ne!(config_hash(&world).await, hash);
    world.until_condition("SelfHostedModel", "own", "ConnectionVerified", "True", "").await;

    // The old key is revoked as the new one is given: the check that this causes comes after the pods have the new one.
    vllm.reconfigure(|config| config.api_keys = vec![Secret::new(NEW_VLLM_KEY)]);
    let hash = config_hash(&world).await;
    patch_secret(&world, "vllm", json!({"token": NEW_VLLM_KEY})).await;
    until_reconfigured(&world, &hash).await;
    world.until_ready("SelfHostedModel", "own").await;
    let events = world.events().await;
    let blamed = events.iter().find(|(reason, name, _)| reason == "ModelRefused" && name == "own");
    assert!(blamed.is_none(), "the model was judged by its old key: {blamed:?}");
    assert_eq!(world.feature_in_gitlab("code_completions"), ("self_hosted".to_owned(), Some("Our own".to_owned())));
    let outcome = world.ask(What::CodeCompletion).await;
    assert!(outcome.ok && outcome.model.as_deref() == Some("Our own"), "{outcome:#?}");

    world.delete("FeatureAssignment", "completion").await;
    world.delete("SelfHostedModel", "own").await;
    world.until_gone("FeatureAssignment", "completion").await;
    world.until_gone("SelfHostedModel", "own").await;
    let all = json!({"spec": {"features": ["CodeGenerations", "CodeCompletions"]}});
    world.patch("FeatureAssignment", "code-suggestions", all).await.expect("a patch");
    world.until_article_is_ready().await;
    world.users_are_served().await;
    assert_eq!(world.pods().await, pods);
    assert_eq!(world.pod_template().await, template);
    assert!(world.gitlab.journal().since(0).iter().all(|entry| !entry.api_token_sent), "a key travelled to GitLab");
    world.no_secret_is_told(&[NEW_VLLM_KEY.to_owned()]).await;
}

/// GitLab's certificate is signed by a company's authority that comes in a ConfigMap.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_ca_bundle_takes_effect_without_a_restart() {
    let authority = CertificateAuthority::new("The company's authority").expect("an authority");
    let other = CertificateAuthority::new("Another authority").expect("an authority");
    let identity = authority.server("gitlab", &["127.0.0.1", "localhost"]).expect("a certificate");
    let world = World::start("turn", Options { gitlab_tls: Some(identity), ..Options::default() }).await;
    let bundle = |authority: &CertificateAuthority| {
        let pem = serde_json::to_string(authority.cert_pem()).expect("JSON");
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: company-ca, namespace: {}}}\ndata: {{ca.crt: {pem}}}\n",
            world.namespace
        )
    };
    let reference =
        json!({"spec": {"gitlab": {"caBundleRef": {"kind": "ConfigMap", "name": "company-ca", "key": "ca.crt"}}}});
    world.apply(&bundle(&authority)).await;
    world.apply_article().await;
    world.patch("AIGateway", "duo", reference).await.expect("a patch");
    settled(&world).await;
    world.users_are_served().await;
    let (pods, template) = (world.pods().await, world.pod_template().await);

    let hash = config_hash(&world).await;
    world.apply(&bundle(&other)).await;
    let broken = world
        .until("AIGateway", "duo", "TokenValid not True", |gateway| condition(gateway, "TokenValid").0 == "Unknown")
        .await;
    let (_, _, message) = condition(&broken, "TokenValid");
    assert!(message.to_lowercase().contains("certificate"), "the cause is not named: {message}");
    assert_ne!(condition(&broken, "Ready").0, "True");
    world.until("AIGateway", "duo", "another hash", |gateway| gateway["status"]["configHash"] != hash.as_str()).await;

    world.apply(&bundle(&authority)).await;
    world.until_article_is_ready().await;
    world.users_are_served().await;
    assert_eq!(config_hash(&world).await, hash, "the same inputs give the same configuration");
    assert_eq!(world.pods().await, pods);
    assert_eq!(world.pod_template().await, template);
}

/// What an administrator clicks: another URL, another name and model for ours, a feature off.
fn click_around(world: &World) {
    world.gitlab.edit(|state| {
        state.settings.ai_gateway_url = Some("http://clicked.example".to_owned());
        let model = state.models.values_mut().find(|model| model.name == "Claude 3 Sonnet").expect("our model");
        model.name = "Clicked".to_owned();
        model.identifier = "bedrock/anthropic.claude-3-haiku-20240307-v1:0".to_owned();
    });
    world.feature_by_hand("code_completions", "disabled", None);
}

fn is_as_declared(world: &World) -> bool {
    let state = world.gitlab.state();
    let model = state.models.values().find(|model| model.name == "Claude 3 Sonnet");
    state.settings.ai_gateway_url.as_deref().is_some_and(|url| url.contains(&world.namespace))
        && model.is_some_and(|model| model.identifier.ends_with("claude-3-sonnet-20240229-v1:0"))
        && world.feature_in_gitlab("code_completions") == ("self_hosted".to_owned(), Some("Mixtral 8x7B".to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_by_hand_is_put_back_under_full_and_only_told_under_observe_and_suspend() {
    let world = ready_world().await;
    click_around(&world);
    world.eventually("drift is put back", || is_as_declared(&world)).await;
    world.until_article_is_ready().await;
    world.users_are_served().await;
    assert_eq!(world.models_in_gitlab(), ["Claude 3 Sonnet", "Mixtral 8x7B"]);

    // Observe: told, field by field, and nothing is written to GitLab.
    world.patch("AIGateway", "duo", json!({"spec": {"managementPolicy": "Observe"}})).await.expect("a patch");
    world.until_ready("AIGateway", "duo").await;
    let mark = world.gitlab.journal().mark();
    click_around(&world);
    let told = [
        ("AIGateway", "duo", "GatewayURLConfigured", "clicked.example"),
        ("SelfHostedModel", "claude-3-sonnet", "Synced", "Clicked"),
        ("FeatureAssignment", "code-suggestions", "Synced", "code_completions"),
    ];
    for (kind, name, type_, word) in told {
        let object = world.until_condition(kind, name, type_, "False", "Drifted").await;
        let (_, _, message) = condition(&object, type_);
        assert!(message.contains(word), "{kind} {name}: {message}");
        assert_eq!(condition(&object, "Ready").0, "False");
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!world.gitlab.journal().since(mark).is_empty(), "nobody looked: the test proves nothing");
    assert_eq!(world.mutations_since(mark), Vec::<String>::new());

    // Suspend: not even conditions are written.
    world
        .patch("AIGateway", "duo", json!({"spec": {"managementPolicy": "Full", "suspend": true}}))
        .await
        .expect("a patch");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mark = world.mark().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let writes = world.writes_since(&mark).await;
    assert!(writes.is_empty(), "{writes:#?}");
    assert!(!is_as_declared(&world));

    world.patch("AIGateway", "duo", json!({"spec": {"suspend": false}})).await.expect("a patch");
    world.eventually("drift is put back", || is_as_declared(&world)).await;
    world.until_article_is_ready().await;
    world.users_are_served().await;
}
