//! One case for each rule and limit: what is refused, the words of the refusal, and the nearest valid declaration.

mod gateway;
mod settings;
mod workload;

use serde_json::{Value, json};

/// The three kinds.
pub const KINDS: [&str; 3] = ["AIGateway", "SelfHostedModel", "FeatureAssignment"];

/// What is asked of the API server.
#[derive(Clone, Copy, Debug)]
pub enum Do {
    /// Create the base with a patch over it.
    Create,
    /// Change the existing base by a patch.
    Update,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Case {
    pub kind: &'static str,
    /// As [`crate::schema::limits`] names it, without the kind.
    pub limit: String,
    pub does: Do,
    /// JSON merge patch over [`base`] that is refused.
    pub bad: Value,
    /// Words of the refusal: the field's path, and the cure where the rule tells one.
    pub says: Vec<String>,
    /// JSON merge patch that is admitted.
    pub good: Value,
}

/// A valid spec of each kind.
pub fn base(kind: &str) -> Value {
    match kind {
        "AIGateway" => json!({
            "gitlab": {"url": "https://gitlab.example.com", "tokenSecretRef": {"name": "gitlab-admin"}},
        }),
        "SelfHostedModel" => json!({
            "gatewayRef": {"name": "duo"}, "displayName": "Mistral", "platform": "OpenAICompatible",
            "family": "Mistral", "identifier": "custom_openai/mistral", "endpoint": "http://vllm.models.svc:8000/v1",
        }),
        _ => json!({
            "gatewayRef": {"name": "duo"}, "features": ["CodeCompletions"], "modelRef": {"name": "mistral"},
        }),
    }
}

/// All cases.
pub fn all() -> Vec<Case> {
    [gateway::cases(), gateway::pod(), workload::cases(), settings::gateway(), model(), settings::model(), assignment()]
        .concat()
}

/// `{"a": {"b": value}}` for `a.b`; the last name of a path with `[]` gets a list of one.
fn at(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inner, name| match name.strip_suffix("[]") {
        Some(name) => json!({ name: [inner] }),
        None => json!({ name: inner }),
    })
}

/// The path as the API server prints it.
fn printed(path: &str) -> String {
    path.replace("[]", "[0]")
}

/// A limit of one field, shown by a bad and a good value of that field.
fn limit(kind: &'static str, path: &str, keyword: &str, bad: Value, good: Value) -> Case {
    let words = match keyword {
        "minLength" => "should be at least",
        "maxLength" => "Too long",
        "pattern" => "should match",
        "enum" => "supported values",
        "minimum" => "should be greater than or equal to",
        "maximum" => "should be less than or equal to",
        "minItems" => "should have at least",
        "maxItems" => "must have at most",
        "maxProperties" => "must have at most",
        "duplicate" => "Duplicate value",
        _ => "Required value",
    };
    Case {
        kind,
        limit: format!("{path} {keyword}"),
        does: Do::Create,
        bad: at(path, bad),
        says: vec![printed(path), words.to_owned()],
        good: at(path, good),
    }
}

/// A CEL rule: the message that `crds/*.yaml` has for it must come back whole, with the field's path.
fn rule(kind: &'static str, path: &str, message: &str, bad: Value, good: Value) -> Case {
    Case {
        kind,
        limit: format!("{path} rule: {message}"),
        does: Do::Create,
        bad,
        says: vec![printed(path), message.to_owned()],
        good,
    }
}

/// A field that must be there.
fn required(kind: &'static str, path: &str, bad: Value, good: Value) -> Case {
    limit(kind, path, "required", Value::Null, Value::Null).with(bad, good)
}

impl Case {
    fn with(mut self, bad: Value, good: Value) -> Self {
        (self.bad, self.good) = (bad, good);
        self
    }
}

/// `head` and as many `x` as make the text this long.
fn long(head: &str, length: usize) -> Value {
    json!(format!("{head}{}", "x".repeat(length - head.len())))
}

