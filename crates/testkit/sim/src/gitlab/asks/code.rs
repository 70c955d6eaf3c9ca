//! Code Suggestions: completions and generations, passed through by Workhorse unchanged.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{self, GatewayAnswer, GatewayCall};
use super::{Ask, Outcome, Picked, metadata, sse, token};
use crate::gitlab::sim::Sim;

/// Workhorse waits this long for the next byte, whatever the setting says.
const WORKHORSE_TIMEOUT: Duration = Duration::from_secs(55);
/// Workhorse refuses larger bodies.
const WORKHORSE_MAX_BODY: usize = 600_000;

/// `/v2/code/completions`.
pub async fn completion(sim: &Arc<Sim>, picked: &Picked, ask: &Ask, outcome: &mut Outcome) {
    let mut body = current_file(picked, ask);
    if let Some(fields) = body.as_object_mut() {
        // Rails merges the editor's own parameters into the body
        fields.insert("intent".to_owned(), json!("completion"));
        fields.insert("generation_type".to_owned(), Value::Null);
        fields.insert("project_path".to_owned(), json!("group/project"));
        fields.insert("project_id".to_owned(), json!(1));
        fields.insert("user_instruction".to_owned(), json!(""));
    }
    let Some(answer) = send(sim, picked, "/v2/code/completions", body, token::own(sim), outcome).await else { return };
    if ask.stream {
        // raw pieces of text, without any framing
        return finish_raw(answer, outcome);
    }
    finish_choices(&answer, outcome);
}

/// A direct connection: GitLab has the gateway mint a token, the editor calls `/v2/completions` with it.
///
/// GitLab hands out no details of a self-hosted model; here the editor's own settings name it.
pub async fn direct_completion(sim: &Arc<Sim>, picked: &Picked, ask: &Ask, outcome: &mut Outcome) {
    let path = "/v1/code/user_access_token";
    let Some(answer) = send(sim, picked, path, Value::Null, token::own(sim), outcome).await else { return };
    let minted: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let (Some(token), Some(_)) = (minted["token"].as_str(), minted["expires_at"].as_i64()) else {
        return outcome.fail(None, "the gateway minted no token");
    };
    let body = current_file(picked, ask);
    let token = Some(token.to_owned());
    let Some(answer) = send(sim, picked, "/v2/completions", body, token, outcome).await else { return };
    finish_choices(&answer, outcome);
}

fn current_file(picked: &Picked, ask: &Ask) -> Value {
    let mut body = json!({
        "current_file": {
            "file_name": ask.file_name,
            "content_above_cursor": ask.above,
            "content_below_cursor": ask.below,
        },
        "prompt_version": 2,
        "prompt": null,
        "stream": ask.stream,
        "telemetry": [],
    });
    if let Some(fields) = body.as_object_mut() {
        fields.extend(metadata::flat(&picked.model));
    }
    body
}

/// `/v4/code/suggestions` for an editor that takes SSE, else `/v3/code/completions`.
pub async fn generation(sim: &Arc<Sim>, picked: &Picked, ask: &Ask, outcome: &mut Outcome) {
    let version = sim.read(|state| state.instance.version.to_string());
    let body = json!({
        "prompt_components": [{
            "type": "code_editor_generation",
            "metadata": {"source": "GitLab EE", "version": version},
            "payload": {
                "file_name": ask.file_name,
                "content_above_cursor": ask.above,
                "content_below_cursor": ask.below,
                "language_identifier": language(&ask.file_name),
                "stream": ask.sse,
                "prompt_id": "code_suggestions/generations",
                "prompt_version": "^1.0.0",
                "prompt_enhancer": {
                    "examples_array": [],
                    "trimmed_content_above_cursor": ask.above,
                    "trimmed_content_below_cursor": ask.below,
                    "related_files": [],
                    "related_snippets": [],
                    "libraries": [],
                    "user_instruction": ask.instruction,
                },
            },
        }],
        "model_metadata": metadata::of(&picked.model),
    });
    let path = if ask.sse { "/v4/code/suggestions" } else { "/v3/code/completions" };
    let Some(answer) = send(sim, picked, path, body, token::own(sim), outcome).await else { return };
    if ask.sse { finish_sse(&answer, outcome) } else { finish_choices(&answer, outcome) }
}

