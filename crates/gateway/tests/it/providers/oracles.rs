//! The providers' own libraries judge what we send, and the answers that our reading is tested with: botocore with
//! AWS's service models, the official `openai` and `anthropic` packages with their typed models.

use std::path::PathBuf;

use base64::Engine;
use serde_json::{Value, json};

use super::golden::{CASES, answer};
use super::{Stand, complete, roles, stream};
use crate::support::recorder::{Noted, Recorder};

fn record(name: &str, noted: &Noted) -> Value {
    let reply = answer(noted);
    json!({
        "case": name, "target": noted.target, "request": noted.json(),
        "response": base64::engine::general_purpose::STANDARD.encode(&reply.body),
    })
}

async fn judge(records: &[Value]) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.jsonl");
    std::fs::write(&file, records.iter().map(|record| format!("{record}\n")).collect::<String>()).unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracles/run.sh");
    let output = tokio::process::Command::new(script).arg("providers").arg(&file).output().await.unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
}

async fn records() -> Vec<Value> {
    let mut records = Vec::new();
    for case in CASES {
        let server = Recorder::start(answer).await;
        let stand = case.stand(&server.url).await;
        complete(stand.place(), case.request()).await.unwrap();
        stream(stand.place(), case.request()).await.unwrap();
        records.extend(
            server.noted().iter().filter(|noted| noted.target != "/token").map(|noted| record(case.name, noted)),
        );
    }
    records
}

/// What STS is asked and answers.
async fn assumed_role() -> Value {
    let server = Recorder::start(|_| crate::support::recorder::Reply::new("text/xml", roles::ASSUMED)).await;
    let config = format!(
        "providers: {{bedrock: {{region: us-east-1, endpoint: '{0}', credentials: true}}}}\n\
         models: [{{name: m, family: claude_3, identifier: bedrock/m, connection: {{assumeRole: {{roleArn: \
         'arn:aws:iam::123456789012:role/duo', externalId: 'id-1', stsEndpoint: '{0}'}}}}}}]",
        server.url
    );
    let keys = [("AWS_ACCESS_KEY_ID", "AKIABASE"), ("AWS_SECRET_ACCESS_KEY", "base-secret")];
    // the model's own answer is none; only STS matters here
    let _ = complete(Stand::new(&config, &keys).place(), super::conversation()).await;
    json!({
        "case": "sts", "target": server.noted()[0].target, "request": server.noted()[0].form(),
        "response": base64::engine::general_purpose::STANDARD.encode(roles::ASSUMED),
        "denied": base64::engine::general_purpose::STANDARD.encode(roles::DENIED),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_providers_libraries_take_what_we_send_and_what_we_read() {
    let mut records = Box::pin(records()).await;
    records.push(assumed_role().await);
    let said = judge(&records).await.unwrap_or_else(|complaints| panic!("{complaints}"));
    assert!(said.contains(&format!("{} records", records.len())), "{said}");

    // and they do complain
    let spoil = |name: &str, change: fn(&mut Value)| {
        let mut record = records.iter().find(|record| record["case"] == name).unwrap().clone();
        change(&mut record["request"]);
        record
    };
    let spoilt = [
        spoil("custom_openai", |request| request["max_tokenz"] = 1.into()),
        spoil("openai_reasoning", |request| request["messages"][0]["role"] = "robot".into()),
        spoil("custom_openai_completions", |request| request["prompt"] = json!({"a": 1})),
        spoil("anthropic", |request| request["stop_sequences"] = "x".into()),
        spoil("vertex_claude", |request| request["model"] = "m".into()),
        spoil("bedrock", |request| request["inferenceConfig"]["maxTokens"] = "many".into()),
        spoil("sts", |request| request["ExternalIdentity"] = "x".into()),
    ];
    let complaints = judge(&spoilt).await.unwrap_err();
    for record in spoilt {
        let case = record["case"].as_str().unwrap();
        assert!(complaints.contains(&format!("FAILED {case}: ")), "{case} passed; {complaints}");
    }
}
