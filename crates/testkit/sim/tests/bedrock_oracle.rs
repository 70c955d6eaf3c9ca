//! The simulated Bedrock as botocore judges it: its signer, its parsers and its event-stream reader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]

mod common;

use std::path::PathBuf;

use common::{MIXTRAL, client, start, user};
use duo_sim::bedrock::AccessKey;

/// Runs an oracle of `tests/oracles`; its complaints are the panic's message.
async fn oracle(arguments: &[&str]) -> Result<String, String> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/oracles/run.sh");
    let output = tokio::process::Command::new(script).args(arguments).output().await.unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn botocore_signs_for_parses_and_reads_the_simulator() {
    let sim = start().await;
    let said = oracle(&["bedrock", "--url", &sim.url()]).await.unwrap_or_else(|complaints| panic!("{complaints}"));
    assert!(said.contains("checks hold"), "{said}");
    assert!(sim.faults().list().is_empty(), "every fault was met");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_is_judged_by_the_service_model() {
    let sim = start().await;
    let client = client(&sim, &AccessKey::example());
    client.converse().model_id(MIXTRAL).messages(user("hi")).send().await.unwrap();
    let said = oracle(&["bedrock", "--journal", &sim.url()]).await.unwrap_or_else(|complaints| panic!("{complaints}"));
    assert!(said.contains("2 of 2"), "{said}");

    let mut calls = serde_json::to_value(sim.journal().calls()).unwrap();
    calls[0]["request"]["inferenceConfig"] = serde_json::json!({"maxTokens": "many", "top_k": 1});
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal.json");
    std::fs::write(&file, calls.to_string()).unwrap();
    let complaints = oracle(&["bedrock", "--journal", file.to_str().unwrap()]).await.unwrap_err();
    assert!(complaints.contains("maxTokens") && complaints.contains("top_k"), "{complaints}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oracle_complains_of_a_simulator_that_answers_otherwise() {
    let sim = start().await;
    sim.script().next_answer("something else");
    let complaints = oracle(&["bedrock", "--url", &sim.url()]).await.unwrap_err();
    assert!(complaints.contains("the answer names model and question: something else"), "{complaints}");
    assert!(complaints.contains("streamed text"), "{complaints}");
}
