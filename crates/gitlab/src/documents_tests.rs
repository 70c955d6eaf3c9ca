//! The documents against GitLab's schema in both shapes, judged by an independent GraphQL engine.

use std::collections::HashSet;

use apollo_compiler::{ExecutableDocument, Schema, introspection, request::coerce_variable_values, validation::Valid};
use serde_json::{Value, json};

use super::*;
use crate::{
    graphql::request_body,
    introspection::{Answer, INTROSPECTION_LIMIT, Summary, read},
    schema::parse_version,
    token::Token,
    types::{ApiToken, ModelInput, ModelProvider, SettingsInput},
    write::{model_input, settings_input},
};

const NEW: &str = include_str!("../../testkit/sim/schema/gitlab-19.5.graphql");
const OLD: &str = include_str!("../../testkit/sim/schema/gitlab-18.9.graphql");

/// GitLab's limit of a query's text, in characters.
const QUERY_LIMIT: usize = 10_000;

fn sdl(text: &str) -> Valid<Schema> {
    Schema::parse_and_validate(text, "schema.graphql").unwrap_or_else(|e| panic!("{}", e.errors))
}

/// The old schema as it was before a field of the settings came.
fn older(fields: &[&str]) -> Valid<Schema> {
    let keep = |line: &&str| !fields.iter().any(|f| line.trim_start().starts_with(&format!("{f}:")));
    sdl(&OLD.lines().filter(keep).collect::<Vec<_>>().join("\n"))
}

/// Lets the engine answer our introspection query, and reads the answer as a client does.
fn introspected(schema: &Valid<Schema>) -> Summary {
    let document = ExecutableDocument::parse_and_validate(schema, INTROSPECTION.plain(), "q.graphql").unwrap();
    let operation = document.operations.get(Some("IntrospectionQuery")).unwrap();
    let variables = coerce_variable_values(schema, operation, &Default::default()).unwrap();
    let implementers = schema.implementers_map();
    let answer = introspection::partial_execute(schema, &implementers, &document, operation, &variables).unwrap();
    let json = serde_json::to_vec(&answer).unwrap();
    match read(json.as_slice(), INTROSPECTION_LIMIT) {
        Ok(Answer::Schema(summary)) => summary,
        Ok(Answer::Refused(_)) => panic!("refused: {}", String::from_utf8_lossy(&json)),
        Err(e) => panic!("{e:?}"),
    }
}

fn capabilities(schema: &Valid<Schema>, version: &str) -> Capabilities {
    Capabilities::from_summary(parse_version(version).unwrap(), &introspected(schema))
}

fn problem(schema: &Valid<Schema>, text: &str) -> Option<String> {
    ExecutableDocument::parse_and_validate(schema, text, "query.graphql").err().map(|e| e.errors.to_string())
}

#[test]
fn introspection_tells_the_two_shapes_apart() {
    let new = capabilities(&sdl(NEW), "19.5.0");
    assert!(new.has_model_provider && !new.endpoint_required && new.timeout_setting && new.agent_platform_url);
    assert!(new.agent_platform_secure);
    assert!(new.families.contains("qwen") && new.features.contains("security_review") && new.self_hosted_models);
    let old = capabilities(&sdl(OLD), "18.9.0");
    assert!(!old.has_model_provider && old.endpoint_required && old.timeout_setting && old.agent_platform_url);
    assert!(!old.agent_platform_secure);
    assert!(!old.families.contains("qwen") && old.families.contains("claude_3") && old.self_hosted_models);
    assert_eq!((old.features.len(), new.features.len()), (18, 25));
}

#[test]
fn trap_experiments_are_marked_deprecated_in_gitlabs_schema_and_are_found_nevertheless() {
    let deprecated = |text: &str| {
        let mark = |line: &str| match line.trim_start() {
            "CLAUDE_3" | "DUO_CHAT" | "aiGatewayTimeoutSeconds: Int" | "duoAgentPlatformServiceUrl: String" => {
                format!("{line} @deprecated(reason: \"Status: Experiment.\")")
            }
            _ => line.to_owned(),
        };
        sdl(&text.lines().map(mark).collect::<Vec<_>>().join("\n"))
    };
    for (text, version) in [(NEW, "19.5.0"), (OLD, "18.9.0")] {
        assert_eq!(capabilities(&deprecated(text), version), capabilities(&sdl(text), version));
    }
}

#[test]
fn what_is_assumed_without_introspection_is_what_introspection_says() {
    for (text, version) in [(NEW, "19.5.0"), (OLD, "18.9.0-pre")] {
        let asked = capabilities(&sdl(text), version);
        let assumed = Capabilities::from_version(parse_version(version).unwrap(), true, None);
        assert_eq!(Capabilities { source: asked.source, ..assumed }, asked, "{version}");
    }
}

#[test]
fn every_document_fits_the_schema_it_is_rendered_for() {
    let schemas = [
        (sdl(NEW), "19.5.0"),
        (sdl(OLD), "18.9.0"),
        (older(&["aiGatewayTimeoutSeconds"]), "18.6.0"),
        (older(&["aiGatewayTimeoutSeconds", "duoAgentPlatformServiceUrl"]), "18.3.0"),
    ];
    for (schema, version) in &schemas {
        let capabilities = capabilities(schema, version);
        for document in ALL.iter().filter(|d| **d != SHAPE_PROBE) {
            let text = document.render(&capabilities);
            assert_eq!(problem(schema, &text), None, "{} on {version}:\n{text}", document.operation);
        }
    }
}

