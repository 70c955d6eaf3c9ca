//! Settings of AIGateway.

use serde_json::{Value, json};

use super::{Case, at, case, duration, field, http_url, number, proxy_url, reference, rule, text};

/// Settings of the gateway as a whole.
pub fn gateway() -> Vec<Case> {
    const K: &str = "AIGateway";
    let mut cases = Vec::new();
    for (path, bounds) in
        [("firstByteTimeout", ["0s", "1s", "600s", "601s"]), ("drainPeriod", ["0s", "0s", "300s", "5m1s"])]
    {
        let full = format!("spec.{path}");
        cases.extend(duration(K, &full, &|value| at(&full, value), path, bounds, "1500ms"));
    }
    cases.extend(reference(K, "spec.tls.secretRef", &|value| at("spec.tls.secretRef", value), false));
    cases.push(case(
        K,
        "spec.tls.secretRef",
        "required",
        at("spec.tls", json!({})),
        at("spec.tls.secretRef.name", json!("a")),
    ));
    for who in ["perUser", "perInstance"] {
        for (what, most) in
            [("requestsPerMinute", 1_000_000), ("tokensPerMinute", 1_000_000_000), ("concurrentRequests", 100_000)]
        {
            let path = format!("spec.limits.{who}.{what}");
            cases.extend(number(K, &path, &|value| at(&path, value), 1, most));
        }
    }
    for name in ["httpsProxy", "httpProxy"] {
        let path = format!("spec.proxy.{name}");
        cases.extend(proxy_url(K, &path, &|value| at(&path, value), &format!("proxy.{name}")));
        cases.extend(text(K, &path, &|value| at(&path, value), "http://proxy.example.com/", 2048));
    }
    let none = |value: Value| at("spec.proxy.noProxy", json!([value]));
    cases.extend(text(K, "spec.proxy.noProxy[]", &none, ".", 253));
    cases.push(case(K, "spec.proxy.noProxy[]", "pattern", none(json!("a,b")), none(json!("10.0.0.0/8"))));
    let hosts =
        |count: usize| -> Value { at("spec.proxy.noProxy", (0..count).map(|n| json!(format!("h{n}"))).collect()) };
    cases.push(case(K, "spec.proxy.noProxy", "maxItems", hosts(65), hosts(64)));
    cases.push(case(K, "spec.proxy.noProxy", "duplicate", at("spec.proxy.noProxy", json!(["a", "a"])), hosts(2)));
    cases.extend(tracing());
    cases.extend(documentation());
    cases.extend(field(
        K,
        "spec.currency",
        &|value| at("spec.currency", value),
        vec![("pattern", json!("euro"), json!("EUR"))],
    ));
    cases.extend(guardrail());
    cases.extend(vertex());
    cases
}

fn tracing() -> Vec<Case> {
    const K: &str = "AIGateway";
    let endpoint = "http://otel:4318/";
    let with = |name: &'static str| {
        move |value: Value| at("spec.tracing", json!({"otlpEndpoint": "http://otel:4318", name: value}))
    };
    let path = "spec.tracing.otlpEndpoint";
    let message = "tracing.otlpEndpoint must be an http:// or https:// URL with a host, for example \
                   http://otel-collector.monitoring.svc:4318";
    let mut cases = http_url(K, path, &with("otlpEndpoint"), message);
    cases.extend(text(K, path, &with("otlpEndpoint"), endpoint, 2048));
    cases.push(case(K, path, "required", at("spec.tracing", json!({})), at(path, json!(endpoint))));
    cases.extend(reference(K, "spec.tracing.headersSecretRef", &with("headersSecretRef"), false));
    cases.extend(number(K, "spec.tracing.samplePerMille", &with("samplePerMille"), 0, 1000));
    cases
}

