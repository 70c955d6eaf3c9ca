//! The schema: what is refused before anything runs, introspection, limits, versions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]

mod gitlab_support;

use duo_sim::gitlab::Version;
use duo_sim::gitlab::state::ADMIN_TOKEN;
use gitlab_support::*;
use serde_json::json;

#[tokio::test]
async fn an_unknown_field_is_a_top_level_error_and_nothing_runs() {
    let gitlab = gitlab(NEW).await;
    let reply = admin(&gitlab, "{ metadata { version } nonsense }", json!({})).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.error(), "Field 'nonsense' doesn't exist on type 'Query'");
    assert_eq!(reply.body["errors"][0]["extensions"]["code"], "undefinedField");
    assert!(reply.body.get("data").is_none());
}

#[tokio::test]
async fn the_old_shape_has_no_provider_and_requires_an_endpoint() {
    let gitlab = gitlab(OLD).await;
    let reply = admin(&gitlab, CREATE, json!({"input": bedrock("a")})).await;
    assert!(
        reply.error().contains("provider (Field is not defined on AiSelfHostedModelCreateInput)"),
        "{}",
        reply.error()
    );
    assert!(reply.error().contains("endpoint (Expected value to not be null)"), "{}", reply.error());
    let input = json!({"name": "a", "model": "CLAUDE_3", "endpoint": "http://bedrockselfhostedmodel.com"});
    create(&gitlab, input).await;
}

#[tokio::test]
async fn the_new_shape_requires_a_provider() {
    let gitlab = gitlab(NEW).await;
    let input = json!({"name": "a", "model": "CLAUDE_3", "identifier": "bedrock/x"});
    let reply = admin(&gitlab, CREATE, json!({"input": input})).await;
    assert!(reply.error().contains("was provided invalid value for provider"), "{}", reply.error());
    assert!(gitlab.state().models.is_empty());
}

#[tokio::test]
async fn a_wrong_enum_value_is_refused_in_variables_and_in_literals() {
    let gitlab = gitlab(NEW).await;
    let mut input = bedrock("a");
    input["model"] = json!("CLAUDE_9");
    let reply = admin(&gitlab, CREATE, json!({"input": input})).await;
    assert!(reply.error().contains("Expected \"CLAUDE_9\" to be one of"), "{}", reply.error());
    let literal =
        "mutation { aiSelfHostedModelCreate(input: {name: \"a\", model: CLAUDE_9, provider: BEDROCK}) { errors } }";
    let reply = admin(&gitlab, literal, json!({})).await;
    assert!(reply.error().contains("CLAUDE_9"), "{}", reply.error());
    assert!(gitlab.state().models.is_empty());
}

#[tokio::test]
async fn trap_a_variable_that_does_not_fit_echoes_the_api_token() {
    let gitlab = gitlab(NEW).await;
    let mut input = custom("a", "GPT");
    input["apiToken"] = json!("very-secret");
    input["model"] = json!("NOPE");
    let reply = admin(&gitlab, CREATE, json!({"input": input})).await;
    assert_eq!(reply.body["errors"][0]["extensions"]["value"]["apiToken"], "very-secret");
    let entry = gitlab.journal().since(0).pop().unwrap();
    assert!(entry.api_token_sent);
    assert!(!serde_json::to_string(&entry).unwrap().contains("very-secret"), "the journal masks it");
}

#[tokio::test]
async fn an_ill_formed_id_is_refused_as_a_variable() {
    let gitlab = gitlab(NEW).await;
    for (id, words) in [("17", "is not a valid GitLab ID"), ("gid://gitlab/Issue/1", "does not represent an instance")]
    {
        let reply = admin(&gitlab, DELETE, json!({"input": {"id": id}})).await;
        assert!(reply.error().contains("was provided invalid value for id"), "{}", reply.error());
        assert!(reply.error().contains(words), "{}", reply.error());
    }
}

#[tokio::test]
async fn trap_every_introspection_query_gets_the_whole_stored_schema() {
    let gitlab = gitlab(NEW).await;
    let small = "query IntrospectionQuery { __type(name: \"AiFeatures\") { name } }";
    let body = json!({"query": small, "operationName": "IntrospectionQuery"});
    let reply = post(&gitlab, Some(ADMIN_TOKEN), body).await;
    let types = reply.data("/__schema/types").as_array().unwrap();
    let input = types.iter().find(|ty| ty["name"] == "AiSelfHostedModelCreateInput").unwrap();
    assert!(input["inputFields"].as_array().unwrap().iter().any(|field| field["name"] == "provider"));
    assert!(types.iter().any(|ty| ty["name"] == "UnrelatedType2"));
    assert!(!reply.body.to_string().contains("glAbsent"), "the helper field is not published");
}

#[tokio::test]
async fn trap_introspection_is_refused_under_another_operation_name() {
    let gitlab = gitlab(NEW).await;
    let query = "query Shape { __schema { queryType { name } } }";
    let reply = post(&gitlab, Some(ADMIN_TOKEN), json!({"query": query, "operationName": "Shape"})).await;
    assert_eq!(reply.status, 422);
    let reply = post(&gitlab, Some(ADMIN_TOKEN), json!({"query": query})).await;
    assert_eq!(reply.data("/__schema/queryType/name"), "Query");
}

#[tokio::test]
async fn introspection_can_be_off() {
    let gitlab = gitlab(NEW).await;
    gitlab.edit(|state| state.instance.introspection = false);
    let reply = admin(&gitlab, "query IntrospectionQuery { __schema { types { name } } }", json!({})).await;
    assert_eq!(reply.error(), "Field '__schema' doesn't exist on type 'Query'");
}

