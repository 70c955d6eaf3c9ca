//! No setting is accepted and ignored: every field of the CRDs changes what is rendered, and every field of the gateway's
//! configuration is rendered from some resource.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program has no API and ends where it cannot go on"
)]

use std::collections::BTreeSet;
use std::path::Path;

use duo_api::gateway::Implementation;
use duo_api::{AIGateway, SelfHostedModel};
use duo_core::desired::{self, AgentPlatform, Bundle, Credentials, KeyPair, Part};
use duo_core::implementation::refused_of_model;
use duo_core::inputs;
use duo_gateway_config as config;
use kube::ResourceExt;
use serde::Deserialize;
use serde_json::Value;

/// Fields that bear on GitLab, or on when the operator writes, and not on the gateway's objects.
const NOT_RENDERED: [&str; 11] = [
    "AIGateway spec.agentPlatform.secure",
    "AIGateway spec.agentPlatform.url",
    "AIGateway spec.deletionPolicy",
    "AIGateway spec.gitlab.tokenSecretRef",
    "AIGateway spec.managementPolicy",
    "AIGateway spec.suspend",
    "AIGateway spec.url",
    "SelfHostedModel spec.adoptionPolicy",
    "SelfHostedModel spec.deletionPolicy",
    "SelfHostedModel spec.displayName",
    "SelfHostedModel spec.suspend",
];
/// Fields that say which object it is, or that have one value only.
const FIXED: [&str; 5] = [
    "AIGateway spec.implementation",
    // its other value leaves nothing to compare; child_objects.rs looks at it
    "AIGateway spec.networkPolicy.enabled",
    "SelfHostedModel spec.gatewayRef",
    // names of the list's entries only name files, which follow from them
    "SelfHostedModel spec.mirrors[].name",
    "SelfHostedModel spec.fallbacks[].name",
];

fn documents() -> Vec<Value> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/every_setting.yaml")).unwrap();
    serde_yaml_ng::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap()).collect()
}

type Parts = (AIGateway, config::GatewayConfig, Credentials);

fn render(documents: &[Value]) -> Result<(AIGateway, Bundle, config::GatewayConfig), String> {
    let (gateway, config, credentials) = configuration(documents)?;
    let bundle = desired::bundle(&gateway, &config, &credentials, "default:1").map_err(|error| error.to_string())?;
    Ok((gateway, bundle, config))
}

/// The configuration before it is checked.
fn configuration(documents: &[Value]) -> Result<Parts, String> {
    let parsed = |error: serde_json::Error| error.to_string();
    let gateway: AIGateway = serde_json::from_value(documents[0].clone()).map_err(parsed)?;
    let models: Vec<SelfHostedModel> = documents[1..]
        .iter()
        .map(|model| serde_json::from_value(model.clone()))
        .collect::<Result<_, _>>()
        .map_err(parsed)?;
    let mut credentials = Credentials::default();
    let mut needed = inputs::of_gateway(&gateway.spec);
    for model in &models {
        needed.extend(inputs::of_all_places(&model.name_any(), &model.spec));
    }
    // Values tell where they come from, so that another reference is another value.
    for input in needed {
        let value = format!("{:?} {} {}", input.kind, input.object, input.key).into_bytes();
        credentials.files.insert(input.file, value);
    }
    if let Some(secret) = inputs::aws_secret(&gateway.spec) {
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            credentials.aws.insert(name.to_owned(), secret.name.clone().into_bytes());
        }
    }
    if let Some(secret) = inputs::headers_secret(&gateway.spec) {
        credentials.files.insert(inputs::TRACING_HEADERS.to_owned(), secret.name.clone().into_bytes());
    }
    if let Some(secret) = inputs::environment_secret(&gateway.spec) {
        credentials.environment.insert("MORE".to_owned(), secret.name.clone().into_bytes());
    }
    credentials.workflow = Some(KeyPair::default());
    let rendered = desired::rendered_models(&gateway.spec, &models, &credentials);
    let config = desired::gateway_config(&gateway, &rendered, &credentials, Some("0a1b"));
    Ok((gateway, config, credentials))
}

/// All that is applied, as JSON.
fn applied(bundle: Bundle) -> Value {
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
        config_hash: _,
    } = bundle;
    let agents = match agent_platform {
        Part::Apply(AgentPlatform { service, disruption_budget, network_policy, deployment }) => {
            Some((service, disruption_budget, network_policy, deployment))
        }
        Part::Off | Part::Keep => None,
    };
    let outside = (autoscaler, network_policy, ingress, http_route);
    let own = (service_account, config_map, secret, service, disruption_budget, deployment);
    serde_json::to_value((own, outside, agents)).unwrap()
}

