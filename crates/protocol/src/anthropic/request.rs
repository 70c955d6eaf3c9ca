//! Request bodies.

use serde_json::{Map, Value, json};

use super::VERTEX_VERSION;
use crate::cache::CacheMarks;
use crate::model::{ModelRequest, Role};
use crate::number::short;

/// Who serves the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor<'a> {
    /// Anthropic; the model is named in the body.
    Anthropic(&'a str),
    /// Vertex AI; the model is named in the address.
    Vertex,
}

/// The body of `messages`. `request` must have gone through [`crate::capability::adapt`].
pub fn messages_body(request: &ModelRequest, flavor: Flavor<'_>, stream: bool, marks: CacheMarks) -> Value {
    let mut body = Map::new();
    match flavor {
        Flavor::Anthropic(model) => body.insert("model".into(), model.into()),
        Flavor::Vertex => body.insert("anthropic_version".into(), VERTEX_VERSION.into()),
    };
    body.insert("max_tokens".into(), request.max_tokens.into());
    let (mut system, mut messages) = (Vec::new(), Vec::new());
    for (at, message) in request.messages.iter().enumerate() {
        // empty text blocks are refused
        if message.content.trim().is_empty() {
            continue;
        }
        if message.role == Role::System {
            system.push(block(&message.content, marks.system));
        } else {
            let content = match marks.message == Some(at) {
                true => json!([block(&message.content, true)]),
                false => json!(message.content),
            };
            messages.push(json!({ "role": message.role.as_str(), "content": content }));
        }
    }
    if !system.is_empty() {
        body.insert("system".into(), Value::Array(system));
    }
    body.insert("messages".into(), Value::Array(messages));
    if let Some(temperature) = request.temperature {
        body.insert("temperature".into(), short(temperature));
    }
    if let Some(top_p) = request.top_p {
        body.insert("top_p".into(), short(top_p));
    }
    if !request.stop.is_empty() {
        body.insert("stop_sequences".into(), json!(request.stop));
    }
    if stream {
        body.insert("stream".into(), true.into());
    }
    Value::Object(body)
}

fn block(text: &str, mark: bool) -> Value {
    let mut block = json!({ "type": "text", "text": text });
    if mark {
        block["cache_control"] = json!({ "type": "ephemeral" });
    }
    block
}