#[tokio::test]
async fn the_introspection_answer_is_as_large_as_a_real_instances_by_default() {
    let gitlab = duo_sim::gitlab::start(duo_sim::gitlab::Config::default()).await.unwrap();
    let reply = admin(&gitlab, "query IntrospectionQuery { __schema { types { name } } }", json!({})).await;
    assert!(reply.body.to_string().len() > 2_000_000);
}

#[tokio::test]
async fn a_field_marked_newer_by_gl_introduced_reads_as_null() {
    let query = "{ aiSelfHostedModels { nodes { name provider @gl_introduced(version: \"19.0.0\") } } \
                  duoSettings { secure: selfHostedDuoAgentPlatformServiceSecure @gl_introduced(version: \"19.0.0\") updatedAt } }";
    let old = gitlab(OLD).await;
    create(&old, json!({"name": "a", "model": "GPT", "endpoint": "http://a.example.com/v1"})).await;
    let reply = admin(&old, query, json!({})).await;
    assert_eq!(reply.data("/aiSelfHostedModels/nodes/0"), &json!({"name": "a", "provider": null}));
    assert_eq!(reply.data("/duoSettings/secure"), &json!(null));
    let new = gitlab(NEW).await;
    create(&new, custom("a", "GPT")).await;
    let reply = admin(&new, query, json!({})).await;
    assert_eq!(reply.data("/aiSelfHostedModels/nodes/0"), &json!({"name": "a", "provider": "API"}));
    assert_eq!(reply.data("/duoSettings/secure"), &json!(true));
}

#[tokio::test]
async fn releases_lack_what_came_later() {
    let cases = [
        (Version::new(17, 10, 0), "duoCoreFeaturesEnabled", false),
        (Version::new(18, 3, 0), "duoAgentPlatformServiceUrl", false),
        (Version::new(18, 4, 0), "duoAgentPlatformServiceUrl", true),
        (Version::new(18, 6, 0), "aiGatewayTimeoutSeconds", false),
        (Version::new(18, 7, 0), "aiGatewayTimeoutSeconds", true),
        (Version::new(18, 9, 0), "duoCliEnabled", false),
        (Version::new(19, 5, 0), "duoCliEnabled", true),
    ];
    for (version, field, there) in cases {
        let gitlab = gitlab(version).await;
        let reply = admin(&gitlab, &format!("{{ duoSettings {{ {field} }} }}"), json!({})).await;
        assert_eq!(reply.body.get("errors").is_none(), there, "{version} {field}: {}", reply.body);
    }
    let gitlab = gitlab(Version::new(18, 2, 0)).await;
    let reply =
        admin(&gitlab, ASSIGN, json!({"input": {"features": ["REVIEW_MERGE_REQUEST"], "provider": "DISABLED"}})).await;
    assert!(reply.error().contains("REVIEW_MERGE_REQUEST"), "{}", reply.error());
}

#[tokio::test]
async fn a_query_over_10_000_characters_is_422() {
    let gitlab = gitlab(NEW).await;
    let query = format!("{{ metadata {{ version }} }} #{}", "x".repeat(10_000));
    let reply = admin(&gitlab, &query, json!({})).await;
    assert_eq!((reply.status, reply.error()), (422, "Query too large"));
}

#[tokio::test]
async fn a_complex_query_is_refused() {
    let gitlab = gitlab(NEW).await;
    let fields: Vec<String> = (0..60).map(|n| format!("a{n}: aiSelfHostedModels {{ nodes {{ id name }} }}")).collect();
    let reply = admin(&gitlab, &format!("{{ {} }}", fields.join(" ")), json!({})).await;
    assert!(reply.error().contains("exceeds max complexity of 300"), "{}", reply.error());
}

#[tokio::test]
async fn bad_variables_and_bodies_are_422() {
    let gitlab = gitlab(NEW).await;
    let reply = post(&gitlab, Some(ADMIN_TOKEN), json!({"query": "{ metadata { version } }", "variables": [1]})).await;
    assert_eq!(reply.status, 422);
    let reply = post(&gitlab, Some(ADMIN_TOKEN), json!({"no": "query"})).await;
    assert_eq!(reply.status, 422);
}

#[tokio::test]
async fn requests_are_recorded_with_the_verdict_for_a_second_engine() {
    let path = std::env::temp_dir().join(format!("duo-sim-record-{}.jsonl", std::process::id()));
    let config = duo_sim::gitlab::Config { record: Some(path.clone()), ..config(OLD) };
    let gitlab = duo_sim::gitlab::start(config).await.unwrap();
    admin(&gitlab, "{ metadata { version other: version @gl_introduced(version: \"19.0.0\") } }", json!({"a": 1}))
        .await;
    admin(&gitlab, "{ nonsense }", json!({})).await;
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verdicts: Vec<_> = lines.iter().map(|line| line["accepted"].as_bool().unwrap()).collect();
    assert_eq!(verdicts, [true, false], "{text}");
    assert_eq!(lines[0]["schema"], "18.9");
    assert_eq!(lines[0]["variables"], json!({"a": 1}));
    let query = lines[0]["query"].as_str().unwrap();
    assert!(query.contains("other: __typename") && !query.contains("gl_introduced"), "{query}");
}

#[tokio::test]
async fn a_deep_query_is_refused() {
    let gitlab = gitlab(NEW).await;
    let mut query = "id".to_owned();
    for _ in 0..6 {
        query = format!("featureSettings(first: 1) {{ nodes {{ selfHostedModel {{ {query} }} }} }}");
    }
    let reply =
        admin(&gitlab, &format!("{{ aiSelfHostedModels(first: 1) {{ nodes {{ {query} }} }} }}"), json!({})).await;
    assert_eq!(reply.error(), "Query has depth of 21, which exceeds max depth of 20");
}