#[test]
fn all_settings_together_are_a_valid_configuration() {
    let (_, bundle, config) = render(&without_contradictions()).unwrap();
    assert_eq!(config.models.len(), 4);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/every_setting.yaml");
    let rendered = format!(
        "{}---\n{}",
        bundle.config_map.clone().unwrap().data.unwrap().remove(config::CONFIG_FILE).unwrap(),
        serde_yaml_ng::to_string(&(
            &bundle.deployment,
            &bundle.service,
            bundle.secret.data.unwrap().keys().collect::<Vec<_>>()
        ))
        .unwrap()
    );
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &rendered).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == rendered, "{} differs: review, then UPDATE_GOLDEN=1\n{rendered}", path.display());
}

/// A FIPS endpoint and an endpoint of one's own exclude each other, as do a number of pods and an autoscaler; the CRD's
/// rules say so. Beside an image of its own the agent platform does not ask for GitLab's.
fn without_contradictions() -> Vec<Value> {
    let mut documents = documents();
    documents[0]["spec"]["providers"]["bedrock"].as_object_mut().unwrap().remove("fips");
    documents[0]["spec"].as_object_mut().unwrap().remove("replicas");
    documents[0]["spec"]["agentPlatform"].as_object_mut().unwrap().remove("image");
    documents
}

#[test]
fn every_field_of_the_crds_changes_what_is_applied() {
    let documents = documents();
    let whole = without_contradictions();
    let excluded: [&[&str]; 3] =
        [&["spec", "providers", "bedrock", "fips"], &["spec", "replicas"], &["spec", "agentPlatform", "image"]];
    let before = applied(render(&whole).unwrap().1);
    let mut ignored = BTreeSet::new();
    for (at, document) in documents.iter().enumerate() {
        let kind = document["kind"].as_str().unwrap();
        let mut leaves = Vec::new();
        leaves_of(&document["spec"], &mut vec!["spec".to_owned()], &mut leaves);
        for path in leaves {
            let name = format!("{kind} {}", printed(&path));
            if FIXED.iter().any(|fixed| name.starts_with(fixed)) || excluded.iter().any(|not| path == *not) {
                continue;
            }
            let mut changed = whole.clone();
            change(&mut changed[at], &path);
            match render(&changed) {
                Ok((_, bundle, _)) if applied(bundle.clone()) == before => {
                    ignored.insert(name);
                }
                // A value that the type or the gateway refuses is not ignored.
                Ok(_) | Err(_) => {}
            }
        }
    }
    let known: BTreeSet<String> = NOT_RENDERED.iter().map(|name| (*name).to_owned()).collect();
    let unexpected: Vec<_> =
        ignored.iter().filter(|name| !known.iter().any(|known| name.starts_with(known.as_str()))).collect();
    assert!(unexpected.is_empty(), "accepted and ignored: {unexpected:#?}");
    let fips_on = {
        let mut documents = without_contradictions();
        let bedrock = documents[0]["spec"]["providers"]["bedrock"].as_object_mut().unwrap();
        bedrock.remove("endpoint");
        bedrock.insert("fips".into(), true.into());
        render(&documents).unwrap().2
    };
    assert!(fips_on.providers.bedrock.unwrap().fips);
    let mut fixed = documents;
    fixed[0]["spec"].as_object_mut().unwrap().remove("autoscaling");
    fixed[0]["spec"]["providers"]["bedrock"].as_object_mut().unwrap().remove("fips");
    let with_image = {
        let mut documents = whole.clone();
        documents[0]["spec"]["agentPlatform"]["image"] = "another:1".into();
        applied(render(&documents).unwrap().1)
    };
    assert_ne!(with_image, before);
    let number = |documents: &[Value]| render(documents).unwrap().1.deployment.spec.unwrap().replicas;
    assert_eq!((number(&whole), number(&fixed)), (None, Some(3)));
}

