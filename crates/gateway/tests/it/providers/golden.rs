//! One file for each way a model server is asked: the request as it leaves, the answer as such a server writes it, and
//! what we read. `UPDATE_GOLDEN=1 cargo test -p duo-gateway --test it golden` writes them anew; the review reads the
//! difference, and [`super::oracles`] lets the providers' own libraries judge both sides.

use std::path::{Path, PathBuf};

use duo_protocol::family::Family;
use duo_protocol::model::{ModelEvent, ModelRequest};
use serde_json::{Value, json};

use super::{Stand, complete, completion, conversation, stream};
use crate::support::eventstream;
use crate::support::recorder::{Noted, Recorder, Reply};

const OPENAI: &str = include_str!("answers/openai.json");
const OPENAI_STREAM: &str = include_str!("answers/openai.sse");
const TEXT: &str = include_str!("answers/text_completion.json");
const TEXT_STREAM: &str = include_str!("answers/text_completion.sse");
const ANTHROPIC: &str = include_str!("answers/anthropic.json");
const ANTHROPIC_STREAM: &str = include_str!("answers/anthropic.sse");
const CONVERSE: &str = include_str!("answers/converse.json");
const CONVERSE_STREAM: &str = include_str!("answers/converse_stream.json");

/// One way.
pub struct Case {
    pub name: &'static str,
    /// The configuration; `$URL` is the server.
    config: &'static str,
    family: Family,
    fim: bool,
}

pub const CASES: [Case; 12] = [
    Case {
        name: "custom_openai",
        config: "models: [{name: m, family: mistral, identifier: custom_openai/the-model, endpoint: '$URL/v1', apiKeyFile: key}]",
        family: Family::Mistral,
        fim: false,
    },
    Case {
        name: "custom_openai_completions",
        config: "models: [{name: m, family: codestral, identifier: custom_openai/codestral, endpoint: '$URL/v1', apiKeyFile: key, connection: {completionApi: Completions}}]",
        family: Family::Codestral,
        fim: true,
    },
    Case {
        name: "custom_openai_suffix",
        config: "models: [{name: m, family: qwen, identifier: custom_openai/qwen-coder, endpoint: '$URL/v1', connection: {completionApi: Suffix}}]",
        family: Family::Qwen,
        fim: true,
    },
    Case {
        name: "openai_reasoning",
        config: "models: [{name: m, family: gpt, identifier: openai/gpt-5-mini, endpoint: '$URL/v1', apiKeyFile: key}]",
        family: Family::Gpt,
        fim: false,
    },
    Case {
        name: "azure_versioned",
        config: "models: [{name: m, family: gpt, identifier: azure/my gpt/4o, endpoint: '$URL', apiKeyFile: key, connection: {apiVersion: 2024-10-21}}]",
        family: Family::Gpt,
        fim: false,
    },
    Case {
        name: "azure_v1",
        config: "models: [{name: m, family: gpt, identifier: azure/gpt-4o, endpoint: '$URL/openai/v1/', apiKeyFile: key}]",
        family: Family::Gpt,
        fim: false,
    },
    Case {
        name: "bedrock_mantle",
        config: "models: [{name: m, family: general, identifier: bedrock_mantle/openai.gpt-oss-120b, endpoint: '$URL/v1', apiKeyFile: key}]",
        family: Family::General,
        fim: false,
    },
    Case {
        name: "anthropic",
        config: "models: [{name: m, family: claude_3, identifier: anthropic/claude-sonnet-4-20250514, endpoint: '$URL', apiKeyFile: key}]",
        family: Family::Claude3,
        fim: false,
    },
    Case {
        name: "vertex_claude",
        config: "providers: {vertexAi: {project: p-1, location: europe-west1, endpoint: '$URL', credentialsFile: google.json}}\n\
                 models: [{name: m, family: claude_3, identifier: 'vertex_ai/claude-sonnet-4@20250514'}]",
        family: Family::Claude3,
        fim: false,
    },
    Case {
        name: "vertex_gemini",
        config: "providers: {vertexAi: {project: p-1, location: europe-west1, endpoint: '$URL', credentialsFile: google.json}}\n\
                 models: [{name: m, family: gemini, identifier: vertex_ai/gemini-2.5-pro}]",
        family: Family::Gemini,
        fim: false,
    },
    Case {
        name: "bedrock",
        config: "providers: {bedrock: {region: us-east-1, endpoint: '$URL', credentials: true, guardrail: {identifier: gr-1, version: '3', trace: Enabled, streamProcessing: Async}}}\n\
                 models: [{name: m, family: claude_3, identifier: 'bedrock/us.anthropic.claude-sonnet-4-20250514-v1:0'}]",
        family: Family::Claude3,
        fim: false,
    },
    Case {
        name: "bedrock_mixtral",
        config: "providers: {bedrock: {region: us-east-1, endpoint: '$URL', credentials: true}}\n\
                 models: [{name: m, family: mixtral, identifier: 'bedrock/mistral.mixtral-8x7b-instruct-v0:1'}]",
        family: Family::Mixtral,
        fim: false,
    },
];

