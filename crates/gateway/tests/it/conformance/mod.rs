//! The running server against the description of its interface (`openapi/gateway.yaml`).

mod bodies;
mod document;
mod fields;
mod recipes;
mod world;

use std::collections::BTreeSet;

use document::{Document, Operation, Response};
use futures::StreamExt;
use serde_json::Value;

/// So many worlds at a time.
const AT_ONCE: usize = 4;

#[test]
fn every_status_that_is_named_has_a_way_to_it_and_every_way_leads_to_a_named_status() {
    for operation in Document::load().operations() {
        let named: BTreeSet<(u16, String)> = operation
            .responses
            .iter()
            .flat_map(|(status, response)| {
                let mut media: Vec<String> = response.content.keys().cloned().collect();
                if media.is_empty() {
                    media.push(String::new());
                }
                media.into_iter().map(|media| (*status, media))
            })
            .collect();
        let shown: BTreeSet<(u16, String)> =
            recipes::of(&operation.id).iter().map(|(status, media, _)| (*status, (*media).to_owned())).collect();
        assert_eq!(named, shown, "{}: described (left) and tried (right) differ", operation.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_status_of_every_operation_is_answered_as_described() {
    let document = Document::load();
    let operations = document.operations();
    let cases: Vec<_> = operations
        .iter()
        .flat_map(|operation| recipes::of(&operation.id).into_iter().map(move |case| (operation, case)))
        .collect();
    let count = cases.len();
    let answered = futures::stream::iter(cases)
        .map(|(operation, (status, media, recipe))| async move {
            let answer = world::ask(operation, recipe).await;
            (operation, status, media, recipe, answer)
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    assert_eq!(answered.len(), count);
    let mut faults = Vec::new();
    for (operation, status, media, recipe, answer) in answered {
        if let Err(fault) = judge(&document, operation, status, media, &answer) {
            faults.push(format!("{} {status} {media} ({recipe:?}): {fault}", operation.id));
        }
    }
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults.join("\n"));
}

/// Whether an answer is what the description says of its status.
fn judge(
    document: &Document,
    operation: &Operation,
    status: u16,
    media: &str,
    answer: &world::Answer,
) -> Result<(), String> {
    if answer.status != status {
        return Err(format!("answered {} {}", answer.status, answer.text()));
    }
    for name in ["x-request-id", "x-process-time"] {
        if !answer.headers.contains_key(name) {
            return Err(format!("{name} is missing"));
        }
    }
    let Response { content, headers } = &operation.responses[&status];
    for (name, (required, schema)) in headers {
        let of_streams = name == "X-Streaming-Format";
        match answer.headers.get(name).and_then(|value| value.to_str().ok()) {
            Some(value) => {
                if let Some(fault) = document.schema(schema).faults(&Value::String(value.to_owned())) {
                    return Err(format!("header {name}: {fault}"));
                }
            }
            None if *required || (of_streams && media == "text/event-stream") => {
                return Err(format!("header {name} is missing"));
            }
            None => {}
        }
    }
    if media.is_empty() {
        return Ok(());
    }
    let kind = answer.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kind.split(';').next() != Some(media) {
        return Err(format!("has the content type {kind}"));
    }
    let schema = document.schema(&content[media]);
    let lines = matches!((operation.id.as_str(), media), ("invokePromptV2", "text/event-stream"));
    let values: Vec<Value> = match media {
        "application/json" => vec![serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?],
        "application/x-ndjson" => answer.lines()?,
        "text/event-stream" if lines => answer.lines()?,
        _ => vec![Value::String(answer.text())],
    };
    if values.is_empty() {
        return Err("the body is empty".to_owned());
    }
    match values.iter().find_map(|value| schema.faults(value)) {
        Some(fault) => Err(format!("{fault}\n{}", answer.text())),
        None => Ok(()),
    }
}
