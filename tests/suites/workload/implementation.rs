//! GitLab's own image in place of the operator's gateway.

use std::sync::Arc;

use duo_e2e::wait::condition;
use duo_e2e::{Options, World, manifests};
use duo_sim::bedrock::AccessKey;
use duo_sim::gitlab::What;
use duo_sim::openai;
use duo_sim::upstream::Secret;
use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::users::Users;
use crate::{IMAGE, article, set};

const NEW_VLLM_KEY: &str = "e2e-vllm-rotated-key-24680";
const NEW_AWS_ID: &str = "AKIAIMAGEIMAGEIMAGEI";
const NEW_AWS_SECRET: &str = "imageSecretAccessKey/zyxwvutsrqponmlkjihg";

async fn patch_secret(world: &World, name: &str, data: Value) {
    let secrets: Api<KubeSecret> = Api::namespaced(world.client.clone(), &world.namespace);
    let patch = Patch::Merge(json!({ "stringData": data }));
    secrets.patch(name, &PatchParams::default(), &patch).await.expect("the Secret is changed");
}

/// A model on a server that asks for a key, which serves code completion.
async fn own_model(world: &World) -> openai::Handle {
    let vllm =
        openai::start(openai::Config { api_keys: vec![Secret::new(manifests::VLLM_KEY)], ..openai::Config::default() })
            .await
            .expect("an OpenAI-compatible server");
    let served = openai::Config::default().served_model_names[0].clone();
    world
        .patch("FeatureAssignment", "code-suggestions", json!({"spec": {"features": ["CodeGenerations"]}}))
        .await
        .expect("a patch");
    let objects = [
        json!({"kind": "SelfHostedModel", "metadata": {"name": "own"}, "spec": {
            "gatewayRef": {"name": "duo"}, "displayName": "Our own", "platform": "OpenAICompatible", "family": "Mistral",
            "identifier": format!("custom_openai/{served}"), "endpoint": vllm.base_url(),
            "apiKeySecretRef": {"name": "vllm", "key": "token"},
        }}),
        json!({"kind": "FeatureAssignment", "metadata": {"name": "completion"}, "spec": {
            "gatewayRef": {"name": "duo"}, "features": ["CodeCompletions"], "modelRef": {"name": "own"},
        }}),
    ];
    for mut object in objects {
        object["apiVersion"] = "duo.selfhosted.dev/v1alpha1".into();
        object["metadata"]["namespace"] = world.namespace.clone().into();
        world.apply(&object.to_string()).await;
    }
    world.until_ready("SelfHostedModel", "own").await;
    world.until_ready("FeatureAssignment", "completion").await;
    // Only then do all pods serve it.
    world.until_condition("SelfHostedModel", "own", "ConnectionVerified", "True", "").await;
    vllm
}

async fn until_implementation(world: &World, which: &str) {
    world
        .until("AIGateway", "duo", which, |gateway| {
            gateway["status"]["implementation"] == which && condition(gateway, "Ready").0 == "True"
        })
        .await;
}