/// Answers as the server of that path does.
pub fn answer(noted: &Noted) -> Reply {
    let path = noted.target.split('?').next().unwrap();
    let streamed = noted.json()["stream"] == json!(true);
    let sse = |text: &'static str| Reply::new("text/event-stream", text);
    match () {
        () if path.ends_with("/token") => {
            Reply::json(json!({"access_token": "ya29.token", "expires_in": 3599, "token_type": "Bearer"}))
        }
        () if path.ends_with("/converse") => Reply::json(CONVERSE),
        () if path.ends_with("/converse-stream") => {
            let events: Vec<(String, Value)> = serde_json::from_str(CONVERSE_STREAM).unwrap();
            let events: Vec<(&str, Value)> =
                events.iter().map(|(kind, value)| (kind.as_str(), value.clone())).collect();
            Reply::new("application/vnd.amazon.eventstream", eventstream::answer(&events))
        }
        () if path.ends_with("/chat/completions") && streamed => sse(OPENAI_STREAM),
        () if path.ends_with("/chat/completions") => Reply::json(OPENAI),
        () if path.ends_with("/completions") && streamed => sse(TEXT_STREAM),
        () if path.ends_with("/completions") => Reply::json(TEXT),
        () if streamed => sse(ANTHROPIC_STREAM),
        () => Reply::json(ANTHROPIC),
    }
}

impl Case {
    pub async fn stand(&self, url: &str) -> Stand {
        let google = super::vertex::key_file(&format!("{url}/token"));
        let files = [
            ("key", "key-of-the-place"),
            ("google.json", google.as_str()),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI"),
        ];
        Stand::new(&self.config.replace("$URL", url), &files)
    }

    pub fn request(&self) -> ModelRequest {
        if self.fim { completion(self.family) } else { conversation() }
    }
}

/// What matters of a request: no times, no signatures, long texts by their length.
pub fn shown(noted: &Noted) -> Value {
    let mut headers = serde_json::Map::new();
    for name in ["authorization", "api-key", "x-api-key", "anthropic-version", "content-type", "x-amz-security-token"] {
        let value = noted.header(name);
        if !value.is_empty() {
            let value = if value.starts_with("AWS4-HMAC-SHA256") { "AWS4-HMAC-SHA256 …" } else { value };
            headers.insert(name.to_owned(), value.into());
        }
    }
    let mut body = noted.json();
    shorten(&mut body);
    json!({ "method": noted.method.as_str(), "target": noted.target, "headers": headers, "body": body })
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > 400 => *text = format!("{}… ({} bytes)", &text[..20], text.len()),
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(members) => members.values_mut().for_each(shorten),
        _ => {}
    }
}

fn read(events: Vec<ModelEvent>) -> Vec<String> {
    let one = |event| match event {
        ModelEvent::Text(text) => format!("text {text:?}"),
        other => format!("{other:?}"),
    };
    events.into_iter().map(one).collect()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/providers").join(format!("{name}.json"))
}

#[tokio::test]
async fn golden_pairs_of_each_provider() {
    let mut differ = Vec::new();
    for case in CASES {
        let server = Recorder::start(answer).await;
        let stand = case.stand(&server.url).await;
        let whole = complete(stand.place(), case.request()).await.unwrap();
        let asked = shown(&server.last());
        let events = stream(stand.place(), case.request()).await.unwrap();
        let pair = json!({
            "whole": { "request": asked, "read": { "text": whole.text, "stop": format!("{:?}", whole.stop), "usage": format!("{:?}", whole.usage) } },
            "stream": { "request": shown(&server.last()), "read": read(events) },
        });
        let text = serde_json::to_string_pretty(&pair).unwrap().replace(&server.url, "http://server") + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path(case.name), &text).unwrap();
        } else if std::fs::read_to_string(path(case.name)).unwrap_or_default() != text {
            differ.push(case.name);
        }
    }
    assert!(differ.is_empty(), "{differ:?} differ; run with UPDATE_GOLDEN=1 and review the difference");
}
