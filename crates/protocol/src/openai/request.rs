//! Request bodies.

use crate::capability::{Capability, TokenLimit};
use crate::fim::FimFormat;
use crate::json::{Object, write_text};
use crate::model::{FillInMiddle, ModelRequest};

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

/// Beyond the texts: names, parameters, stop sequences.
const FRAME: usize = 1024;

/// The body of `chat/completions`, as JSON. `request` must have gone through [`crate::capability::adapt`]; `model` is the
/// server's name of the model (the Azure deployment).
pub fn chat_body(request: &ModelRequest, model: &str, mode: StreamMode, capability: &Capability) -> Vec<u8> {
    let texts: usize = request.messages.iter().map(|message| message.content.len()).sum();
    // an eighth more for what is escaped
    let mut body = Object::new(texts + texts / 8 + FRAME);
    body.text("model", model);
    let out = body.field("messages");
    out.push(b'[');
    for (at, message) in request.messages.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"{\"role\":\"" } else { b",{\"role\":\"" });
        out.extend_from_slice(message.role.as_str().as_bytes());
        out.extend_from_slice(b"\",\"content\":");
        write_text(out, &message.content);
        out.push(b'}');
    }
    out.push(b']');
    let limit = match capability.token_limit {
        TokenLimit::MaxTokens => "max_tokens",
        TokenLimit::MaxCompletionTokens => "max_completion_tokens",
    };
    body.value(limit, request.max_tokens);
    sampling(&mut body, request);
    streaming(&mut body, mode);
    if request.continue_final_message {
        body.value("continue_final_message", true);
        body.value("add_generation_prompt", false);
    }
    body.end()
}

/// The body of `completions` for code with a gap, as JSON. `model` is the server's name of the model; `format` writes the
/// gap in the model's own format ([`crate::fim::format_of`]), `None` sends its two sides as they are, for servers that do
/// so themselves.
pub fn completions_body(
    request: &ModelRequest,
    fim: &FillInMiddle,
    model: &str,
    mode: StreamMode,
    format: Option<&FimFormat>,
) -> Vec<u8> {
    let texts = fim.prefix.len() + fim.suffix.len();
    let mut body = Object::new(texts + texts / 8 + FRAME);
    body.text("model", model);
    match format {
        Some(format) => body.text("prompt", &format.text(&fim.prefix, &fim.suffix)),
        None => {
            body.text("prompt", &fim.prefix);
            if !fim.suffix.is_empty() {
                body.text("suffix", &fim.suffix);
            }
        }
    }
    body.value("max_tokens", request.max_tokens);
    sampling(&mut body, request);
    streaming(&mut body, mode);
    body.end()
}

fn sampling(body: &mut Object, request: &ModelRequest) {
    // a 32-bit number is written as 0.2, not as 0.20000000298023224
    if let Some(temperature) = request.temperature {
        body.value("temperature", temperature);
    }
    if let Some(top_p) = request.top_p {
        body.value("top_p", top_p);
    }
    if !request.stop.is_empty() {
        body.value("stop", &request.stop);
    }
}

fn streaming(body: &mut Object, mode: StreamMode) {
    if let StreamMode::Stream { usage } = mode {
        body.value("stream", true);
        if usage {
            body.field("stream_options").extend_from_slice(b"{\"include_usage\":true}");
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
            String::from_utf8(body).unwrap(),
            r#"{"model":"m","messages":[{"role":"user","content":"q"},{"role":"assistant","content":"Thought:"}],"max_tokens":7,"temperature":0.2,"stop":["x"],"stream":true,"stream_options":{"include_usage":true},"continue_final_message":true,"add_generation_prompt":false}"#
        );
    }

    #[test]
    fn trap_gpt_5_gets_the_new_name_of_the_token_limit() {
        let cap = of(&Identifier::parse("azure/gpt-5").unwrap(), Family::Gpt);
        let body = chat_body(&request(), "gpt-5", StreamMode::Whole, &cap);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((body.get("max_tokens"), &body["max_completion_tokens"]), (None, &serde_json::json!(7)));
        assert_eq!(body.get("stream"), None);
    }
}