fn token_in_gitlab(world: &World) -> Option<String> {
    world.model_in_gitlab("Our own").api_token.filter(|token| !token.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn to_gitlabs_image_and_back_no_call_is_lost_and_gitlab_holds_keys_only_meanwhile() {
    let world = Arc::new(article(Options::default()).await);
    let vllm = own_model(&world).await;
    let asked = [What::CodeCompletion, What::Chat];
    let users = Users::start(&world, &asked);
    assert_eq!(token_in_gitlab(&world), None);

    set(&world, json!({"implementation": "GitLab", "image": IMAGE})).await;
    until_implementation(&world, "GitLab").await;
    world.until_ready("SelfHostedModel", "own").await;
    assert_eq!(token_in_gitlab(&world).as_deref(), Some(manifests::VLLM_KEY));
    let others: Vec<_> = world.gitlab.state().models.into_values().filter(|model| model.name != "Our own").collect();
    assert!(others.iter().all(|model| model.api_token.as_deref().unwrap_or_default().is_empty()), "{others:?}");
    users.go_on(&world).await;

    // Nothing more is written once it is so.
    world.rests_for(std::time::Duration::from_secs(5)).await;
    let secrets: Api<KubeSecret> = Api::namespaced(world.client.clone(), &world.namespace);
    let held = secrets.get("duo-credentials").await.expect("the Secret").data.unwrap_or_default();
    assert!(held.keys().all(|name| !name.starts_with("model.")), "{:?}", held.keys());

    // A rotated model key reaches GitLab, without a new pod.
    let pods = world.pods().await;
    let both = vec![Secret::new(manifests::VLLM_KEY), Secret::new(NEW_VLLM_KEY)];
    vllm.reconfigure(|config| config.api_keys = both);
    patch_secret(&world, "vllm", json!({"token": NEW_VLLM_KEY})).await;
    world.eventually("GitLab has the new key", || token_in_gitlab(&world).as_deref() == Some(NEW_VLLM_KEY)).await;
    // Requests that began with the old key are answered first.
    users.go_on(&world).await;
    vllm.reconfigure(|config| config.api_keys = vec![Secret::new(NEW_VLLM_KEY)]);
    users.go_on(&world).await;
    assert_eq!(world.pods().await, pods);
    let model = world.until_ready("SelfHostedModel", "own").await;
    let mark = model["metadata"]["annotations"]["duo.selfhosted.dev/api-token-fingerprint"].as_str().expect("a mark");
    assert!(!mark.is_empty() && !NEW_VLLM_KEY.contains(mark));

    // AWS keys stand in the environment: the pods are replaced one by one.
    let keys =
        [AccessKey::new(manifests::AWS_KEY_ID, manifests::AWS_SECRET), AccessKey::new(NEW_AWS_ID, NEW_AWS_SECRET)];
    world.bedrock.reconfigure(|config| config.access_keys = keys.to_vec());
    let hash = world.get("AIGateway", "duo").await["status"]["configHash"].clone();
    let rotated = json!({"AWS_ACCESS_KEY_ID": NEW_AWS_ID, "AWS_SECRET_ACCESS_KEY": NEW_AWS_SECRET});
    patch_secret(&world, "aws-bedrock", rotated).await;
    world
        .until("AIGateway", "duo", "other settings in all pods", |gateway| {
            gateway["status"]["configHash"] != hash
                && condition(gateway, "ConfigAccepted").0 == "True"
                && condition(gateway, "WorkloadAvailable").0 == "True"
        })
        .await;
    world.bedrock.reconfigure(|config| config.access_keys = keys[1..].to_vec());
    users.go_on(&world).await;
    assert_ne!(world.pods().await, pods);

    set(&world, json!({"implementation": "Embedded", "image": null})).await;
    until_implementation(&world, "Embedded").await;
    world.eventually("GitLab forgot the key", || token_in_gitlab(&world).is_none()).await;
    world
        .until("SelfHostedModel", "own", "no fingerprint", |model| {
            model["metadata"]["annotations"].get("duo.selfhosted.dev/api-token-fingerprint").is_none()
        })
        .await;
    world.until_ready("SelfHostedModel", "own").await;
    users.stop(&world).await;
    let more = [NEW_VLLM_KEY, NEW_AWS_SECRET].map(str::to_owned);
    world.no_secret_is_told(&more).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gitlabs_image_lacks_is_refused_by_name_and_what_runs_goes_on() {
    let world = article(Options::default()).await;
    let template = world.pod_template().await;
    set(&world, json!({"implementation": "GitLab", "image": IMAGE, "limits": {"perUser": {"requestsPerMinute": 5}}, "currency": "EUR"})).await;
    let refused =
        world.until_condition("AIGateway", "duo", "ConfigAccepted", "False", "NotSupportedByImplementation").await;
    let (_, _, message) = condition(&refused, "ConfigAccepted");
    assert!(message.contains("spec.limits, spec.currency"), "{message}");
    assert_eq!((condition(&refused, "Ready").0.as_str(), condition(&refused, "Stalled").0.as_str()), ("False", "True"));
    assert_eq!(world.pod_template().await, template);
    world.users_are_served().await;

    set(&world, json!({"limits": null, "currency": null})).await;
    until_implementation(&world, "GitLab").await;
    let more = json!({"spec": {"hedging": {}, "mirrors": [{"name": "two", "connection": {"region": "eu-west-1"}}]}});
    world.patch("SelfHostedModel", "mixtral-8x7b", more).await.expect("a patch");
    let model = world
        .until_condition("SelfHostedModel", "mixtral-8x7b", "Accepted", "False", "NotSupportedByImplementation")
        .await;
    let (_, _, message) = condition(&model, "Accepted");
    assert!(message.contains("spec.mirrors, spec.hedging"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_follows_gitlabs_minor_version() {
    let world = article(Options::default()).await;
    // Pods of this image are none of the fake node's gateways; they are only there.
    set(&world, json!({"implementation": "GitLab", "gitlabImage": {"repository": "mirror.example.com/gw"}})).await;
    let image = |template: &Value| template["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
    let until = |expected: &'static str| {
        let world = &world;
        async move {
            let started = std::time::Instant::now();
            while image(&world.pod_template().await) != expected {
                let found = image(&world.pod_template().await);
                assert!(started.elapsed() < duo_e2e::wait::LIMIT, "{found} is not {expected}\n{}", world.log_tail());
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    };
    until("mirror.example.com/gw:self-hosted-v19.5.0-ee").await;
    let told = world.until_event("GatewayImageGuessed", "duo").await;
    assert!(told.contains("spec.gitlabImage.tag"), "{told}");
    world.gitlab.edit(|state| state.instance.version = "19.6.2".parse().expect("a version"));
    until("mirror.example.com/gw:self-hosted-v19.6.0-ee").await;
    set(&world, json!({"gitlabImage": {"tag": "self-hosted-v19.6.7-ee"}})).await;
    until("mirror.example.com/gw:self-hosted-v19.6.7-ee").await;
}
