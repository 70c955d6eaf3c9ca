//! Body and answer of `POST /v1/chat/{invokable}`: a conversation of the client's own. Deprecated by GitLab, and still
//! what its documentation tells administrators to test a model with.

use serde_json::json;

use super::code::read_messages;
use super::invalid::Invalid;
use super::metadata::{ApiKey, ModelMetadata, ModelSelection};
use super::read::Reader;
use super::tree::{Map, Value};
use crate::model::ChatMessage;

/// Most characters of a text.
const CONTENT_LIMIT: usize = 400_000;

/// A call of `/v1/chat/…`.
#[derive(Clone, PartialEq)]
pub struct ChatV1Body {
    /// The conversation; a plain text is the user's message.
    pub messages: Vec<ChatMessage>,
    /// Stop sequences, at most ten.
    pub stop: Vec<String>,
    /// 0 to 1; 0.2 when absent.
    pub temperature: f64,
    /// 1 to 8,192, which is also what absent means.
    pub max_tokens: u32,
    /// The answer is wanted as raw text pieces.
    pub stream: bool,
    /// What the payload calls the provider, as sent.
    pub provider: Option<String>,
    /// What the payload calls the model, as sent.
    pub model: Option<String>,
    metadata: ModelMetadata,
}

impl ChatV1Body {
    /// Reads a body.
    ///
    /// # Errors
    /// 422 list detail with every fault. There is exactly one component.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        Reader::body(body, |reader, map| {
            let stream = reader.flag(map, "stream");
            match map.get("prompt_components") {
                None | Some(Value::Null) => reader.fault("prompt_components", "Field required", "missing"),
                Some(Value::Array(items)) if items.is_empty() => {
                    reader.fault("prompt_components", "List should have at least 1 item", "too_short");
                }
                Some(_) => {}
            }
            let mut parts = reader.list(map, "prompt_components", 1, |reader, map| {
                reader.component_head(map, 100);
                reader.required_object(map, "payload", read_payload)
            });
            // stands in the body of any route
            let metadata = reader.object(map, "model_metadata", ModelMetadata::read);
            let mut read = parts.pop()?;
            read.stream = stream;
            if let Some(metadata) = metadata {
                read.metadata = metadata;
            }
            Some(read)
        })
    }

    /// The model to call. A call for Anthropic's own Claude means the declared model of family `claude_3`, if there is
    /// exactly one: older clients of GitLab know no other way to ask for one.
    ///
    /// # Errors
    /// 422 list detail; see [`ModelMetadata::select`].
    pub fn select(&self) -> Result<ModelSelection, Invalid> {
        self.metadata.select().map_err(|mut invalid| {
            for item in &mut invalid.0 {
                item.loc =
                    vec!["body", "prompt_components"].into_iter().map(|key| super::Loc::Key(key.into())).collect();
            }
            invalid
        })
    }
}

fn read_payload(reader: &mut Reader, map: &mut Map) -> Option<ChatV1Body> {
    let messages = match map.get("content") {
        None | Some(Value::Null) => {
            reader.fault("content", "Field required", "missing");
            None
        }
        Some(Value::Array(items)) if items.is_empty() => {
            reader.fault("content", "List should have at least 1 item", "too_short");
            None
        }
        Some(Value::Array(_)) => Some(read_messages(reader, map, "content", CONTENT_LIMIT)),
        Some(_) => reader.text(map, "content", CONTENT_LIMIT).map(|text| vec![ChatMessage::user(text)]),
    };
    let provider = reader.text(map, "provider", 255);
    if provider.as_deref().is_some_and(|name| !["anthropic", "litellm"].contains(&name)) {
        reader.fault("provider", "Input should be 'anthropic' or 'litellm'", "enum");
    }
    let model = reader.text(map, "model", 255);
    let family = match (provider.as_deref(), model.as_deref()) {
        (Some("anthropic"), Some(name)) if name.starts_with("claude") => Some("claude_3".to_owned()),
        _ => model.clone(),
    };
    let metadata = ModelMetadata {
        provider: provider.clone(),
        name: family,
        endpoint: reader.text(map, "model_endpoint", 255),
        api_key: reader.text(map, "model_api_key", 2000).filter(|key| !key.trim().is_empty()).map(ApiKey::new),
        identifier: reader.text(map, "model_identifier", 1000),
    };
    let params = reader.object(map, "params", |reader, map| {
        let stop = reader.texts(map, "stop_sequences", 1..=10, 225).unwrap_or_default();
        let temperature = reader.number(map, "temperature", 0.0..=1.0);
        Some((stop, temperature, reader.integer(map, "max_tokens_to_sample", 1..=8192)))
    });
    let (stop, temperature, max_tokens) = params.unwrap_or_default();
    Some(ChatV1Body {
        messages: messages?,
        stop,
        temperature: temperature.unwrap_or(0.2),
        max_tokens: max_tokens.unwrap_or(8192),
        stream: false,
        provider,
        model,
        metadata,
    })
}

/// The answer to a call without a stream; provider and model are repeated as they were sent.
pub fn chat_v1_answer(text: &str, provider: Option<&str>, model: Option<&str>, timestamp: i64) -> serde_json::Value {
    json!({ "response": text, "metadata": { "provider": provider, "model": model, "timestamp": timestamp } })
}

crate::opaque::opaque_debug!(ChatV1Body);
