//! Answers of the code and prompt endpoints.

use serde_json::{Map, Value, json};

use crate::model::Usage;

/// What an answer says of the model. GitLab's clients only show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelInfo<'a> {
    /// `litellm` in v2, `openai` in v3, `agent` in v4, as GitLab's own gateway.
    pub engine: &'a str,
    /// Family or model name.
    pub name: &'a str,
    /// Our language name in lower case, or empty; see [`crate::language`].
    pub lang: &'a str,
}

/// One suggestion.
pub type Choice<'a> = &'a str;

/// What the code answers are built from.
#[derive(Debug, Clone, Copy)]
pub struct CodeAnswer<'a> {
    /// The suggestion after post-processing; empty means no choice.
    pub text: Choice<'a>,
    /// The model.
    pub model: ModelInfo<'a>,
    /// Unix seconds.
    pub created: i64,
    /// Token counts, when known.
    pub usage: Option<Usage>,
    /// The model ran into its token limit.
    pub max_output_tokens_used: bool,
    /// The flags of `x-gitlab-enabled-feature-flags`.
    pub feature_flags: &'a [&'a str],
}

fn choices(text: &str) -> Value {
    if text.is_empty() {
        return json!([]);
    }
    // always `length`: the clients have never seen anything else here
    json!([{ "text": text, "index": 0, "finish_reason": "length" }])
}

/// Body of `/v2/code/completions` and `/v2/code/generations`.
pub fn code_answer_v2(answer: &CodeAnswer<'_>) -> Value {
    let tokens = answer.usage.filter(|_| !answer.text.is_empty()).map(|usage| {
        json!({
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "max_output_tokens_used": answer.max_output_tokens_used,
            "context_tokens_sent": 0,
            "context_tokens_used": 0,
        })
    });
    json!({
        "id": "id",
        "object": "text_completion",
        "created": answer.created,
        "model": {
            "engine": answer.model.engine,
            "name": answer.model.name,
            "lang": answer.model.lang,
            "tokens_consumption_metadata": tokens,
            "region": null,
        },
        "experiments": [],
        "choices": choices(answer.text),
        "metadata": { "enabled_feature_flags": answer.feature_flags },
    })
}

/// Body of `/v3/code/completions` and of `/v4/code/suggestions` without a stream.
pub fn code_answer_v3(answer: &CodeAnswer<'_>) -> Value {
    let model = json!({ "engine": answer.model.engine, "name": answer.model.name, "lang": answer.model.lang });
    json!({
        "choices": choices(answer.text),
        "metadata": {
            "model": model,
            "timestamp": answer.created,
            "enabled_feature_flags": answer.feature_flags,
            "region": null,
        },
        "model": model,
    })
}

/// First event of a v4 stream; goes out before the model answers.
pub fn sse_stream_start(model: ModelInfo<'_>, timestamp: i64, feature_flags: &[&str]) -> String {
    let data = json!({ "metadata": {
        "model": { "engine": model.engine, "name": model.name },
        "timestamp": timestamp,
        "enabled_feature_flags": feature_flags,
    }});
    event("stream_start", &data)
}

/// A piece of code in a v4 stream.
pub fn sse_content_chunk(content: &str) -> String {
    event("content_chunk", &json!({ "choices": [{ "delta": { "content": content }, "index": 0 }] }))
}

/// Last event of a complete v4 stream. After a broken upstream it must **not** be sent: the client would take the part
/// for the whole.
pub fn sse_stream_end() -> String {
    event("stream_end", &Value::Null)
}

/// Clients rely on `event:` standing before `data:`.
fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\r\ndata: {data}\r\n\r\n")
}

/// Body of `/v1/prompts/…`: a bare JSON string.
pub fn prompt_answer_v1(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// Body of `/v2/prompts/…`. `model` names the counts: the family when whole, the upstream model in streams.
pub fn prompt_answer_v2(text: &str, model: &str, usage: Option<Usage>) -> Value {
    match usage {
        Some(usage) => json!({ "content": text, "usage": usage_map(model, usage) }),
        None => json!({ "content": text }),
    }
}

/// One line of a `/v2/prompts/…` stream; counts go into the last line only.
pub fn prompt_line_v2(text: &str, model: &str, usage: Option<Usage>) -> String {
    format!("{}\n", prompt_answer_v2(text, model, usage))
}

pub(super) fn usage_map(model: &str, usage: Usage) -> Value {
    let mut map = Map::new();
    let counts = json!({ "input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens });
    map.insert(model.to_owned(), counts);
    Value::Object(map)
}