/// The same for GitLab's own image: what it does not have is refused, and the field is named.
#[test]
fn every_field_changes_what_is_applied_of_gitlabs_image_or_is_refused() {
    let whole = without_contradictions();
    // Beside what every gateway has, each group of settings by itself.
    let spec = whole[0]["spec"].as_object().unwrap();
    let base = |fields: &[&str]| {
        let mut document = whole[0].clone();
        document["spec"] = Value::Object(
            spec.iter()
                .filter(|(name, _)| fields.contains(&name.as_str()))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect(),
        );
        document["spec"]["implementation"] = "GitLab".into();
        document["status"] = serde_json::json!({"gitlab": {"version": "19.4.1"}});
        vec![document]
    };
    let mut ignored = Vec::new();
    for name in spec.keys().filter(|name| *name != "implementation") {
        // The agent platform has an image of its own in the sample, and then gitlabImage is not looked at.
        let beside: &[&str] = if name == "gitlab" { &[] } else { &["gitlab"] };
        let with = base(&[&[name.as_str()], beside].concat());
        let mut leaves = Vec::new();
        leaves_of(&with[0]["spec"][name], &mut vec!["spec".to_owned(), name.clone()], &mut leaves);
        let Ok(before) = render(&with).map(|(_, bundle, _)| applied(bundle)) else { continue };
        for path in leaves {
            let mut changed = with.clone();
            change(&mut changed[0], &path);
            if render(&changed).is_ok_and(|(_, bundle, _)| applied(bundle) == before) {
                ignored.push(format!("AIGateway {}", printed(&path)));
            }
        }
    }
    // To let what is undeclared through is all that this image can do.
    let known: Vec<&str> = NOT_RENDERED.into_iter().chain(FIXED).chain(["AIGateway spec.undeclaredModels"]).collect();
    ignored.retain(|name| !known.iter().any(|known| name.starts_with(known)));
    assert!(ignored.is_empty(), "accepted and ignored: {ignored:#?}");

    let refused: Vec<&str> =
        spec.keys().filter(|name| render(&base(&["gitlab", name.as_str()])).is_err()).map(String::as_str).collect();
    assert_eq!(
        refused,
        ["firstByteTimeout", "providers", "limits", "tracing", "docsIndex", "currency"],
        "refused as a group; providers for their endpoint and stream of the guardrail"
    );
}

#[test]
fn every_setting_of_a_model_is_refused_beside_gitlabs_image_but_what_gitlab_itself_is_told() {
    let told = ["gatewayRef", "displayName", "platform", "family", "identifier", "endpoint", "apiKeySecretRef"];
    let ours = ["adoptionPolicy", "deletionPolicy", "suspend"];
    let mut model: Value = documents()[1].clone();
    model["spec"]["platform"] = "OpenAICompatible".into();
    model["spec"]["apiKeySecretRef"] = serde_json::json!({"name": "n", "key": "k"});
    let fields: Vec<String> = model["spec"].as_object().unwrap().keys().cloned().collect();
    let model: SelfHostedModel = serde_json::from_value(model).unwrap();
    let refused = refused_of_model(Implementation::GitLab, &model.spec);
    for field in fields.iter().map(String::as_str).filter(|field| !told.contains(field) && !ours.contains(field)) {
        assert!(refused.contains(&format!("spec.{field}")), "{field} is accepted and ignored");
    }
    assert!(refused_of_model(Implementation::Embedded, &model.spec).is_empty());
}

/// Paths of all values that hold no others.
fn leaves_of(value: &Value, path: &mut Vec<String>, into: &mut Vec<Vec<String>>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(name, child)| (name.clone(), child)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(at, child)| (at.to_string(), child)).collect(),
        _ => {
            into.push(path.clone());
            return;
        }
    };
    for (name, child) in children {
        path.push(name);
        leaves_of(child, path, into);
        path.pop();
    }
}

fn printed(path: &[String]) -> String {
    path.iter().fold(String::new(), |text, part| match part.parse::<usize>() {
        Ok(_) => format!("{text}[]"),
        Err(_) if text.is_empty() => part.clone(),
        Err(_) => format!("{text}.{part}"),
    })
}

/// Takes the value away, or makes it another one where it must be there.
fn change(document: &mut Value, path: &[String]) {
    let pointer = |path: &[String]| format!("/{}", path.join("/").replace('~', "~0"));
    let (last, parent) = path.split_last().unwrap();
    let mut without = document.clone();
    match without
        .pointer_mut(&format!("/{}", parent.iter().map(|part| part.replace('/', "~1")).collect::<Vec<_>>().join("/")))
    {
        Some(Value::Object(map)) => {
            map.remove(last);
        }
        Some(Value::Array(list)) => {
            list.remove(last.parse().unwrap());
        }
        other => panic!("{}: {other:?}", pointer(path)),
    }
    let reads = match without["kind"].as_str() {
        Some("AIGateway") => serde_json::from_value::<AIGateway>(without.clone()).is_ok(),
        _ => serde_json::from_value::<SelfHostedModel>(without.clone()).is_ok(),
    };
    if reads {
        *document = without;
        return;
    }
    let joined: String = path.iter().map(|part| format!("/{}", part.replace('/', "~1"))).collect();
    let value = document.pointer_mut(&joined).unwrap();
    *value = match value.take() {
        Value::String(text) => Value::String(format!("{text}x")),
        Value::Number(number) => (number.as_i64().unwrap() + 1).into(),
        Value::Bool(flag) => (!flag).into(),
        other => other,
    };
}

