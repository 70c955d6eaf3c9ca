//! What is rendered for an AIGateway, as files to review. `UPDATE_GOLDEN=1` refreshes them.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program has no API and ends where it cannot go on"
)]

use std::path::Path;

use duo_api::{AIGateway, SelfHostedModel};
use duo_core::desired::{self, AgentPlatform, Bundle, Credentials, KeyPair, Part, RenderError};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;

const IMAGE: &str = "registry.example.com/duo-gateway:1";

fn gateway(spec: &str) -> AIGateway {
    let text = format!(
        "apiVersion: duo.selfhosted.dev/v1alpha1\nkind: AIGateway\nmetadata: {{name: duo, namespace: gitlab-duo, uid: u-1}}\nspec:\n{spec}"
    );
    serde_yaml_ng::from_str(&text).unwrap()
}

/// As once the operator has seen its GitLab and its pods.
fn known(spec: &str, version: &str, implementation: &str) -> AIGateway {
    let mut gateway = gateway(spec);
    let status = format!("{{gitlab: {{version: {version}}}, implementation: {implementation}}}");
    gateway.status = Some(serde_yaml_ng::from_str(&status).unwrap());
    gateway
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
    bundle_of(&gateway(spec), models, credentials).unwrap()
}

fn bundle_of(
    gateway: &AIGateway,
    models: &[SelfHostedModel],
    credentials: &Credentials,
) -> Result<Bundle, RenderError> {
    let rendered = desired::rendered_models(&gateway.spec, models, credentials);
    let config = desired::gateway_config(gateway, &rendered, credentials, Some("0a1b"));
    desired::bundle(gateway, &config, credentials, IMAGE)
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
    let Bundle {
        service_account,
        config_map,
        secret,
        service,
        disruption_budget,
        autoscaler,
        network_policy,
        ingress,
        http_route,
        deployment,
        agent_platform,
        config_hash,
    } = bundle;
    fn yaml(object: &impl Serialize) -> String {
        serde_yaml_ng::to_string(object).unwrap()
    }
    let mut parts = vec![yaml(&service_account)];
    parts.extend(config_map.map(|config_map| yaml(&config_map)));
    parts.extend([yaml(&secret), yaml(&service), yaml(&deployment)]);
    parts.extend(disruption_budget.map(|budget| yaml(&budget)));
    parts.extend(autoscaler.map(|autoscaler| yaml(&autoscaler)));
    parts.extend(network_policy.map(|policy| yaml(&policy)));
    parts.extend(ingress.map(|ingress| yaml(&ingress)));
    parts.extend(http_route.map(|route| yaml(&route)));
    if let Part::Apply(AgentPlatform { service, disruption_budget, network_policy, deployment }) = agent_platform {
        parts.extend([yaml(&service), yaml(&deployment)]);
        parts.extend(disruption_budget.map(|budget| yaml(&budget)));
        parts.extend(network_policy.map(|policy| yaml(&policy)));
    }
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
    marked.workflow = Some(KeyPair { signing: b"s3cret-5".to_vec(), validation: b"s3cret-6".to_vec() });
    marked.environment.insert("ANTHROPIC_API_KEY".into(), b"s3cret-7".to_vec());
    let of_gitlab = known(&format!("{GITLAB}{AGENTS}"), "19.4.1", "GitLab");
    for rendering in [bundle(FULL, &models(), &marked), bundle_of(&of_gitlab, &models(), &marked).unwrap()] {
        let secret = rendering.secret.clone();
        let text = rendered(Bundle { secret: Secret::default(), ..rendering });
        assert!(!text.contains("s3cret") && !format!("{marked:?}").contains("s3cret"));
        assert_eq!(secret.data.unwrap().values().filter(|value| value.0.starts_with(b"s3cret")).count(), 7);
    }
}