/// The limits of a text: its longest length is admitted, one more is not; and it is not empty.
fn text(kind: &'static str, path: &str, head: &str, max: usize) -> Vec<Case> {
    vec![
        limit(kind, path, "minLength", json!(""), long(head, head.len().max(1))),
        limit(kind, path, "maxLength", long(head, max + 1), long(head, max)),
    ]
}

/// [`text`] inside an object that needs other fields too.
fn text_in(kind: &'static str, path: &str, max: usize, others: &Value) -> Vec<Case> {
    let (parent, _) = path.rsplit_once('.').expect("a parent");
    let mut cases = text(kind, path, "", max);
    for case in &mut cases {
        for patch in [&mut case.bad, &mut case.good] {
            let mut whole = at(parent, others.clone());
            crate::merge(&mut whole, patch);
            *patch = whole;
        }
    }
    cases
}

/// The values of an enum: each is admitted (the last one is tried), another is not.
fn words(kind: &'static str, path: &str, good: &str) -> Case {
    limit(kind, path, "enum", json!("Other"), json!(good))
}

fn entries(count: usize) -> Value {
    (0..count).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into()
}

fn url_rule(kind: &'static str, path: &str, message: &str) -> Vec<Case> {
    // no scheme, another scheme, no host, no URL
    ["gitlab.example.com", "/gitlab", "ftp://gitlab.example.com", "https:///api", "http://a b"]
        .map(|bad| rule(kind, path, message, at(path, json!(bad)), at(path, json!("http://10.0.0.1:8080/x"))))
        .into()
}

