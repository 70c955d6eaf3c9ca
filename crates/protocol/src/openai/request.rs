//! Request bodies.

use serde_json::{Map, Value, json};

use crate::capability::{Capability, TokenLimit};
use crate::fim::FimFormat;
use crate::model::{FillInMiddle, ModelRequest};
use crate::number::short;

/// How the answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamMode {
    /// In one piece.
    Whole,
    /// As a stream, with token counts at its end when `usage`. Some old servers refuse `stream_options`.
    Stream {
        /// Ask for `stream_options.include_usage`.
        usage: bool,
    },
}

/// The body of `chat/completions`. `request` must have gone through [`crate::capability::adapt`]; `model` is the
/// server's name of the model (the Azure deployment).
pub fn chat_body(request: &ModelRequest, model: &str, mode: StreamMode, capability: &Capability) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    let messages: Vec<Value> =
        request.messages.iter().map(|m| json!({ "role": m.role.as_str(), "content": m.content })).collect();
    body.insert("messages".into(), Value::Array(messages));
    let limit = match capability.token_limit {
        TokenLimit::MaxTokens => "max_tokens",
        TokenLimit::MaxCompletionTokens => "max_completion_tokens",
    };
    body.insert(limit.into(), request.max_tokens.into());
    sampling(&mut body, request);
    streaming(&mut body, mode);
    if request.continue_final_message {
        body.insert("continue_final_message".into(), true.into());
        body.insert("add_generation_prompt".into(), false.into());
    }
    Value::Object(body)
}

/// The body of `completions` for code with a gap. `model` is the server's name of the model; `format` writes the gap in
/// the model's own format ([`crate::fim::format_of`]), `None` sends its two sides as they are, for servers that do so
/// themselves.
pub fn completions_body(
    request: &ModelRequest,
    fim: &FillInMiddle,
    model: &str,
    mode: StreamMode,
    format: Option<&FimFormat>,
) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    match format {
        Some(format) => {
            body.insert("prompt".into(), format.text(&fim.prefix, &fim.suffix).into());
        }
        None => {
            body.insert("prompt".into(), fim.prefix.as_str().into());
            if !fim.suffix.is_empty() {
                body.insert("suffix".into(), fim.suffix.as_str().into());
            }
        }
    }
    body.insert("max_tokens".into(), request.max_tokens.into());
    sampling(&mut body, request);
    streaming(&mut body, mode);
    Value::Object(body)
}

fn sampling(body: &mut Map<String, Value>, request: &ModelRequest) {
    if let Some(temperature) = request.temperature {
        body.insert("temperature".into(), short(temperature));
    }
    if let Some(top_p) = request.top_p {
        body.insert("top_p".into(), short(top_p));
    }
    if !request.stop.is_empty() {
        body.insert("stop".into(), json!(request.stop));
    }
}

fn streaming(body: &mut Map<String, Value>, mode: StreamMode) {
    if let StreamMode::Stream { usage } = mode {
        body.insert("stream".into(), true.into());
        if usage {
            body.insert("stream_options".into(), json!({ "include_usage": true }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::of;
    use crate::family::Family;
    use crate::identifier::Identifier;
    use crate::model::ChatMessage;

    fn request() -> ModelRequest {
        ModelRequest {
            messages: vec![ChatMessage::user("q"), ChatMessage::assistant("Thought:")],
            max_tokens: 7,
            temperature: Some(0.2),
            top_p: None,
            stop: vec!["x".into()],
            fim: None,
            continue_final_message: true,
        }
    }

    #[test]
    fn a_stream_asks_for_its_token_counts_and_vllm_is_told_to_continue() {
        let cap = of(&Identifier::parse("custom_openai/m").unwrap(), Family::Mistral);
        let body = chat_body(&request(), "m", StreamMode::Stream { usage: true }, &cap);
        assert_eq!(
            body.to_string(),
            r#"{"model":"m","messages":[{"role":"user","content":"q"},{"role":"assistant","content":"Thought:"}],"max_tokens":7,"temperature":0.2,"stop":["x"],"stream":true,"stream_options":{"include_usage":true},"continue_final_message":true,"add_generation_prompt":false}"#
        );
    }

    #[test]
    fn trap_gpt_5_gets_the_new_name_of_the_token_limit() {
        let cap = of(&Identifier::parse("azure/gpt-5").unwrap(), Family::Gpt);
        let body = chat_body(&request(), "gpt-5", StreamMode::Whole, &cap);
        assert_eq!((body.get("max_tokens"), &body["max_completion_tokens"]), (None, &json!(7)));
        assert_eq!(body.get("stream"), None);
    }
}