/// The sample above is complete: whoever adds a field to a CRD adds it there.
#[test]
fn the_sample_has_every_field_of_the_crds() {
    let documents = documents();
    let mut missing = Vec::new();
    for (kind, crd) in ["AIGateway", "SelfHostedModel"].into_iter().zip(duo_api::crds()) {
        let schema =
            serde_json::to_value(crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap())
                .unwrap();
        let mut fields = BTreeSet::new();
        fields_of(&schema["properties"]["spec"], "spec", &mut fields);
        let mut here = BTreeSet::new();
        for document in documents.iter().filter(|document| document["kind"] == kind) {
            paths_of(&document["spec"], "spec", &mut here);
        }
        missing.extend(fields.difference(&here).map(|field| format!("{kind} {field}")));
    }
    assert!(missing.is_empty(), "add to tests/every_setting.yaml: {missing:#?}");
}

fn fields_of(schema: &Value, path: &str, into: &mut BTreeSet<String>) {
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        fields_of(child, &path, into);
        into.insert(path);
    }
    if schema["items"].is_object() {
        fields_of(&schema["items"], &format!("{path}[]"), into);
    }
}

fn paths_of(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    into.insert(path.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(name, child)| paths_of(child, &format!("{path}.{name}"), into)),
        Value::Array(list) => list.iter().for_each(|child| paths_of(child, &format!("{path}[]"), into)),
        _ => {}
    }
}

#[test]
fn every_field_of_the_gateways_configuration_is_rendered() {
    let (mut there, mut rendered) = (BTreeSet::new(), BTreeSet::new());
    paths_of(&serde_json::to_value(whole_configuration()).unwrap(), "config", &mut there);
    paths_of(&serde_json::to_value(configuration(&documents()).unwrap().1).unwrap(), "config", &mut rendered);
    // GitLab's customer portal is for online instances, the sample's is offline.
    there.remove("config.gitlab.customerPortalUrl");
    // The documentation index is named in the pods' environment, beside its volume.
    there.remove("config.docsIndexFile");
    // Only while `tls` is switched: `core::listener` puts it there.
    there.remove("config.tls.acceptPlain");
    let missing: Vec<_> = there.difference(&rendered).collect();
    assert!(missing.is_empty(), "the operator never renders {missing:#?}");
}

