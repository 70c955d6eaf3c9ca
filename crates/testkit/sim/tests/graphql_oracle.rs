//! The GraphQL oracle itself: it takes what GitLab's schema takes and says what it does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};

fn judge(requests: &[Value]) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("requests.jsonl");
    std::fs::write(&file, requests.iter().map(|request| format!("{request}\n")).collect::<String>()).unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/oracles/run.sh");
    let output = Command::new(script).arg("graphql").arg(file).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
}

fn create(schema: &str, input: Value) -> Value {
    json!({
        "schema": schema,
        "query": "mutation($input: AiSelfHostedModelCreateInput!) {
            aiSelfHostedModelCreate(input: $input) { errors selfHostedModel { id } } }",
        "variables": { "input": input },
    })
}

fn model() -> Value {
    json!({ "name": "Mixtral", "model": "MIXTRAL", "endpoint": "http://bedrockselfhostedmodel.com",
            "identifier": "bedrock/mistral.mixtral-8x7b-instruct-v0:1" })
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

#[test]
fn requests_of_both_shapes_are_judged_by_their_own_schema() {
    let mut without_endpoint = model();
    without_endpoint.as_object_mut().unwrap().remove("endpoint");
    let delete = json!({
        "schema": "19.5",
        "query": "mutation($id: AiSelfHostedModelID!) { aiSelfHostedModelDelete(input: {id: $id}) { errors } }",
        "variables": { "id": "gid://gitlab/Ai::SelfHostedModel/1" },
    });
    let refused = |request: Value| with(request, "accepted", json!(false));
    let said = judge(&[
        create("18.9", model()),
        create("19.5", with(without_endpoint.clone(), "provider", json!("BEDROCK"))),
        delete.clone(),
        refused(create("18.9", without_endpoint)),
        refused(create("18.9", with(model(), "provider", json!("BEDROCK")))),
        refused(create("19.5", with(model(), "model", json!("mixtral")))),
        refused(with(delete.clone(), "variables", json!({"id": "1"}))),
        refused(with(delete, "query", json!("mutation { aiSelfHostedModelDelete(input: {}) { error } }"))),
    ])
    .unwrap_or_else(|complaints| panic!("{complaints}"));
    assert!(said.contains("8 of 8"), "{said}");
}

#[test]
fn a_wrong_request_is_named_with_its_line_and_the_reason() {
    let complaints = judge(&[create("18.9", model()), create("18.9", with(model(), "provider", json!("BEDROCK")))]);
    let complaints = complaints.unwrap_err();
    assert!(complaints.contains("requests.jsonl:2 (18.9)") && complaints.contains("provider"), "{complaints}");
    let complaints = judge(&[with(create("18.9", model()), "accepted", json!(false))]).unwrap_err();
    assert!(complaints.contains("was refused, but the engine takes it"), "{complaints}");
}
