//! Cases of the settings that the gateway's behaviour depends on, of AIGateway and of SelfHostedModel.

use serde_json::{Value, json};

use super::{Case, at, limit, long, rule};

/// Puts a value into a valid declaration.
type Wrap<'a> = &'a dyn Fn(Value) -> Value;

/// A limit of a field with whole patches.
fn case(kind: &'static str, path: &str, keyword: &str, bad: Value, good: Value) -> Case {
    let mut case = limit(kind, path, keyword, Value::Null, Value::Null);
    (case.bad, case.good) = (bad, good);
    case
}

/// Field, what is refused and what is admitted, each as keyword, bad and good value of the field.
fn field(kind: &'static str, path: &str, wrap: Wrap<'_>, limits: Vec<(&str, Value, Value)>) -> Vec<Case> {
    limits.into_iter().map(|(keyword, bad, good)| case(kind, path, keyword, wrap(bad), wrap(good))).collect()
}

fn number(kind: &'static str, path: &str, wrap: Wrap<'_>, least: i64, most: i64) -> Vec<Case> {
    let limits = vec![("minimum", json!(least - 1), json!(least)), ("maximum", json!(most + 1), json!(most))];
    field(kind, path, wrap, limits)
}

/// A text of 1 to `most` characters that begins with `head`.
fn text(kind: &'static str, path: &str, wrap: Wrap<'_>, head: &str, most: usize) -> Vec<Case> {
    let good = || long(head, head.len().max(1));
    field(
        kind,
        path,
        wrap,
        vec![("minLength", json!(""), good()), ("maxLength", long(head, most + 1), long(head, most))],
    )
}

/// Bounds of a duration: `below` and `above` are refused by the rule, `other_unit` by the pattern.
fn duration(
    kind: &'static str,
    path: &str,
    wrap: Wrap<'_>,
    name: &str,
    bounds: [&str; 4],
    other_unit: &str,
) -> Vec<Case> {
    let [below, least, most, above] = bounds;
    let message = format!("{name} must be between {least} and {most}");
    let mut cases = field(
        kind,
        path,
        wrap,
        vec![
            ("minLength", json!("s"), json!(most)),
            ("maxLength", json!("00000000000000005s"), json!("000000000000005s")),
            ("pattern", json!(other_unit), json!(least)),
        ],
    );
    cases.push(rule(kind, path, &message, wrap(json!(above)), wrap(json!(most))));
    if below != least {
        cases.push(rule(kind, path, &message, wrap(json!(below)), wrap(json!(least))));
    }
    cases
}

fn http_url(kind: &'static str, path: &str, wrap: Wrap<'_>, message: &str) -> Vec<Case> {
    ["collector:4318", "ftp://collector", "https:///x"]
        .map(|bad| rule(kind, path, message, wrap(json!(bad)), wrap(json!("https://collector.example:4318/x"))))
        .into()
}

fn proxy_url(kind: &'static str, path: &str, wrap: Wrap<'_>, name: &str) -> Vec<Case> {
    let message = format!(
        "{name} must be an http:// or https:// URL with a host and without user and password, for example \
         http://proxy.example.com:3128"
    );
    ["proxy:3128", "socks5://proxy:1080", "http://user:pass@proxy:3128"]
        .map(|bad| rule(kind, path, &message, wrap(json!(bad)), wrap(json!("http://proxy.example.com:3128"))))
        .into()
}

/// Name (and key) of a reference that is the value itself.
fn reference(kind: &'static str, path: &str, wrap: Wrap<'_>, has_key: bool) -> Vec<Case> {
    let name = |value: Value| wrap(json!({ "name": value }));
    let mut cases = text(kind, &format!("{path}.name"), &name, "", 253);
    cases.push(case(kind, &format!("{path}.name"), "required", wrap(json!({})), wrap(json!({"name": "a"}))));
    if has_key {
        let key = |value: Value| wrap(json!({"name": "a", "key": value}));
        cases.extend(text(kind, &format!("{path}.key"), &key, "", 253));
    }
    cases
}

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
    super::overlay(&mut spec, fields);
    json!({ "spec": spec })
}

fn mirror_on(platform: &str, fields: &Value) -> Value {
    let mut mirror = json!({"name": "two", "endpoint": on(platform)["endpoint"]});
    super::overlay(&mut mirror, fields);
    spec_on(platform, &json!({"mirrors": [without_nulls(mirror)]}))
}

fn fallback_on(platform: &str, fields: &Value) -> Value {
    let mut fallback = on(platform);
    fallback["name"] = json!("other");
    super::overlay(&mut fallback, fields);
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