fn model() -> Vec<Case> {
    const K: &str = "SelfHostedModel";
    let spec = |fields: Value| json!({ "spec": fields });
    let identifier = "spec.identifier";
    let url = "http://vllm.models.svc:8000/v1";
    let bedrock = json!({"platform": "Bedrock", "identifier": "bedrock/mistral.m", "endpoint": null});
    let with = |under: &Value, over: Value| {
        let mut both = under.clone();
        overlay(&mut both, &over);
        json!({ "spec": both })
    };
    let on = |platform: &str, identifier: &str| {
        let endpoint = if platform == "VertexAI" { Value::Null } else { json!(url) };
        spec(json!({"platform": platform, "identifier": identifier, "endpoint": endpoint}))
    };
    let required_endpoint =
        "endpoint is required for OpenAICompatible and AzureOpenAI, for example http://vllm.models.svc:8000/v1";
    let unused_endpoint = "endpoint is not used for Bedrock and VertexAI: leave it out (AIGateway \
                           spec.providers.bedrock.endpoint sets a VPC endpoint)";
    let unused_key =
        "apiKeySecretRef is not used for Bedrock and VertexAI: credentials belong in AIGateway spec.providers";
    let mut cases = vec![
        required(K, "spec", json!({"spec": null}), json!({})),
        required(
            K,
            "spec.apiKeySecretRef.name",
            at("spec.apiKeySecretRef", json!({})),
            at("spec.apiKeySecretRef.name", json!("k")),
        ),
        words(K, "spec.platform", "OpenAICompatible"),
        words(K, "spec.family", "Embedding"),
        words(K, "spec.adoptionPolicy", "ByName"),
        words(K, "spec.deletionPolicy", "Orphan"),
        rule(
            K,
            "metadata.name",
            "metadata.name must have at most 200 characters",
            at("metadata.name", long("", 201)),
            at("metadata.name", long("", 200)),
        ),
        rule(
            K,
            "spec",
            "identifier of a Bedrock model must start with \"bedrock/\", for example \
             bedrock/mistral.mixtral-8x7b-instruct-v0:1",
            with(&bedrock, json!({"identifier": "mistral.mixtral-8x7b-instruct-v0:1"})),
            with(&bedrock, json!({})),
        ),
        rule(
            K,
            "spec",
            "identifier of an OpenAICompatible model must start with \"custom_openai/\", followed by the name under \
             which the server serves it; \
             models of openai/, anthropic/ and bedrock_mantle/ are declared so, too, with the address of their OpenAI-compatible \
             API (https://…/v1) as endpoint",
            on("OpenAICompatible", "openai/mistral"),
            on("OpenAICompatible", "custom_openai/mistral"),
        ),
        rule(
            K,
            "spec",
            "identifier of an AzureOpenAI model must start with \"azure/\", followed by the deployment's name",
            on("AzureOpenAI", "gpt-4o"),
            on("AzureOpenAI", "azure/gpt-4o"),
        ),
        rule(
            K,
            "spec",
            "identifier of a VertexAI model must start with \"vertex_ai/\"",
            on("VertexAI", "gemini"),
            on("VertexAI", "vertex_ai/gemini"),
        ),
        rule(K, "spec", required_endpoint, spec(json!({"endpoint": null})), spec(json!({"endpoint": url}))),
        rule(
            K,
            "spec",
            required_endpoint,
            spec(json!({"platform": "AzureOpenAI", "identifier": "azure/gpt", "endpoint": null})),
            on("AzureOpenAI", "azure/gpt"),
        ),
        rule(K, "spec", unused_endpoint, with(&bedrock, json!({"endpoint": url})), with(&bedrock, json!({}))),
        rule(
            K,
            "spec",
            unused_key,
            with(&bedrock, json!({"apiKeySecretRef": {"name": "k"}})),
            spec(json!({"apiKeySecretRef": {"name": "k"}})),
        ),
        immutable(K),
    ];
    for field in ["displayName", "family", "gatewayRef", "identifier", "platform"] {
        cases.push(required(K, &format!("spec.{field}"), spec(json!({ field: null })), json!({})));
    }
    cases.push(required(K, "spec.gatewayRef.name", at("spec.gatewayRef.name", Value::Null), json!({})));
    cases.extend(text(K, "spec.displayName", "", 255));
    cases.extend(text(K, identifier, "custom_openai/", 255));
    cases.extend(text(K, "spec.endpoint", "http://vllm.models.svc:8000/", 255));
    cases.extend(text(K, "spec.gatewayRef.name", "", 253));
    cases.extend(text(K, "spec.apiKeySecretRef.name", "", 253));
    cases.extend(text_in(K, "spec.apiKeySecretRef.key", 253, &json!({"name": "k"})));
    cases.extend(url_rule(
        K,
        "spec.endpoint",
        "endpoint must be an http:// or https:// URL with a host, for example http://vllm.models.svc:8000/v1",
    ));
    cases
}

fn assignment() -> Vec<Case> {
    const K: &str = "FeatureAssignment";
    let exactly_one = "exactly one of modelRef and provider must be set: modelRef names a SelfHostedModel, provider is \
                       Disabled or GitLabManaged";
    let all: Value = duo_api::Feature::ALL.iter().map(|feature| json!(feature.to_string())).collect();
    let mut too_many = all.clone();
    too_many.as_array_mut().expect("a list").push(json!("CodeCompletions"));
    let mut cases = vec![
        required(K, "spec", json!({"spec": null}), json!({})),
        required(K, "spec.features", at("spec.features", Value::Null), json!({})),
        required(K, "spec.gatewayRef", at("spec.gatewayRef", Value::Null), json!({})),
        required(K, "spec.gatewayRef.name", at("spec.gatewayRef.name", Value::Null), json!({})),
        required(K, "spec.modelRef.name", at("spec.modelRef.name", Value::Null), json!({})),
        limit(K, "spec.features", "minItems", json!([]), json!(["DuoChat"])),
        limit(K, "spec.features", "maxItems", too_many, all),
        limit(K, "spec.features", "duplicate", json!(["DuoChat", "DuoChat"]), json!(["DuoChat", "DuoChatFixCode"])),
        words(K, "spec.features[]", "SecurityReview"),
        words(K, "spec.deletionPolicy", "Orphan"),
        words(K, "spec.provider", "Disabled").with(
            json!({"spec": {"modelRef": null, "provider": "Other"}}),
            json!({"spec": {"modelRef": null, "provider": "GitLabManaged"}}),
        ),
        rule(K, "spec", exactly_one, at("spec.provider", json!("Disabled")), json!({})),
        rule(
            K,
            "spec",
            exactly_one,
            at("spec.modelRef", Value::Null),
            json!({"spec": {"modelRef": null, "provider": "Disabled"}}),
        ),
        immutable(K),
    ];
    cases.extend(text(K, "spec.gatewayRef.name", "", 253));
    cases.extend(text(K, "spec.modelRef.name", "", 253));
    let interval = "spec.syntheticRequests.interval";
    cases.push(limit(K, interval, "minLength", json!("s"), json!("2m")));
    cases.push(limit(K, interval, "maxLength", json!("0000000000000060s"), json!("000000000000060s")));
    cases.push(limit(K, interval, "pattern", json!("one hour"), json!("61s")));
    let often = "interval must be between 60s and 24h";
    cases.push(rule(K, interval, often, at(interval, json!("59s")), at(interval, json!("60s"))));
    cases
}