#[test]
fn documents_of_the_newer_shape_are_refused_by_the_older_schema() {
    // proves that the fragments differ where the schemas do, and that the probe tells the shapes apart
    let (new, old) = (sdl(NEW), sdl(OLD));
    let newer = capabilities(&new, "19.5.0");
    for document in [OBSERVE, MODELS_PAGE, MODEL_CREATE, MODEL_UPDATE, SHAPE_PROBE] {
        let problem = problem(&old, &document.render(&newer)).unwrap_or_else(|| panic!("{}", document.operation));
        assert!(problem.contains("provider"), "{problem}");
    }
    assert_eq!(problem(&new, SHAPE_PROBE.plain()), None);
    let without_timeout = older(&["aiGatewayTimeoutSeconds"]);
    assert!(problem(&without_timeout, &OBSERVE.render(&capabilities(&old, "18.9.0"))).is_some());
}

#[test]
fn variables_fit_their_types_in_both_shapes() {
    let model = |endpoint: Option<&str>, api_token| ModelInput {
        name: "Mixtral 8x7B".into(),
        family: "mixtral".into(),
        endpoint: endpoint.map(str::to_owned),
        identifier: Some("bedrock/mistral.mixtral-8x7b-instruct-v0:1".into()),
        provider: ModelProvider::Bedrock,
        api_token,
    };
    let url = Some("http://duo.gitlab-duo.svc:5052".to_owned());
    let settings = [
        SettingsInput { ai_gateway_url: Some(url), timeout_seconds: Some(60), ..Default::default() },
        SettingsInput { ai_gateway_url: Some(None), agent_platform_url: Some(None), ..Default::default() },
        SettingsInput { agent_platform_secure: Some(false), ..Default::default() },
    ];
    for (text, version) in [(NEW, "19.5.0"), (OLD, "18.9.0")] {
        let schema = sdl(text);
        let capabilities = capabilities(&schema, version);
        let mut cases: Vec<(Document, Value)> = vec![(MODEL_DELETE, json!({ "id": ID }))];
        for token in [ApiToken::Keep, ApiToken::Clear, ApiToken::Set(Token::new("key"))] {
            for endpoint in [None, Some("http://vllm:8000/v1")] {
                let fields = model_input(&model(endpoint, token.clone()), &capabilities);
                let mut update = fields.clone();
                update.insert("id".into(), ID.into());
                cases.push((MODEL_UPDATE, update.into()));
                cases.push((MODEL_CREATE, fields.clone().into()));
                cases.push((CONNECTION_CHECK, fields.into()));
            }
        }
        cases.extend(settings.iter().map(|s| (SETTINGS_UPDATE, settings_input(s, &capabilities).into())));
        for (document, input) in cases {
            assert_eq!(coercion_problem(&schema, document, &capabilities, &input), None, "{version} {input}");
        }
    }
}

const ID: &str = "gid://gitlab/Ai::SelfHostedModel/1";

fn coercion_problem(schema: &Valid<Schema>, document: Document, c: &Capabilities, input: &Value) -> Option<String> {
    let parsed = ExecutableDocument::parse_and_validate(schema, document.render(c), "q.graphql").unwrap();
    let operation = parsed.operations.get(Some(document.operation)).unwrap();
    let values = serde_json::from_value(json!({ "input": input })).unwrap();
    coerce_variable_values(schema, operation, &values).err().map(|e| e.message().to_string())
}

#[test]
fn the_other_shapes_model_input_is_refused() {
    let (new, old) = (sdl(NEW), sdl(OLD));
    let (newer, older) = (capabilities(&new, "19.5.0"), capabilities(&old, "18.9.0"));
    let model = ModelInput {
        name: "m".into(),
        family: "claude_3".into(),
        endpoint: None,
        identifier: None,
        provider: ModelProvider::Bedrock,
        api_token: ApiToken::Keep,
    };
    let input = |c| Value::from(model_input(&model, c));
    assert!(coercion_problem(&old, MODEL_CREATE, &older, &input(&newer)).is_some());
    assert!(coercion_problem(&new, MODEL_CREATE, &newer, &input(&older)).is_some());
}

#[test]
fn trap_valid_models_is_computed_when_its_name_occurs_anywhere_in_the_text() {
    let capabilities = capabilities(&sdl(NEW), "19.5.0");
    for document in ALL {
        let text = document.render(&capabilities);
        for word in ["validModels", "validGitlabModels", "#"] {
            assert!(!text.contains(word), "{} contains {word}", document.operation);
        }
    }
}

#[test]
fn trap_an_administrator_reads_api_tokens_in_clear_so_they_are_never_asked_for() {
    let capabilities = capabilities(&sdl(NEW), "19.5.0");
    for document in ALL {
        assert!(!document.render(&capabilities).contains("apiToken"), "{}", document.operation);
    }
}

#[test]
fn texts_stay_far_below_the_query_limit_and_carry_their_operations_name() {
    let capabilities = capabilities(&sdl(NEW), "19.5.0");
    let names: HashSet<_> = ALL.iter().map(|d| d.operation).collect();
    assert_eq!(names.len(), ALL.len());
    for document in ALL {
        let text = document.render(&capabilities);
        assert!(text.len() < QUERY_LIMIT / 4, "{}", document.operation);
        assert!(text.contains(&format!(" {}", document.operation)), "{}", document.operation);
        let body: Value =
            serde_json::from_slice(&request_body(document.operation, &text, &json!({})).unwrap()).unwrap();
        assert_eq!(body["operationName"], document.operation);
    }
}

#[test]
fn trap_introspection_is_refused_under_another_operation_name() {
    assert_eq!(INTROSPECTION.operation, "IntrospectionQuery");
}
