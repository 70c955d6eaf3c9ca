//! Settings of SelfHostedModel: its further places, how they are reached, how calls are made.

use serde_json::{Value, json};

use super::{Case, Wrap, at, case, duration, field, http_url, long, number, overlay, proxy_url, reference, rule, text};

/// A declaration on a platform: identifier, and an endpoint where it has one.
fn on(platform: &str) -> Value {
    let (identifier, endpoint) = match platform {
        "Bedrock" => ("bedrock/m", Value::Null),
        "VertexAI" => ("vertex_ai/m", Value::Null),
        "AzureOpenAI" => ("azure/m", json!("https://company.openai.azure.com")),
        _ => ("custom_openai/m", json!("http://vllm.models.svc:8000/v1")),
    };
    json!({"platform": platform, "identifier": identifier, "endpoint": endpoint})
}

fn without_nulls(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    value
}

fn spec_on(platform: &str, fields: &Value) -> Value {
    let mut spec = on(platform);
    overlay(&mut spec, fields);
    json!({ "spec": spec })
}

fn mirror_on(platform: &str, fields: &Value) -> Value {
    let mut mirror = json!({"name": "two", "endpoint": on(platform)["endpoint"]});
    overlay(&mut mirror, fields);
    spec_on(platform, &json!({"mirrors": [without_nulls(mirror)]}))
}

fn fallback_on(platform: &str, fields: &Value) -> Value {
    let mut fallback = on(platform);
    fallback["name"] = json!("other");
    overlay(&mut fallback, fields);
    at("spec.fallbacks", json!([without_nulls(fallback)]))
}

/// Settings of a model's calls and places.
pub fn model() -> Vec<Case> {
    const K: &str = "SelfHostedModel";
    let mut cases = number(K, "spec.weight", &|value| at("spec.weight", value), 0, 1000);
    cases.extend(connection("spec.connection", &|platform, value| spec_on(platform, &json!({ "connection": value }))));
    for (name, platform, bad, good) in [
        ("region", "Bedrock and VertexAI", "AzureOpenAI", "VertexAI"),
        ("assumeRole", "Bedrock", "VertexAI", "Bedrock"),
        ("apiVersion", "AzureOpenAI", "OpenAICompatible", "AzureOpenAI"),
        ("completionApi", "OpenAICompatible", "AzureOpenAI", "OpenAICompatible"),
    ] {
        let message = format!("connection.{name} is for {platform} only: leave it out");
        let fields = json!({"connection": {name: special(name)}});
        cases.push(rule(K, "spec", &message, spec_on(bad, &fields), spec_on(good, &fields)));
    }
    let message = "connection.endpoint is for Bedrock and VertexAI only: use endpoint";
    let fields = json!({"connection": {"endpoint": special("endpoint")}});
    cases.push(rule(K, "spec", message, spec_on("AzureOpenAI", &fields), spec_on("VertexAI", &fields)));
    let caching = json!({"promptCaching": true});
    let message = "promptCaching: true is for Bedrock and VertexAI only: leave it out";
    cases.push(rule(K, "spec", message, spec_on("AzureOpenAI", &caching), spec_on("Bedrock", &caching)));
    cases.extend(mirrors());
    cases.extend(fallbacks());
    cases.extend(calls());
    cases
}

/// A good value of a field of the connection that only some platforms have.
fn special(name: &str) -> Value {
    match name {
        "region" => json!("eu-west-1"),
        "endpoint" => json!("https://vpce.example"),
        "assumeRole" => json!({"roleArn": "arn:aws:iam::123456789012:role/duo"}),
        "apiVersion" => json!("2024-10-21"),
        _ => json!("Suffix"),
    }
}