/// Calls; `None` when the outcome is already settled as a failure.
async fn send(
    sim: &Arc<Sim>,
    picked: &Picked,
    path: &str,
    body: Value,
    token: Option<String>,
    outcome: &mut Outcome,
) -> Option<GatewayAnswer> {
    if body.to_string().len() > WORKHORSE_MAX_BODY {
        outcome.fail(None, "413 Request Entity Too Large");
        return None;
    }
    let call = GatewayCall {
        url: format!("{}{path}", picked.url),
        token,
        user: Some(picked.user.clone()),
        body,
        timeout: sim.pace.timeout.unwrap_or(WORKHORSE_TIMEOUT),
        extra_headers: vec![
            ("X-Gitlab-Client-Type", "ide".to_owned()),
            ("X-Gitlab-Client-Name", "simulated-editor".to_owned()),
            ("X-Gitlab-Interface", "vscode".to_owned()),
        ],
    };
    let (answer, report) = client::post_reported(sim, &call).await;
    outcome.calls.push(report);
    match answer {
        Err(error) => {
            outcome.fail(None, format!("502 Bad Gateway: {error}"));
            None
        }
        Ok(answer) if answer.status != 200 => {
            outcome.fail(None, format!("the editor got HTTP {}", answer.status));
            None
        }
        Ok(answer) => Some(answer),
    }
}

fn finish_choices(answer: &GatewayAnswer, outcome: &mut Outcome) {
    if let Some(broken) = &answer.broken {
        return outcome.fail(None, format!("the answer broke off: {broken}"));
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match body["choices"][0]["text"].as_str() {
        Some(text) if !text.is_empty() => outcome.answer(text.to_owned()),
        _ if body["choices"].is_array() => outcome.fail(None, "the model had no suggestion"),
        _ => outcome.fail(None, "the editor cannot read the answer: no choices"),
    }
}

fn finish_raw(answer: GatewayAnswer, outcome: &mut Outcome) {
    outcome.text = String::from_utf8_lossy(&answer.body).into_owned();
    match answer.broken {
        Some(broken) => outcome.fail(None, format!("the stream broke off: {broken}")),
        None if outcome.text.is_empty() => outcome.fail(None, "the model had no suggestion"),
        None => outcome.ok = true,
    }
}

/// Editors rely on `stream_start`, `content_chunk`…, `stream_end` in this order.
fn finish_sse(answer: &GatewayAnswer, outcome: &mut Outcome) {
    if answer.streaming_format != "sse" {
        return outcome.fail(None, "the header X-Streaming-Format: sse is missing");
    }
    let events = match sse::parse(&String::from_utf8_lossy(&answer.body)) {
        Ok(events) => events,
        Err(error) => return outcome.fail(None, error),
    };
    let mut started = false;
    let mut ended = false;
    for event in events {
        match event.name.as_str() {
            "stream_start" => started = true,
            "content_chunk" if started && !ended => {
                let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
                outcome.text.push_str(data["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
            }
            "stream_end" if started => ended = true,
            other => return outcome.fail(None, format!("unexpected event {other}")),
        }
    }
    match (&answer.broken, ended) {
        (Some(broken), _) => outcome.fail(None, format!("the stream broke off: {broken}")),
        (None, false) => outcome.fail(None, "the stream ended without stream_end"),
        (None, true) if outcome.text.is_empty() => outcome.fail(None, "the model had no suggestion"),
        (None, true) => outcome.ok = true,
    }
}

/// The language's name, as Rails sends it for generations.
fn language(file_name: &str) -> &'static str {
    match file_name.rsplit('.').next().unwrap_or_default() {
        "rb" => "Ruby",
        "py" => "Python",
        "rs" => "Rust",
        "go" => "Go",
        "js" => "JavaScript",
        "ts" => "TypeScript",
        "java" => "Java",
        _ => "",
    }
}