fn documentation() -> Vec<Case> {
    const K: &str = "AIGateway";
    let claim = |value: Value| at("spec.docsIndex", json!({"claimName": value, "file": "docs.index"}));
    let file = |value: Value| at("spec.docsIndex", json!({"claimName": "docs", "file": value}));
    let whole = || file(json!("docs.index"));
    let message = "docsIndex.file is a path inside the volume, without '..', for example docs.index";
    let mut cases = text(K, "spec.docsIndex.claimName", &claim, "", 253);
    cases.extend(text(K, "spec.docsIndex.file", &file, "", 255));
    cases.push(case(K, "spec.docsIndex.claimName", "required", at("spec.docsIndex", json!({"file": "a"})), whole()));
    cases.push(case(K, "spec.docsIndex.file", "required", at("spec.docsIndex", json!({"claimName": "a"})), whole()));
    for bad in ["/etc/passwd", "a/../../b"] {
        cases.push(rule(K, "spec.docsIndex.file", message, file(json!(bad)), file(json!("18.9/docs.index"))));
    }
    cases
}

fn guardrail() -> Vec<Case> {
    const K: &str = "AIGateway";
    let bedrock = |fields: Value| {
        let mut whole = json!({"region": "us-east-1"});
        crate::merge(&mut whole, &fields);
        at("spec.providers.bedrock", whole)
    };
    let path = "spec.providers.bedrock.guardrail";
    let with = |name: &'static str| {
        move |value: Value| {
            let mut guardrail = json!({"identifier": "gr-1", "version": "1"});
            guardrail[name] = value;
            at("spec.providers.bedrock", json!({"region": "us-east-1", "guardrail": guardrail}))
        }
    };
    let whole = || with("version")(json!("DRAFT"));
    let mut cases = text(K, &format!("{path}.identifier"), &with("identifier"), "", 2048);
    cases.push(case(
        K,
        &format!("{path}.identifier"),
        "required",
        bedrock(json!({"guardrail": {"version": "1"}})),
        whole(),
    ));
    cases.push(case(
        K,
        &format!("{path}.version"),
        "required",
        bedrock(json!({"guardrail": {"identifier": "a"}})),
        whole(),
    ));
    for (name, keyword, bad, good) in [
        ("identifier", "pattern", "my guardrail", "arn:aws:bedrock:us-east-1:123456789012:guardrail/gr-1"),
        ("version", "pattern", "latest", "12"),
        ("version", "pattern", "0", "1"),
        ("trace", "enum", "enabled_full", "Full"),
        ("streamProcessing", "enum", "Other", "Async"),
    ] {
        cases.extend(field(K, &format!("{path}.{name}"), &with(name), vec![(keyword, json!(bad), json!(good))]));
    }
    cases.push(rule(
        K,
        "spec.providers.bedrock",
        "providers.bedrock: fips chooses the region's FIPS endpoint, so it cannot stand beside endpoint",
        bedrock(json!({"fips": true, "endpoint": "https://vpce.example"})),
        bedrock(json!({"fips": true})),
    ));
    cases
}

fn vertex() -> Vec<Case> {
    const K: &str = "AIGateway";
    let path = |name: &str| format!("spec.providers.vertexAI.{name}");
    let with = |name: &'static str| {
        move |value: Value| {
            let mut whole = json!({"project": "p", "location": "global"});
            whole[name] = value;
            at("spec.providers.vertexAI", whole)
        }
    };
    let mut cases = text(K, &path("project"), &with("project"), "company-", 100);
    cases.extend(text(K, &path("location"), &with("location"), "europe-", 64));
    cases.extend(text(K, &path("endpoint"), &with("endpoint"), "https://psc.example/", 2048));
    cases.extend(http_url(
        K,
        &path("endpoint"),
        &with("endpoint"),
        "providers.vertexAI.endpoint must be an http:// or https:// URL with a host",
    ));
    cases.extend(field(
        K,
        &path("project"),
        &with("project"),
        vec![("pattern", json!("My Project"), json!("example.com:p"))],
    ));
    cases.extend(field(
        K,
        &path("location"),
        &with("location"),
        vec![("pattern", json!("Europe"), json!("europe-west1"))],
    ));
    for (name, other) in [("project", json!({"location": "global"})), ("location", json!({"project": "p"}))] {
        let good = with("project")(json!("p"));
        cases.push(case(K, &path(name), "required", at("spec.providers.vertexAI", other), good));
    }
    cases.extend(reference(K, &path("credentialsSecretRef"), &with("credentialsSecretRef"), true));
    cases
}