/// `gatewayRef` stays; what stands beside it may change.
fn immutable(kind: &'static str) -> Case {
    let message = format!("gatewayRef cannot be changed: create another {kind} for the other gateway");
    let mut case = rule(
        kind,
        "spec.gatewayRef",
        &message,
        at("spec.gatewayRef.name", json!("other")),
        json!({"spec": {"gatewayRef": {"name": "duo"}, "deletionPolicy": "Orphan"}}),
    );
    case.does = Do::Update;
    case
}

/// Lays one patch over another, keeping its nulls.
fn overlay(under: &mut Value, over: &Value) {
    for (name, value) in over.as_object().into_iter().flatten() {
        under[name] = value.clone();
    }
}

/// The scenario of the product's design, word for word.
pub const SCENARIO: &str = r"
apiVersion: duo.selfhosted.dev/v1alpha1
kind: AIGateway
metadata: {name: duo, namespace: gitlab-duo}
spec:
  gitlab:
    url: https://gitlab.example.com          # AIGW_GITLAB_URL; apiUrl defaults to {url}/api/v4/
    tokenSecretRef: {name: gitlab-admin, key: token}
    caBundleRef: {kind: ConfigMap, name: company-ca, key: ca.crt}   # optional
  implementation: Embedded
  replicas: 2
  url: http://duo.gitlab-duo.svc:5052        # optional: what GitLab calls, must resolve for GitLab
  requestTimeout: 60s
  providers:
    bedrock:
      region: us-east-1
      credentialsSecretRef: {name: aws-bedrock}   # keys named as the AWS variables; left out: workload identity
      endpoint: https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com   # optional
---
apiVersion: duo.selfhosted.dev/v1alpha1
kind: SelfHostedModel
metadata: {name: mixtral-8x7b, namespace: gitlab-duo}
spec:
  gatewayRef: {name: duo}
  displayName: Mixtral 8x7B
  platform: Bedrock
  family: Mixtral                            # Mistral Mixtral Codestral Llama3 CodeGemma CodeLlama DeepSeekCoder Claude GPT Gemini Qwen General Embedding
  identifier: bedrock/mistral.mixtral-8x7b-instruct-v0:1
  # endpoint: http://vllm.models.svc:8000/v1  and  apiKeySecretRef: {name: vllm, key: token}   for OpenAICompatible and AzureOpenAI
  adoptionPolicy: Never                      # or ByName
  deletionPolicy: Delete                     # or Orphan
---
apiVersion: duo.selfhosted.dev/v1alpha1
kind: FeatureAssignment
metadata: {name: code-suggestions, namespace: gitlab-duo}
spec:
  gatewayRef: {name: duo}
  features: [CodeGenerations, CodeCompletions]
  modelRef: {name: mixtral-8x7b}             # or provider: Disabled | GitLabManaged
";