/// Every field set. No `..`: a new field does not compile until it stands here, and then has to be rendered.
fn whole_configuration() -> config::GatewayConfig {
    let text = || Some("x".to_owned());
    let files = || config::CertificateFiles { certificate_file: "c".into(), key_file: "k".into() };
    let connection = || config::Connection {
        region: text(),
        endpoint: text(),
        assume_role: Some(config::AssumeRole { role_arn: "r".into(), external_id: text(), sts_endpoint: text() }),
        api_version: text(),
        completion_api: Some(config::CompletionApi::Suffix),
        client_certificate: Some(files()),
        ca_bundle_file: text(),
        proxy_url: text(),
    };
    let price = || {
        Some(config::Price {
            input_per_million: "1".into(),
            output_per_million: "1".into(),
            cache_read_per_million: text(),
            cache_write_per_million: text(),
        })
    };
    let allowance = || {
        Some(config::Allowance {
            requests_per_minute: Some(1),
            tokens_per_minute: Some(1),
            concurrent_requests: Some(1),
        })
    };
    config::GatewayConfig {
        gitlab: config::GitLab { url: "u".into(), api_url: text(), customer_portal_url: text(), instance_id: text() },
        ca_bundle_file: text(),
        undeclared_models: config::UndeclaredModels::Allow,
        providers: config::Providers {
            bedrock: Some(config::Bedrock {
                region: "r".into(),
                endpoint: text(),
                credentials: true,
                fips: true,
                guardrail: Some(config::Guardrail {
                    identifier: "i".into(),
                    version: "1".into(),
                    trace: Some(config::GuardrailTrace::Full),
                    stream_processing: Some(config::GuardrailStream::Async),
                }),
            }),
            vertex_ai: Some(config::VertexAi {
                project: "p".into(),
                location: "l".into(),
                endpoint: text(),
                credentials_file: text(),
            }),
        },
        models: vec![config::Model {
            name: "n".into(),
            family: "f".into(),
            identifier: "i".into(),
            endpoint: text(),
            api_key_file: text(),
            connection: connection(),
            weight: Some(1),
            replicas: vec![config::Replica {
                endpoint: text(),
                api_key_file: text(),
                weight: Some(1),
                connection: connection(),
            }],
            fallbacks: vec![config::Fallback {
                identifier: "i".into(),
                family: text(),
                endpoint: text(),
                api_key_file: text(),
                connection: connection(),
                price: price(),
            }],
            timeouts: Some(config::Timeouts { first_byte_seconds: Some(1), overall_seconds: Some(1) }),
            retries: Some(config::Retries { attempts: Some(1), max_pause_milliseconds: Some(1) }),
            circuit_breaker: Some(config::CircuitBreaker { consecutive_failures: Some(1), open_seconds: Some(1) }),
            hedging: Some(config::Hedging { percentile: Some(90), min_delay_milliseconds: Some(1) }),
            concurrency: Some(config::Concurrency {
                max_requests: Some(1),
                max_queued: Some(1),
                queue_seconds: Some(1),
            }),
            prompt_caching: Some(false),
            price: price(),
        }],
        request_timeout_seconds: Some(1),
        first_byte_timeout_seconds: Some(1),
        signing_key_file: text(),
        validation_key_file: text(),
        log_level: Some(config::LogLevel::Debug),
        drain_seconds: Some(1),
        tls: Some(config::ListenerTls { certificate: files(), accept_plain: true }),
        limits: Some(config::Limits { per_user: allowance(), per_instance: allowance() }),
        proxy: Some(config::Proxy { https_proxy: text(), http_proxy: text(), no_proxy: vec!["x".into()] }),
        tracing: Some(config::Tracing { otlp_endpoint: "e".into(), headers_file: text(), sample_per_mille: Some(1) }),
        currency: text(),
        prompt_logging: true,
        docs_index_file: text(),
    }
}

#[test]
fn a_place_without_its_key_is_left_out_and_the_model_is_served() {
    let (gateway, _, mut credentials) = configuration(&without_contradictions()).unwrap();
    credentials.files.remove("model.codestral_mirror_two_tls.key").unwrap();
    credentials.files.remove("model.claude_fallback_vllm.key").unwrap();
    let models: Vec<SelfHostedModel> =
        documents()[1..].iter().map(|model| serde_json::from_value(model.clone()).unwrap()).collect();
    let rendered = desired::rendered_models(&gateway.spec, &models, &credentials);
    let config = desired::gateway_config(&gateway, &rendered, &credentials, None);
    let model = |name: &str| config.models.iter().find(|model| model.name == name).unwrap();
    assert!(model("codestral").replicas.is_empty());
    let left: Vec<&str> = model("claude").fallbacks.iter().map(|item| item.identifier.as_str()).collect();
    assert_eq!(left, ["azure/gpt-4o", "bedrock/anthropic.claude-3-haiku-20240307-v1:0"]);

    // Without the key of its own endpoint a model is not served at all.
    credentials.files.remove("model.codestral.key").unwrap();
    let rendered = desired::rendered_models(&gateway.spec, &models, &credentials);
    assert!(!rendered.iter().any(|model| model.name_any() == "codestral"));
}

/// Whatever a field refers to is watched: its change wakes whoever refers to it.
#[test]
fn every_reference_is_known() {
    for document in documents() {
        let kind = document["kind"].as_str().unwrap().to_owned();
        let known: BTreeSet<String> = if kind == "AIGateway" {
            let gateway: AIGateway = serde_json::from_value(document.clone()).unwrap();
            inputs::gateway_references(&gateway.spec).into_iter().map(|(_, name)| name).collect()
        } else {
            let model: SelfHostedModel = serde_json::from_value(document.clone()).unwrap();
            inputs::model_references(&model.spec).into_iter().map(|(_, name)| name).collect()
        };
        let mut found = Vec::new();
        references_of(&document["spec"], &mut found);
        for name in found {
            assert!(known.contains(&name), "{kind}: nobody watches {name}");
        }
    }
}

fn references_of(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                let refers = name.to_lowercase().ends_with("secretref") || name == "caBundleRef";
                if let (true, Some(object)) = (refers, child["name"].as_str()) {
                    into.push(object.to_owned());
                }
                references_of(child, into);
            }
        }
        Value::Array(list) => list.iter().for_each(|child| references_of(child, into)),
        _ => {}
    }
}
