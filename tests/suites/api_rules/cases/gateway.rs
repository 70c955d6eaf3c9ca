//! Cases of AIGateway.

use serde_json::{Value, json};

use super::{Case, at, entries, limit, long, required, rule, text, text_in, url_rule, words};

/// The gateway but for its pods.
pub fn cases() -> Vec<Case> {
    const K: &str = "AIGateway";
    let url = "https://gitlab.example.com/";
    let ca = json!({"name": "company-ca"});
    let timeout = "requestTimeout must be between 60s and 600s: GitLab accepts no other value";
    let named = "metadata.name becomes the name of a Service: at most 40 lower-case letters, digits and '-', \
                 beginning with a letter";
    let mut cases = vec![
        required(K, "spec.gitlab", json!({"spec": {"gitlab": null}}), json!({})),
        required(K, "spec.gitlab.url", json!({"spec": {"gitlab": {"url": null}}}), json!({})),
        required(K, "spec.gitlab.tokenSecretRef", json!({"spec": {"gitlab": {"tokenSecretRef": null}}}), json!({})),
        required(
            K,
            "spec.gitlab.tokenSecretRef.name",
            json!({"spec": {"gitlab": {"tokenSecretRef": {"name": null}}}}),
            json!({}),
        ),
        required(
            K,
            "spec.gitlab.caBundleRef.name",
            json!({"spec": {"gitlab": {"caBundleRef": {"kind": "Secret"}}}}),
            json!({"spec": {"gitlab": {"caBundleRef": {"name": "company-ca"}}}}),
        ),
        required(K, "spec", json!({"spec": null}), json!({})),
        limit(K, "spec.replicas", "minimum", json!(-1), json!(0)),
        limit(K, "spec.replicas", "maximum", json!(101), json!(100)),
        words(K, "spec.managementPolicy", "Observe"),
        words(K, "spec.deletionPolicy", "Orphan"),
        words(K, "spec.implementation", "Embedded"),
        words(K, "spec.undeclaredModels", "Allow"),
        words(K, "spec.logging.level", "Error"),
        words(K, "spec.gitlab.caBundleRef.kind", "Secret").with(
            at("spec.gitlab.caBundleRef", json!({"name": "ca", "kind": "File"})),
            at("spec.gitlab.caBundleRef", json!({"name": "ca", "kind": "Secret"})),
        ),
        limit(K, "spec.requestTimeout", "minLength", json!("s"), json!("1m")),
        limit(K, "spec.requestTimeout", "maxLength", json!("0000000000000060s"), json!("000000000000060s")),
        rule(K, "metadata.name", named, at("metadata.name", long("", 41)), at("metadata.name", long("", 40))),
        rule(K, "metadata.name", named, at("metadata.name", json!("1duo")), at("metadata.name", json!("d"))),
        rule(K, "metadata.name", named, at("metadata.name", json!("duo.eu")), at("metadata.name", json!("duo-1"))),
    ];
    for (bad, good) in [("59s", "60s"), ("601s", "600s"), ("10m1s", "10m"), ("", "1m30s")] {
        cases.push(rule(
            K,
            "spec.requestTimeout",
            timeout,
            at("spec.requestTimeout", json!(bad)),
            at("spec.requestTimeout", json!(good)),
        ));
    }
    // whole seconds only: neither parts of a second nor other units
    for bad in ["1.5m", "60500ms", "1h", "60"] {
        cases.push(limit(K, "spec.requestTimeout", "pattern", json!(bad), json!("61s")));
    }
    for (path, message) in [
        (
            "spec.gitlab.url",
            "gitlab.url must be an http:// or https:// URL with a host, for example https://gitlab.example.com",
        ),
        (
            "spec.gitlab.apiUrl",
            "gitlab.apiUrl must be an http:// or https:// URL with a host, for example \
             https://gitlab.example.com/api/v4/",
        ),
        (
            "spec.url",
            "url must be an http:// or https:// URL with a host, for example https://ai-gateway.example.com:5052",
        ),
    ] {
        cases.extend(url_rule(K, path, message));
        cases.extend(text(K, path, url, 2048));
    }
    cases.extend(text(K, "spec.image", "", 512));
    cases.extend(text(K, "spec.gitlab.tokenSecretRef.name", "", 253));
    cases.extend(text(K, "spec.gitlab.tokenSecretRef.key", "", 253));
    cases.extend(text_in(K, "spec.gitlab.caBundleRef.name", 253, &ca));
    cases.extend(text_in(K, "spec.gitlab.caBundleRef.key", 253, &ca));
    cases.extend(bedrock());
    cases
}