const NETWORK: &str = "
  networkPolicy:
    from:
    - {namespaceLabels: {kubernetes.io/metadata.name: gitlab}, podLabels: {app: webservice}}
    - {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
    metricsFrom: [{namespaceLabels: {kubernetes.io/metadata.name: monitoring}}]
";

const OUTSIDE: &str = "
  autoscaling: {minReplicas: 3, maxReplicas: 9, targetMemoryUtilizationPercentage: 80, scaleDownStabilization: 10m}
  ingress: {host: ai.example.com, className: nginx, tls: {secretName: ai-tls}, annotations: {a: b}}
  httpRoute: {parentRefs: [{name: edge, namespace: gateways, sectionName: https, port: 443}], hostnames: [ai.example.com]}
";

const GITLAB: &str = "
  gitlab:
    url: https://gitlab.example.com/
    tokenSecretRef: {name: gitlab-admin, key: token}
    caBundleRef: {kind: ConfigMap, name: company-ca, key: ca.crt}
    offline: true
  implementation: GitLab
  requestTimeout: 2m
  drainPeriod: 15s
  logging: {level: Warn, prompts: true}
  proxy: {httpsProxy: 'http://proxy:3128', noProxy: [.svc, 10.0.0.0/8]}
  providers:
    bedrock:
      region: us-east-1
      credentialsSecretRef: {name: aws-bedrock}
      endpoint: https://vpce.example.com
      guardrail: {identifier: gr-1, version: '3', trace: Full}
  gitlabImage: {environment: {WEB_CONCURRENCY: '1', AIGW_LOGGING__LEVEL: ERROR}, environmentSecretRef: {name: more}}
";

const AGENTS: &str = "
  agentPlatform: {replicas: 3}
";

fn of_gitlab() -> Credentials {
    let mut credentials = credentials();
    credentials.files.remove("model.vllm.key");
    credentials.workflow = Some(KeyPair { signing: b"flow".to_vec(), validation: b"flow-next".to_vec() });
    credentials.environment.insert("ANTHROPIC_API_KEY".into(), b"key".to_vec());
    credentials
}

#[test]
fn what_makes_it_reachable_is_rendered() {
    golden("outside.yaml", &rendered(bundle(&format!("{SMALL_ONLY}{OUTSIDE}{NETWORK}"), &models(), &credentials())));
}

#[test]
fn a_network_policy_that_is_switched_off_is_none_and_an_egress_list_is_all_there_is() {
    let of = |policy: &str| {
        bundle(&format!("{SMALL_ONLY}\n  networkPolicy: {policy}\n"), &models(), &credentials()).network_policy
    };
    assert!(of("{enabled: false}").is_none());
    let listed = of("{egress: {dns: false, rules: [{to: [{cidr: 192.0.2.0/24}], ports: [443, 8443]}, {}]}}").unwrap();
    let rules = listed.spec.unwrap().egress.unwrap();
    let ports: Vec<Option<Vec<IntOrString>>> = rules
        .iter()
        .map(|rule| rule.ports.as_ref().map(|ports| ports.iter().filter_map(|port| port.port.clone()).collect()))
        .collect();
    assert_eq!(ports, [Some(vec![IntOrString::Int(443), IntOrString::Int(8443)]), None], "without ports: all");
    assert_eq!(rules[0].to.as_ref().unwrap()[0].ip_block.as_ref().unwrap().cidr, "192.0.2.0/24");
}

const SMALL_ONLY: &str = "
  gitlab: {url: 'https://gitlab.example.com', tokenSecretRef: {name: gitlab-admin}}
";

#[test]
fn gitlabs_image_and_its_agent_platform_are_rendered() {
    let gateway = known(&format!("{GITLAB}{AGENTS}{NETWORK}"), "19.4.0-ee", "GitLab");
    golden("gitlab.yaml", &rendered(bundle_of(&gateway, &models(), &of_gitlab()).unwrap()));
}

#[test]
fn an_agent_platform_with_a_certificate_is_probed_without_grpc() {
    let spec = format!(
        "{SMALL_ONLY}\n  agentPlatform: {{tls: {{secretRef: {{name: t}}}}, image: 'mirror/gw:1', replicas: 1}}\n"
    );
    let mut credentials = of_gitlab();
    credentials.files.insert("agent-platform-tls.crt".into(), b"c".to_vec());
    credentials.files.insert("agent-platform-tls.key".into(), b"k".to_vec());
    let Part::Apply(platform) = bundle(&spec, &[], &credentials).agent_platform else { panic!("an image is named") };
    let container = &platform.deployment.spec.unwrap().template.spec.unwrap().containers[0];
    assert_eq!(container.image.as_deref(), Some("mirror/gw:1"));
    let probe = container.readiness_probe.as_ref().unwrap();
    assert!(probe.grpc.is_none(), "kubelet's gRPC probe speaks no TLS");
    let port = &container.ports.as_ref().unwrap()[0];
    assert_eq!(probe.tcp_socket.as_ref().unwrap().port, IntOrString::String(port.name.clone().unwrap()));
    assert!(platform.disruption_budget.is_none());
}

#[test]
fn gitlabs_image_runs_as_declared() {
    let pod = |rest: &str| {
        let spec = format!("{SMALL_ONLY}\n  implementation: GitLab\n{rest}");
        let bundle = bundle_of(&known(&spec, "19.4.0-ee", "GitLab"), &[], &of_gitlab()).unwrap();
        bundle.deployment.spec.unwrap().template.spec.unwrap()
    };
    for (rest, user) in [("", None), ("  gitlabImage: {runAsUser: 1001}\n", Some(1001))] {
        let security = pod(rest).security_context.unwrap();
        let found = (security.run_as_user, security.fs_group, security.run_as_non_root);
        assert_eq!(found, (user, user, user.map(|_| true)), "{rest}");
    }
    for (rest, scheme) in [("", None), ("  tls: {secretRef: {name: t}}\n", Some("HTTPS"))] {
        let probe = pod(rest).containers[0].readiness_probe.clone().unwrap();
        assert_eq!(probe.http_get.unwrap().scheme.as_deref(), scheme, "{rest}");
    }
    for (drain, waits) in [("0s", None), ("1s", Some(1))] {
        let lifecycle = pod(&format!("  drainPeriod: {drain}\n")).containers[0].lifecycle.clone();
        let sleep = lifecycle.and_then(|lifecycle| lifecycle.pre_stop?.sleep).map(|sleep| sleep.seconds);
        assert_eq!(sleep, waits, "{drain}");
    }
}

#[test]
fn the_digest_of_a_model_is_that_of_what_is_rendered_once_all_keys_are_at_hand() {
    let further = "fallbacks: [{name: b, platform: OpenAICompatible, identifier: custom_openai/b, endpoint: 'http://b/v1', apiKeySecretRef: {name: b}}]";
    let declared = format!(
        "displayName: V, platform: OpenAICompatible, family: Mistral, identifier: custom_openai/v, endpoint: 'http://vllm:8000/v1', apiKeySecretRef: {{name: vllm}}, {further}"
    );
    let model = model("vllm", "2026-01-01T00:00:00Z", &declared);
    let rendered = |files: &[&str]| {
        let mut credentials = credentials();
        credentials.files = files.iter().map(|file| ((*file).to_owned(), b"key".to_vec())).collect();
        desired::gateway_config(&gateway(SMALL_ONLY), &[&model], &credentials, None).models[0].digest()
    };
    let inputs = duo_core::inputs::of_all_places("vllm", &model.spec);
    let files: Vec<&str> = inputs.iter().map(|input| input.file.as_str()).collect();
    let digest = desired::model_digest("vllm", &model.spec);
    assert_eq!(digest, rendered(&files));
    assert_ne!(digest, rendered(&files[..1]), "a place without its key is left out");
}

#[test]
fn a_secret_is_not_in_what_a_bundle_prints() {
    let bundle = bundle(SMALL_ONLY, &[], &credentials());
    let printed = format!("{bundle:?} {:?}", credentials());
    let bytes = format!("{:?}", b"signing");
    assert!(printed.contains(&bundle.config_hash) && printed.contains("AWS_SECRET_ACCESS_KEY"), "{printed}");
    assert!(!printed.contains("signing") && !printed.contains(bytes.trim_matches(['[', ']'])), "{printed}");
}

#[test]
fn without_a_version_there_is_no_image_and_nothing_else_is_guessed() {
    let error = bundle_of(&gateway(GITLAB), &[], &of_gitlab()).unwrap_err();
    assert_eq!(error.finding().reason, "GitLabVersionUnknown");
    let named = format!("{GITLAB}\n  image: 'mirror/gw:self-hosted-v19.4.3-ee'\n");
    assert!(bundle_of(&gateway(&named), &[], &of_gitlab()).is_ok());
    // The gateway of its own does not wait for the agent platform's image, and what there is of that one stays.
    let embedded = bundle(&format!("{SMALL_ONLY}{AGENTS}"), &[], &of_gitlab());
    assert_eq!(embedded.agent_platform, Part::Keep);
}

#[test]
fn a_changed_key_rolls_gitlabs_image_and_a_models_key_does_not() {
    let gateway = known(&format!("{GITLAB}{AGENTS}"), "19.4.0-ee", "GitLab");
    let template = |credentials: &Credentials| {
        let bundle = bundle_of(&gateway, &models(), credentials).unwrap();
        let Part::Apply(platform) = bundle.agent_platform else { panic!("a version is known") };
        (bundle.deployment.spec.unwrap().template, platform.deployment.spec.unwrap().template)
    };
    let before = template(&of_gitlab());
    type Change = fn(&mut Credentials);
    let changes: [Change; 4] = [
        |c| c.signing_key = b"another".to_vec(),
        |c| drop(c.aws.insert("AWS_SECRET_ACCESS_KEY".into(), b"another".to_vec())),
        |c| drop(c.environment.insert("ANTHROPIC_API_KEY".into(), b"another".to_vec())),
        |c| drop(c.files.insert("ca.crt".into(), b"another".to_vec())),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut credentials = of_gitlab();
        change(&mut credentials);
        let after = template(&credentials);
        assert!(before.0 != after.0 && before.1 != after.1, "change {at} rolls nothing");
    }
    let mut more = of_gitlab();
    more.files.insert("model.vllm.key".into(), b"another".to_vec());
    assert!(before == template(&more));
}

#[test]
fn pods_of_the_own_gateway_keep_their_configuration_until_the_last_is_gone() {
    for (seen, kept) in [("Embedded", true), ("GitLab", false)] {
        let bundle = bundle_of(&known(GITLAB, "19.4.0-ee", seen), &models(), &credentials()).unwrap();
        assert_eq!(bundle.config_map.is_some(), kept, "{seen}");
    }
}

#[test]
fn another_request_timeout_does_not_change_the_pods() {
    let of = |timeout: &str| bundle(&format!("{SMALL_ONLY}\n  requestTimeout: {timeout}\n"), &[], &credentials());
    let (before, after) = (of("60s"), of("5m"));
    assert_eq!(before.deployment, after.deployment);
    assert_ne!(before.config_hash, after.config_hash);
}
