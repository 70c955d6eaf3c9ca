//! Answers of the code and prompt endpoints.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::json::write_text;
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

/// Written straight out: a tree of values would cost more than the rest of the answer.
#[derive(Serialize)]
struct Suggestion<'a> {
    text: &'a str,
    index: u32,
    finish_reason: &'static str,
}

/// None for an empty text. The reason is always `length`: the clients have never seen anything else here.
fn choices(text: &str) -> Vec<Suggestion<'_>> {
    let choice = (!text.is_empty()).then_some(Suggestion { text, index: 0, finish_reason: "length" });
    choice.into_iter().collect()
}

/// Body of `/v2/code/completions` and `/v2/code/generations`.
pub fn code_answer_v2<'a>(answer: &CodeAnswer<'a>) -> impl Serialize + use<'a> {
    #[derive(Serialize)]
    struct Tokens {
        input_tokens: u64,
        output_tokens: u64,
        max_output_tokens_used: bool,
        context_tokens_sent: u64,
        context_tokens_used: u64,
    }
    #[derive(Serialize)]
    struct Model<'a> {
        engine: &'a str,
        name: &'a str,
        lang: &'a str,
        tokens_consumption_metadata: Option<Tokens>,
        region: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Metadata<'a> {
        enabled_feature_flags: &'a [&'a str],
    }
    #[derive(Serialize)]
    struct Body<'a, C> {
        id: &'static str,
        object: &'static str,
        created: i64,
        model: Model<'a>,
        experiments: [(); 0],
        choices: C,
        metadata: Metadata<'a>,
    }
    let tokens = answer.usage.filter(|_| !answer.text.is_empty()).map(|usage| Tokens {
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        max_output_tokens_used: answer.max_output_tokens_used,
        context_tokens_sent: 0,
        context_tokens_used: 0,
    });
    let ModelInfo { engine, name, lang } = answer.model;
    Body {
        id: "id",
        object: "text_completion",
        created: answer.created,
        model: Model { engine, name, lang, tokens_consumption_metadata: tokens, region: None },
        experiments: [],
        choices: choices(answer.text),
        metadata: Metadata { enabled_feature_flags: answer.feature_flags },
    }
}

/// Body of `/v3/code/completions` and of `/v4/code/suggestions` without a stream.
pub fn code_answer_v3<'a>(answer: &CodeAnswer<'a>) -> impl Serialize + use<'a> {
    #[derive(Clone, Copy, Serialize)]
    struct Model<'a> {
        engine: &'a str,
        name: &'a str,
        lang: &'a str,
    }
    #[derive(Serialize)]
    struct Metadata<'a> {
        model: Model<'a>,
        timestamp: i64,
        enabled_feature_flags: &'a [&'a str],
        region: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Body<'a, C> {
        choices: C,
        metadata: Metadata<'a>,
        model: Model<'a>,
    }
    let ModelInfo { engine, name, lang } = answer.model;
    let model = Model { engine, name, lang };
    Body {
        choices: choices(answer.text),
        metadata: Metadata {
            model,
            timestamp: answer.created,
            enabled_feature_flags: answer.feature_flags,
            region: None,
        },
        model,
    }
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
    const BEFORE: &str = "event: content_chunk\r\ndata: {\"choices\":[{\"delta\":{\"content\":";
    const BEHIND: &str = "},\"index\":0}]}\r\n\r\n";
    let mut out = Vec::with_capacity(BEFORE.len() + BEHIND.len() + content.len() + content.len() / 8 + 8);
    out.extend_from_slice(BEFORE.as_bytes());
    write_text(&mut out, content);
    out.extend_from_slice(BEHIND.as_bytes());
    String::from_utf8(out).unwrap_or_default()
}

/// Last event of a complete v4 stream. After a broken upstream it must **not** be sent: the client would take the part
/// for the whole.
pub fn sse_stream_end() -> String {
    event("stream_end", &Value::Null)
}

/// Clients rely on `event:` standing before `data:`.
fn event(name: &str, data: &impl Serialize) -> String {
    // strings and numbers of ours: always written
    let data = serde_json::to_string(data).unwrap_or_default();
    ["event: ", name, "\r\ndata: ", &data, "\r\n\r\n"].concat()
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
