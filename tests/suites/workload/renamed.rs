//! What GitLab's requests name a model by is edited while users ask: GitLab and the pods change one after the other, and
//! nobody is asked for what he does not know.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duo_e2e::{Options, World, wait};
use duo_sim::gitlab::What;
use duo_sim::openai;
use duo_sim::upstream::Secret;
use k8s_openapi::api::core::v1::{ConfigMap, Secret as KubeSecret};
use kube::Api;
use serde_json::{Value, json};

use crate::users::Users;

const OTHER_KEY: &str = "e2e-vllm-other-key-24680";

/// A server that takes this key alone.
async fn server(key: &str) -> openai::Handle {
    let config = openai::Config { api_keys: vec![Secret::new(key)], ..openai::Config::default() };
    openai::start(config).await.expect("an OpenAI-compatible server")
}

fn on(server: &openai::Handle, secret: &str) -> Value {
    json!({
        "platform": "OpenAICompatible", "family": "Mistral", "identifier": "custom_openai/duo-sim",
        "endpoint": server.base_url(), "apiKeySecretRef": {"name": secret, "key": "token"},
    })
}

fn on_bedrock(family: &str, model: &str) -> Value {
    let identifier = format!("bedrock/{model}");
    json!({
        "platform": "Bedrock", "family": family, "identifier": identifier, "endpoint": null, "apiKeySecretRef": null,
        "retries": null,
    })
}

async fn edit(world: &World, model: &str, spec: &Value) {
    world.patch("SelfHostedModel", model, json!({ "spec": spec })).await.expect("a valid edit");
}

/// Waits until GitLab holds these declarations and all is Ready with them.
async fn follows(world: &World, users: &Users, declared: &[(&str, &Value)]) {
    for (name, spec) in declared {
        let title = if *name == "mixtral-8x7b" { "Mixtral 8x7B" } else { "Claude 3 Sonnet" };
        world
            .eventually("GitLab holds the edited model", || {
                let held = world.model_in_gitlab(title);
                let endpoint = held.endpoint.unwrap_or_default();
                let endpoint = endpoint.trim_end_matches('/');
                let wanted = spec["endpoint"].as_str().unwrap_or_default().trim_end_matches('/');
                held.identifier == spec["identifier"] && (wanted.is_empty() || endpoint == wanted)
            })
            .await;
    }
    world.until_article_is_ready().await;
    users.go_on(world).await;
}