/// What each platform's places may not have.
fn misplaced() -> [(&'static str, &'static str, &'static str); 5] {
    [
        ("endpoint", "AzureOpenAI", "Bedrock"),
        ("region", "OpenAICompatible", "Bedrock"),
        ("assumeRole", "VertexAI", "Bedrock"),
        ("apiVersion", "Bedrock", "AzureOpenAI"),
        ("completionApi", "AzureOpenAI", "OpenAICompatible"),
    ]
}

fn mirrors() -> Vec<Case> {
    const K: &str = "SelfHostedModel";
    const VLLM: &str = "OpenAICompatible";
    let path = |name: &str| format!("spec.mirrors[].{name}");
    let with = |name: &'static str| move |value: Value| mirror_on(VLLM, &json!({ name: value }));
    let mut cases = places("mirrors", &|platform, fields| mirror_on(platform, &fields));
    cases.extend(number(K, &path("weight"), &with("weight"), 0, 1000));
    cases.extend(list("mirrors", 16, &|name| json!({"name": name, "endpoint": "http://two/v1"})));
    let endpoint = "endpoint of a mirror is required for OpenAICompatible and AzureOpenAI and not used for Bedrock and \
                    VertexAI";
    let key = "apiKeySecretRef of a mirror is not used for Bedrock and VertexAI: credentials belong in AIGateway \
               spec.providers";
    let special_fields = "connection of a mirror: region and endpoint are for Bedrock and VertexAI, assumeRole for \
                          Bedrock, apiVersion for AzureOpenAI, completionApi for OpenAICompatible";
    let plain = |platform: &str| mirror_on(platform, &json!({}));
    cases.push(rule(K, "spec", endpoint, mirror_on(VLLM, &json!({"endpoint": null})), plain(VLLM)));
    cases.push(rule(K, "spec", endpoint, mirror_on("Bedrock", &json!({"endpoint": "http://b"})), plain("Bedrock")));
    let with_key = json!({"apiKeySecretRef": {"name": "k"}});
    cases.push(rule(K, "spec", key, mirror_on("VertexAI", &with_key), mirror_on(VLLM, &with_key)));
    for (name, bad, good) in misplaced() {
        let fields = json!({"connection": {name: special(name)}});
        cases.push(rule(K, "spec", special_fields, mirror_on(bad, &fields), mirror_on(good, &fields)));
    }
    cases
}

fn fallbacks() -> Vec<Case> {
    const K: &str = "SelfHostedModel";
    let at_item = "spec.fallbacks[]";
    let path = |name: &str| format!("{at_item}.{name}");
    let vllm = |fields: Value| fallback_on("OpenAICompatible", &fields);
    let mut cases = places("fallbacks", &|platform, fields| fallback_on(platform, &fields));
    cases.extend(list("fallbacks", 8, &|name| json!({"name": name, "platform": "Bedrock", "identifier": "bedrock/m"})));
    for name in ["platform", "identifier"] {
        cases.push(case(K, &path(name), "required", vllm(json!({ name: null })), vllm(json!({}))));
    }
    cases.push(case(K, &path("platform"), "enum", vllm(json!({"platform": "Other"})), vllm(json!({}))));
    cases.push(case(
        K,
        &path("family"),
        "enum",
        vllm(json!({"family": "Other"})),
        vllm(json!({"family": "Embedding"})),
    ));
    cases.extend(prices(&path("price"), &|price| vllm(json!({ "price": price }))));
    let identifier = |value: Value| vllm(json!({ "identifier": value }));
    cases.extend(text(K, &path("identifier"), &identifier, "custom_openai/", 255));
    let prefix = "identifier of a fallback must start with its platform's prefix: bedrock/, custom_openai/, azure/ or \
                  vertex_ai/";
    for platform in ["Bedrock", "OpenAICompatible", "AzureOpenAI", "VertexAI"] {
        let wrong = fallback_on(platform, &json!({"identifier": "mistral"}));
        cases.push(rule(K, at_item, prefix, wrong, fallback_on(platform, &json!({}))));
    }
    let endpoint = "endpoint of a fallback is required for OpenAICompatible and AzureOpenAI and not used for Bedrock and \
                    VertexAI";
    let key = "apiKeySecretRef of a fallback is not used for Bedrock and VertexAI: credentials belong in AIGateway \
               spec.providers";
    let special_fields = "connection of a fallback: region and endpoint are for Bedrock and VertexAI, assumeRole for Bedrock, \
                          apiVersion for AzureOpenAI, completionApi for OpenAICompatible";
    cases.push(rule(K, at_item, endpoint, vllm(json!({"endpoint": null})), vllm(json!({}))));
    let bedrock = |fields: Value| fallback_on("Bedrock", &fields);
    cases.push(rule(K, at_item, endpoint, bedrock(json!({"endpoint": "http://b"})), bedrock(json!({}))));
    let with_key = || json!({"apiKeySecretRef": {"name": "k"}});
    cases.push(rule(K, at_item, key, bedrock(with_key()), vllm(with_key())));
    for (name, bad, good) in misplaced() {
        let fields = json!({"connection": {name: special(name)}});
        cases.push(rule(K, at_item, special_fields, fallback_on(bad, &fields), fallback_on(good, &fields)));
    }
    cases
}

/// What mirrors and fallbacks have in common.
fn places(list: &str, wrap: &dyn Fn(&str, Value) -> Value) -> Vec<Case> {
    const K: &str = "SelfHostedModel";
    const VLLM: &str = "OpenAICompatible";
    let path = |name: &str| format!("spec.{list}[].{name}");
    let with = |name: &'static str| move |value: Value| wrap(VLLM, json!({ name: value }));
    let message = "endpoint must be an http:// or https:// URL with a host, for example http://vllm.models.svc:8000/v1";
    let mut cases = http_url(K, &path("endpoint"), &with("endpoint"), message);
    cases.extend(text(K, &path("endpoint"), &with("endpoint"), "http://vllm/", 2048));
    cases.extend(reference(K, &path("apiKeySecretRef"), &with("apiKeySecretRef"), true));
    cases.push(case(K, &path("name"), "required", with("name")(Value::Null), with("name")(json!("a"))));
    for bad in ["", "Two", "a_b", "-a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        let good = json!("aaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        cases.extend(field(K, &path("name"), &with("name"), vec![("pattern", json!(bad), good)]));
    }
    cases.extend(connection(&path("connection"), &|platform, value| wrap(platform, json!({ "connection": value }))));
    cases
}

fn list(name: &str, most: usize, item: &dyn Fn(&str) -> Value) -> Vec<Case> {
    const K: &str = "SelfHostedModel";
    let path = format!("spec.{name}");
    let of = |names: Vec<String>| at(&path, names.iter().map(|name| item(name)).collect());
    let some = |count: usize| of((0..count).map(|n| format!("n{n}")).collect());
    vec![
        case(K, &path, "maxItems", some(most + 1), some(most)),
        case(K, &path, "duplicate", of(vec!["a".into(), "a".into()]), some(2)),
    ]
}

fn connection(path: &str, wrap: &dyn Fn(&str, Value) -> Value) -> Vec<Case> {
    const K: &str = "SelfHostedModel";
    const VLLM: &str = "OpenAICompatible";
    let full = |name: &str| format!("{path}.{name}");
    let with = |platform: &'static str, name: &'static str| move |value: Value| wrap(platform, json!({ name: value }));
    let region = with("Bedrock", "region");
    let mut cases = text(K, &full("region"), &region, "eu-west-", 64);
    cases.push(case(K, &full("region"), "pattern", region(json!("EU")), region(json!("eu-west-3"))));

    let endpoint = with("VertexAI", "endpoint");
    let message = "connection.endpoint must be an http:// or https:// URL with a host";
    cases.extend(text(K, &full("endpoint"), &endpoint, "https://vpce.example/", 2048));
    cases.extend(http_url(K, &full("endpoint"), &endpoint, message));

    let arn = "arn:aws-us-gov:iam::123456789012:role/";
    let role = |value: Value| wrap("Bedrock", json!({"assumeRole": {"roleArn": value}}));
    let id = |value: Value| wrap("Bedrock", json!({"assumeRole": {"roleArn": format!("{arn}r"), "externalId": value}}));
    let role_path = full("assumeRole.roleArn");
    let missing = wrap("Bedrock", json!({"assumeRole": {}}));
    cases.push(case(K, &role_path, "required", missing, role(json!(format!("{arn}duo")))));
    cases.push(case(K, &role_path, "maxLength", role(long(arn, 2049)), role(long(arn, 2048))));
    cases.push(case(K, &role_path, "pattern", role(json!("duo-role")), role(json!(format!("{arn}a/b")))));
    cases.push(case(K, &full("assumeRole.externalId"), "maxLength", id(long("", 1225)), id(long("", 1224))));
    cases.push(case(K, &full("assumeRole.externalId"), "pattern", id(json!("a b")), id(json!("duo:1/x"))));

    let sts =
        |value: Value| wrap("Bedrock", json!({"assumeRole": {"roleArn": format!("{arn}r"), "stsEndpoint": value}}));
    let sts_path = full("assumeRole.stsEndpoint");
    cases.extend(text(K, &sts_path, &sts, "https://sts.example/", 2048));
    cases.extend(http_url(K, &sts_path, &sts, "stsEndpoint must be an http:// or https:// URL with a host"));

    let version = with("AzureOpenAI", "apiVersion");
    cases.push(case(K, &full("apiVersion"), "pattern", version(json!("latest")), version(json!("2025-01-01-preview"))));
    let api = with(VLLM, "completionApi");
    cases.push(case(K, &full("completionApi"), "enum", api(json!("Fim")), api(json!("Suffix"))));
    let certificate = with(VLLM, "clientCertificateSecretRef");
    cases.extend(reference(K, &full("clientCertificateSecretRef"), &certificate, false));
    let bundle = with(VLLM, "caBundleRef");
    cases.extend(reference(K, &full("caBundleRef"), &bundle, true));
    let of_kind = |kind: &str| bundle(json!({"name": "ca", "kind": kind}));
    cases.push(case(K, &full("caBundleRef.kind"), "enum", of_kind("File"), of_kind("Secret")));
    let proxy = with(VLLM, "proxyUrl");
    cases.extend(proxy_url(K, &full("proxyUrl"), &proxy, "proxyUrl"));
    let head = "http://proxy.example.com/";
    cases.push(case(K, &full("proxyUrl"), "maxLength", proxy(long(head, 2049)), proxy(json!(""))));
    cases
}

fn calls() -> Vec<Case> {
    const K: &str = "SelfHostedModel";
    let mut cases = Vec::new();
    for (path, bounds, other_unit) in [
        ("timeouts.firstByte", ["0s", "1s", "600s", "10m1s"], "1500ms"),
        ("timeouts.overall", ["0s", "1s", "600s", "10m1s"], "1h"),
        ("retries.maxPause", ["0ms", "1ms", "60s", "60001ms"], "1m"),
        ("circuitBreaker.openFor", ["0s", "1s", "600s", "601s"], "100ms"),
        ("hedging.minDelay", ["0ms", "1ms", "60s", "61s"], "0.5s"),
        ("concurrency.queueTimeout", ["0s", "1s", "600s", "601s"], "100ms"),
    ] {
        let full = format!("spec.{path}");
        cases.extend(duration(K, &full, &|value| at(&full, value), path, bounds, other_unit));
    }
    for (path, least, most) in [
        ("spec.retries.attempts", 0, 10),
        ("spec.circuitBreaker.consecutiveFailures", 0, 1000),
        ("spec.hedging.percentile", 50, 99),
        ("spec.concurrency.maxRequests", 1, 100_000),
        ("spec.concurrency.maxQueued", 0, 100_000),
    ] {
        cases.extend(number(K, path, &|value| at(path, value), least, most));
    }
    cases.push(rule(
        K,
        "spec.timeouts",
        "timeouts.firstByte must not be longer than timeouts.overall",
        at("spec.timeouts", json!({"firstByte": "31s", "overall": "30s"})),
        at("spec.timeouts", json!({"firstByte": "1m", "overall": "60s"})),
    ));
    cases.extend(prices("spec.price", &|price| at("spec.price", price)));
    cases
}

fn prices(path: &str, wrap: Wrap<'_>) -> Vec<Case> {
    const K: &str = "SelfHostedModel";
    let mut cases = Vec::new();
    let price = |name: &'static str| {
        move |value: Value| {
            let mut price = json!({"inputPerMillionTokens": "3", "outputPerMillionTokens": "15"});
            price[name] = value;
            wrap(without_nulls(price))
        }
    };
    for name in
        ["inputPerMillionTokens", "outputPerMillionTokens", "cacheReadPerMillionTokens", "cacheWritePerMillionTokens"]
    {
        let path = format!("{path}.{name}");
        for bad in ["", "-1", "3,00", "3.0000001", "$3", "1e3", "1234567890"] {
            cases.extend(field(K, &path, &price(name), vec![("pattern", json!(bad), json!("123456789.123456"))]));
        }
        if !name.starts_with("cache") {
            cases.push(case(K, &path, "required", price(name)(Value::Null), price(name)(json!("0"))));
        }
    }
    cases
}