fn bedrock() -> Vec<Case> {
    const K: &str = "AIGateway";
    let at_bedrock = |fields: Value| at("spec.providers.bedrock", fields);
    let region = "spec.providers.bedrock.region";
    let message = "providers.bedrock.endpoint must be an http:// or https:// URL with a host";
    let endpoint = |url: Value| at_bedrock(json!({"region": "us-east-1", "endpoint": url}));
    let mut cases = vec![
        required(K, region, at_bedrock(json!({})), at_bedrock(json!({"region": "us-east-1"}))),
        required(
            K,
            "spec.providers.bedrock.credentialsSecretRef.name",
            at_bedrock(json!({"region": "us-east-1", "credentialsSecretRef": {}})),
            at_bedrock(json!({"region": "us-east-1", "credentialsSecretRef": {"name": "aws"}})),
        ),
        limit(K, region, "minLength", json!(""), json!("eu-west-3")),
        limit(
            K,
            region,
            "maxLength",
            json!(format!("{}-a-1", "x".repeat(61))),
            json!(format!("{}-a-1", "x".repeat(60))),
        ),
        limit(K, region, "pattern", json!("US East (Virginia)"), json!("us-gov-west-1")),
        limit(K, region, "pattern", json!("us-east-1a"), json!("ap-southeast-2")),
    ];
    for (length, keyword, bad) in
        [(2048, "maxLength", long("https://vpce.example/", 2049)), (21, "minLength", json!(""))]
    {
        let good = long("https://vpce.example/", length);
        cases.push(
            limit(K, "spec.providers.bedrock.endpoint", keyword, Value::Null, Value::Null)
                .with(endpoint(bad), endpoint(good)),
        );
    }
    for bad in ["vpce.example", "ftp://vpce.example", "https:///x"] {
        cases.push(rule(
            K,
            "spec.providers.bedrock.endpoint",
            message,
            endpoint(json!(bad)),
            endpoint(json!("https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com")),
        ));
    }
    let secret = "spec.providers.bedrock.credentialsSecretRef.name";
    for mut case in text(K, secret, "", 253) {
        for patch in [&mut case.bad, &mut case.good] {
            crate::merge(patch, &at(region, json!("us-east-1")));
        }
        cases.push(case);
    }
    cases
}

/// Settings of the pods.
pub fn pod() -> Vec<Case> {
    const K: &str = "AIGateway";
    let mut cases = vec![
        words(K, "spec.pod.tolerations[].operator", "Exists"),
        words(K, "spec.pod.tolerations[].effect", "NoExecute"),
        limit(K, "spec.pod.tolerations", "maxItems", json!(vec![json!({}); 33]), json!(vec![json!({}); 32])),
        limit(
            K,
            "spec.pod.imagePullSecrets",
            "duplicate",
            json!([{"name": "a"}, {"name": "a"}]),
            json!([{"name": "a"}, {"name": "b"}]),
        ),
        required(
            K,
            "spec.pod.imagePullSecrets[].name",
            at("spec.pod.imagePullSecrets", json!([{}])),
            at("spec.pod.imagePullSecrets", json!([{"name": "a"}])),
        ),
    ];
    let secrets = |count: usize| -> Value { (0..count).map(|n| json!({"name": format!("s{n}")})).collect() };
    cases.push(limit(K, "spec.pod.imagePullSecrets", "maxItems", secrets(17), secrets(16)));
    cases.extend(text(K, "spec.pod.imagePullSecrets[].name", "", 253));
    for field in ["labels", "annotations", "serviceAccountAnnotations", "nodeSelector"] {
        cases.push(limit(K, &format!("spec.pod.{field}"), "maxProperties", entries(33), entries(32)));
    }
    for (bound, unit, good) in [
        ("requests", "cpu", "500m"),
        ("limits", "cpu", "2"),
        ("requests", "memory", "128Mi"),
        ("limits", "memory", "1Gi"),
    ] {
        let path = format!("spec.pod.resources.{bound}.{unit}");
        let example = if unit == "cpu" { "500m" } else { "128Mi" };
        let message = format!("{unit} must be a Kubernetes quantity, for example {example}");
        cases.push(rule(K, &path, &message, at(&path, json!("many")), at(&path, json!(good))));
        cases.push(limit(K, &path, "maxLength", json!("1".repeat(33)), json!(format!("{}1", "0".repeat(31)))));
    }
    cases
}