async fn rendered(world: &World) -> (String, Vec<String>) {
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), &world.namespace);
    let secrets: Api<KubeSecret> = Api::namespaced(world.client.clone(), &world.namespace);
    let map = maps.get("duo-config").await.expect("the configuration");
    let secret = secrets.get("duo-credentials").await.expect("the keys");
    let files = secret.data.unwrap_or_default().into_keys().filter(|file| file.starts_with("former.")).collect();
    (map.data.unwrap_or_default().remove("config.yaml").unwrap_or_default(), files)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_what_requests_name_a_model_by_loses_no_call() {
    let world = Arc::new(crate::article(Options::default()).await);
    let (pods, template) = (world.pods().await, world.pod_template().await);
    let (one, other) = (server(duo_e2e::manifests::VLLM_KEY).await, server(OTHER_KEY).await);
    world
        .apply(&format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: other, namespace: {}}}, stringData: {{token: {OTHER_KEY}}}}}",
            world.namespace
        ))
        .await;
    let (m, c) = ("mixtral-8x7b", "claude-3-sonnet");
    let mixtral = on_bedrock("Mixtral", "mistral.mixtral-8x7b-instruct-v0:1");
    let mistral = on_bedrock("Mistral", "mistral.mistral-7b-instruct-v0:2");
    let (at_one, at_other) = (on(&one, "vllm"), on(&other, "other"));

    let users = Users::start(&world, &[What::CodeCompletion, What::CodeGeneration, What::Chat]);
    // family and identifier, then platform and endpoint, then endpoint and key
    for spec in [&mistral, &at_one, &at_other] {
        edit(&world, m, spec).await;
        follows(&world, &users, &[(m, spec)]).await;
    }

    // reverted before, while and after GitLab follows
    for pause in [0, 400, 1500] {
        edit(&world, m, &mistral).await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        edit(&world, m, &at_other).await;
        follows(&world, &users, &[(m, &at_other)]).await;
    }

    // edited on and on
    for spec in [&mistral, &at_one, &mixtral, &at_other] {
        edit(&world, m, spec).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    follows(&world, &users, &[(m, &at_other)]).await;

    // swapped; between the two edits requests could not tell the two apart, so that the younger one is refused
    let with_retries = |spec: &Value| {
        let mut spec = spec.clone();
        spec["retries"] = json!({"attempts": 1});
        spec
    };
    edit(&world, c, &with_retries(&at_one)).await;
    follows(&world, &users, &[(c, &at_one)]).await;
    for (younger, older) in [(&at_one, &at_other), (&at_other, &at_one)] {
        edit(&world, m, younger).await;
        let refused = world.until_condition("SelfHostedModel", m, "Accepted", "False", "Indistinguishable").await;
        assert_eq!(wait::condition(&refused, "Ready").0, "False");
        users.go_on(&world).await;
        edit(&world, c, &with_retries(older)).await;
        follows(&world, &users, &[(m, younger), (c, older)]).await;
    }
    let (swapped_m, swapped_c) = (&at_one, with_retries(&at_other));
    edit(&world, m, swapped_m).await;
    edit(&world, c, &swapped_c).await;
    follows(&world, &users, &[(m, swapped_m), (c, &swapped_c)]).await;

    // the operator dies on the way
    for pause in [100, 700] {
        let spec = if pause == 100 { &mistral } else { &mixtral };
        edit(&world, m, spec).await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        world.kill_operator();
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.start_operator_again();
        follows(&world, &users, &[(m, spec)]).await;
    }

    // and in the end nothing is served but what is declared
    let (config, _) = rendered(&world).await;
    assert!(config.contains("mixtral-8x7b~former-"), "the former declaration is not there: {config}");
    let started = Instant::now();
    loop {
        let (config, files) = rendered(&world).await;
        if !config.contains("~former-") && files.is_empty() {
            break;
        }
        assert!(started.elapsed() < wait::LIMIT, "former declarations stay: {config}\n{files:?}\n{}", world.log_tail());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    world.until_article_is_ready().await;
    users.stop(&world).await;
    assert_eq!(world.pods().await, pods, "no pod was restarted for it");
    assert_eq!(world.pod_template().await, template);
    world.no_secret_is_told(&[OTHER_KEY.to_owned()]).await;
}

/// Waits until the pods are told to go on with a former declaration of this model.
async fn former_is_served(world: &World, model: &str) {
    let started = Instant::now();
    while !rendered(world).await.0.contains(&format!("{model}~former-")) {
        assert!(started.elapsed() < wait::LIMIT, "no former declaration of {model}\n{}", world.log_tail());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gitlab_still_names_is_served_for_as_long_as_nobody_may_tell_it() {
    let world = Arc::new(crate::article(Options::default()).await);
    let (m, title) = ("mixtral-8x7b", "Mixtral 8x7B");
    let mixtral = on_bedrock("Mixtral", "mistral.mixtral-8x7b-instruct-v0:1");
    let mistral = on_bedrock("Mistral", "mistral.mistral-7b-instruct-v0:2");
    let users = Users::start(&world, &[What::CodeCompletion, What::CodeGeneration, What::Chat]);

    crate::set(&world, json!({"managementPolicy": "Observe"})).await;
    edit(&world, m, &mistral).await;
    world.until_condition("SelfHostedModel", m, "Synced", "False", "Drifted").await;
    former_is_served(&world, m).await;
    world.until_condition("AIGateway", "duo", "ConfigAccepted", "True", "").await;
    users.go_on(&world).await;
    assert_eq!(world.model_in_gitlab(title).identifier, mixtral["identifier"]);
    // an administrator follows by hand
    let id = world.model_in_gitlab(title).id;
    world.gitlab.edit(|state| {
        let model = state.models.get_mut(&id).expect("the model");
        model.family = "mistral".to_owned();
        model.identifier = mistral["identifier"].as_str().unwrap_or_default().to_owned();
    });
    world.until_condition("SelfHostedModel", m, "Synced", "True", "").await;
    users.go_on(&world).await;

    crate::set(&world, json!({"managementPolicy": "Full"})).await;
    edit(&world, m, &json!({"suspend": true})).await;
    edit(&world, m, &mixtral).await;
    world
        .until("AIGateway", "duo", "the former declaration", |gateway| {
            wait::condition(gateway, "ConfigAccepted").2.contains("the former declaration of mixtral-8x7b")
        })
        .await;
    users.go_on(&world).await;
    assert_eq!(world.model_in_gitlab(title).identifier, mistral["identifier"]);
    edit(&world, m, &json!({"suspend": false})).await;
    follows(&world, &users, &[(m, &mixtral)]).await;
    users.stop(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gitlab_is_not_told_of_what_no_pod_can_take_over() {
    let world = Arc::new(crate::article(Options::default()).await);
    let (m, title) = ("mixtral-8x7b", "Mixtral 8x7B");
    let mixtral = on_bedrock("Mixtral", "mistral.mixtral-8x7b-instruct-v0:1");
    let mistral = on_bedrock("Mistral", "mistral.mistral-7b-instruct-v0:2");
    let users = Users::start(&world, &[What::CodeCompletion, What::CodeGeneration, What::Chat]);
    let keys = |name: &str| json!({"providers": {"bedrock": {"credentialsSecretRef": {"name": name}}}});

    crate::set(&world, keys("not-there")).await;
    world.until_condition("AIGateway", "duo", "ConfigAccepted", "Unknown", "SecretNotFound").await;
    edit(&world, m, &mistral).await;
    let told = |model: &Value| wait::condition(model, "Synced").2.contains("0 of 2 ready gateway pods");
    world.until("SelfHostedModel", m, "the pods come first", told).await;
    world
        .until("SelfHostedModel", m, "and nobody else", |model| {
            let (_, reason, text) = wait::condition(model, "Synced");
            reason == "WaitingForGateway" && text.contains("see ConfigAccepted of the AIGateway")
        })
        .await;
    users.go_on(&world).await;
    assert_eq!(world.model_in_gitlab(title).identifier, mixtral["identifier"]);
    // assignments of it go on
    let assignment = world.get("FeatureAssignment", "code-suggestions").await;
    assert_eq!(wait::condition(&assignment, "ModelResolved").0, "True", "{assignment}");

    crate::set(&world, keys("aws-bedrock")).await;
    follows(&world, &users, &[(m, &mistral)]).await;
    users.stop(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feature_that_moves_to_a_new_model_loses_no_call() {
    let world = Arc::new(crate::article(Options::default()).await);
    let vllm = server(duo_e2e::manifests::VLLM_KEY).await;
    let users = Users::start(&world, &[What::CodeCompletion, What::CodeGeneration, What::Chat, What::ExplainCode]);
    let served_by = async |model: &str| {
        let to = json!({"spec": {"modelRef": {"name": model}}});
        for (features, own) in [("code-suggestions", "mixtral-8x7b"), ("chat", "claude-3-sonnet")] {
            let to = if model.is_empty() { json!({"spec": {"modelRef": {"name": own}}}) } else { to.clone() };
            world.patch("FeatureAssignment", features, to).await.expect("a patch");
        }
        for features in ["code-suggestions", "chat"] {
            world.until_ready("FeatureAssignment", features).await;
        }
        users.go_on(&world).await;
    };
    for number in 0..3 {
        let name = format!("new-{number}");
        let mut spec = on(&vllm, "vllm");
        spec["gatewayRef"] = json!({"name": "duo"});
        spec["displayName"] = json!(name);
        let model = json!({
            "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": "SelfHostedModel",
            "metadata": {"name": name, "namespace": world.namespace}, "spec": spec,
        });
        world.apply(&model.to_string()).await;
        served_by(&name).await;
        served_by("").await;
        world.delete("SelfHostedModel", &name).await;
        world.until_gone("SelfHostedModel", &name).await;
    }
    users.stop(&world).await;
}
