//! Body of `POST /v1/prompts/{prompt_id}` and `/v2/prompts/{prompt_id}`.

use super::invalid::Invalid;
use super::metadata::{ModelMetadata, ModelSelection};
use super::read::Reader;
use super::tree::{Map, Value};

/// A call of a named prompt.
#[derive(Clone, PartialEq)]
pub struct PromptBody {
    /// The prompt's variables, any JSON; all are optional to our prompts.
    pub inputs: Map,
    /// Version constraint; absent is `^1.0.0`.
    pub prompt_version: Option<String>,
    /// The answer is wanted in pieces.
    pub stream: bool,
    /// The model.
    pub metadata: Option<ModelMetadata>,
}

impl PromptBody {
    /// Reads a body.
    ///
    /// # Errors
    /// 422 list detail with every fault; `inputs` must be an object (the official gateway answers a list with 500).
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        Reader::body(body, |reader, map| {
            if matches!(map.get("inputs"), None | Some(Value::Null)) {
                reader.fault("inputs", "Field required", "missing");
            }
            let inputs = reader.object(map, "inputs", |_, inputs| Some(std::mem::take(inputs)));
            let prompt_version = reader.text(map, "prompt_version", 255);
            let stream = reader.flag(map, "stream");
            let metadata = reader.object(map, "model_metadata", ModelMetadata::read);
            Some(PromptBody { inputs: inputs?, prompt_version, stream, metadata })
        })
    }

    /// The model to call.
    ///
    /// # Errors
    /// 422 list detail.
    pub fn select(&self) -> Result<ModelSelection, Invalid> {
        self.metadata.as_ref().ok_or_else(ModelMetadata::missing)?.select()
    }
}

crate::opaque::opaque_debug!(PromptBody);
