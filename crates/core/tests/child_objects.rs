//! What is rendered for an AIGateway, as files to review. `UPDATE_GOLDEN=1` refreshes them.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test program has no API and ends where it cannot go on")]

use std::path::Path;

use duo_api::{AIGateway, SelfHostedModel};
use duo_core::desired::{self, Bundle, Credentials};
use serde::Serialize;

const IMAGE: &str = "registry.example.com/duo-gateway:1";

fn gateway(spec: &str) -> AIGateway {
    let text = format!(
        "apiVersion: duo.selfhosted.dev/v1alpha1\nkind: AIGateway\nmetadata: {{name: duo, namespace: gitlab-duo, uid: u-1}}\nspec:\n{spec}"
    );
    serde_yaml_ng::from_str(&text).unwrap()
}

fn model(name: &str, created: &str, spec: &str) -> SelfHostedModel {
    let text = format!(
        "apiVersion: duo.selfhosted.dev/v1alpha1\nkind: SelfHostedModel\nmetadata: {{name: {name}, namespace: gitlab-duo, creationTimestamp: '{created}'}}\nspec: {{gatewayRef: {{name: duo}}, {spec}}}"
    );
    serde_yaml_ng::from_str(&text).unwrap()
}

fn credentials() -> Credentials {
    let mut credentials = Credentials {
        signing_key: b"signing".to_vec(),
        validation_key: b"validation".to_vec(),
        ..Credentials::default()
    };
    credentials.aws.insert("AWS_ACCESS_KEY_ID".into(), b"id".to_vec());
    credentials.aws.insert("AWS_SECRET_ACCESS_KEY".into(), b"secret".to_vec());
    credentials.files.insert("ca.crt".into(), b"certificates".to_vec());
    credentials.files.insert("model.vllm.key".into(), b"key".to_vec());
    credentials
}

fn models() -> Vec<SelfHostedModel> {
    vec![
        model(
            "mixtral",
            "2026-01-01T00:00:00Z",
            "displayName: M, platform: Bedrock, family: Mixtral, identifier: bedrock/mistral.mixtral-8x7b-instruct-v0:1",
        ),
        model(
            "vllm",
            "2026-01-02T00:00:00Z",
            "displayName: V, platform: OpenAICompatible, family: Mistral, identifier: custom_openai/v, endpoint: 'http://vllm:8000/v1/', apiKeySecretRef: {name: vllm}",
        ),
        // No key at hand: left out until there is one.
        model(
            "keyless",
            "2026-01-03T00:00:00Z",
            "displayName: K, platform: OpenAICompatible, family: Mistral, identifier: custom_openai/k, endpoint: 'http://k/v1', apiKeySecretRef: {name: missing}",
        ),
        // The gateway could not tell it from the first.
        model(
            "twin",
            "2026-01-04T00:00:00Z",
            "displayName: T, platform: Bedrock, family: Mixtral, identifier: bedrock/mistral.mixtral-8x7b-instruct-v0:1",
        ),
    ]
}

fn bundle(spec: &str, models: &[SelfHostedModel], credentials: &Credentials) -> Bundle {
    let gateway = gateway(spec);
    let rendered = desired::rendered_models(&gateway.spec, models, credentials);
    let config = desired::gateway_config(&gateway, &rendered, credentials, Some("0a1b"));
    desired::bundle(&gateway, &config, credentials, IMAGE).unwrap()
}

const FULL: &str = "
  gitlab:
    url: https://gitlab.example.com/
    tokenSecretRef: {name: gitlab-admin, key: token}
    caBundleRef: {kind: ConfigMap, name: company-ca, key: ca.crt}
    offline: true
  replicas: 3
  requestTimeout: 2m
  undeclaredModels: Allow
  logging: {level: Debug}
  providers:
    bedrock: {region: us-east-1, credentialsSecretRef: {name: aws-bedrock}, endpoint: 'https://vpce.example.com'}
  pod:
    labels: {team: platform}
    annotations: {note: x}
    serviceAccountAnnotations: {eks.amazonaws.com/role-arn: arn}
    nodeSelector: {disk: ssd}
    tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}]
    imagePullSecrets: [{name: registry}]
    resources: {requests: {cpu: 250m}, limits: {memory: 1Gi}}
";

const SMALL: &str = "
  gitlab: {url: 'https://gitlab.example.com', tokenSecretRef: {name: gitlab-admin}}
  replicas: 1
";

fn rendered(bundle: Bundle) -> String {
    let Bundle { service_account, config_map, secret, service, disruption_budget, deployment, config_hash } = bundle;
    fn yaml(object: &impl Serialize) -> String {
        serde_yaml_ng::to_string(object).unwrap()
    }
    let mut parts = vec![yaml(&service_account), yaml(&config_map), yaml(&secret), yaml(&service), yaml(&deployment)];
    parts.extend(disruption_budget.map(|budget| yaml(&budget)));
    format!("# configuration {config_hash}\n{}", parts.join("---\n"))
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == text, "{} differs: review, then UPDATE_GOLDEN=1\n{text}", path.display());
}

#[test]
fn everything_that_can_be_declared_is_rendered() {
    golden("full.yaml", &rendered(bundle(FULL, &models(), &credentials())));
}

#[test]
fn the_least_that_can_be_declared_is_rendered() {
    golden("small.yaml", &rendered(bundle(SMALL, &[], &Credentials::default())));
}

#[test]
fn a_model_or_a_key_more_does_not_change_the_pods() {
    let before = bundle(FULL, &models()[..1], &credentials());
    let mut more = credentials();
    more.files.insert("model.vllm.key".into(), b"another".to_vec());
    let after = bundle(FULL, &models(), &more);
    assert_eq!(before.deployment, after.deployment);
    assert_ne!(before.config_hash, after.config_hash);
    assert_ne!(before.config_map, after.config_map);
}

#[test]
fn a_changed_key_changes_the_hash() {
    let before = bundle(FULL, &models(), &credentials());
    let mut rotated = credentials();
    rotated.aws.insert("AWS_SECRET_ACCESS_KEY".into(), b"rotated".to_vec());
    assert_ne!(before.config_hash, bundle(FULL, &models(), &rotated).config_hash);
}

#[test]
fn secrets_stand_in_the_secret_only() {
    let mut marked =
        Credentials { signing_key: b"s3cret-1".to_vec(), validation_key: b"s3cret-2".to_vec(), ..credentials() };
    marked.aws.insert("AWS_SECRET_ACCESS_KEY".into(), b"s3cret-3".to_vec());
    marked.files.insert("model.vllm.key".into(), b"s3cret-4".to_vec());
    let Bundle { service_account, config_map, secret, service, disruption_budget, deployment, config_hash: _ } =
        bundle(FULL, &models(), &marked);
    let others = serde_json::to_string(&(service_account, config_map, service, disruption_budget, deployment)).unwrap();
    assert!(!others.contains("s3cret") && !format!("{marked:?}").contains("s3cret"));
    assert_eq!(secret.data.unwrap().values().filter(|value| value.0.starts_with(b"s3cret")).count(), 4);
}
