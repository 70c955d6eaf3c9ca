//! Body and answer of `POST /v1/embeddings/code_embeddings`, also at `…/index` and `…/search` (GitLab 19.x).

use serde::Serialize;

use super::invalid::Invalid;
use super::metadata::{ModelMetadata, ModelSelection};
use super::read::Reader;
use super::tree::Value;
use crate::family::Family;

/// Most texts of one call, the limit of OpenAI's own interface.
pub const MOST_TEXTS: usize = 2048;
/// Most dimensions that can be asked for.
const MOST_DIMENSIONS: u32 = 65_536;

/// A call for vectors.
#[derive(Clone, PartialEq, Eq)]
pub struct EmbeddingsBody {
    /// 1 to 2,048 texts.
    pub contents: Vec<String>,
    /// Length of the vectors; the model's own when absent.
    pub dimensions: Option<u32>,
    /// Leave out what the model does not take in place of failing.
    pub drop_params: bool,
    /// The identifier as sent.
    pub identifier: String,
    metadata: ModelMetadata,
}

impl EmbeddingsBody {
    /// Reads a body.
    ///
    /// # Errors
    /// 422 list detail with every fault.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        Reader::body(body, |reader, map| {
            let metadata = reader.required_object(map, "model_metadata", ModelMetadata::read);
            if matches!(map.get("contents"), None | Some(Value::Null)) {
                reader.fault("contents", "Field required", "missing");
            }
            let contents = reader.texts(map, "contents", 1..=MOST_TEXTS, usize::MAX);
            let dimensions = reader.integer(map, "dimensions", 1..=MOST_DIMENSIONS);
            let drop_params = reader.flag(map, "litellm_drop_params");
            let metadata = metadata?;
            let identifier = metadata.identifier.clone().unwrap_or_default();
            Some(EmbeddingsBody { contents: contents?, dimensions, drop_params, identifier, metadata })
        })
    }

    /// The model to call: only one of family `embedding` makes vectors.
    ///
    /// # Errors
    /// 422 list detail.
    pub fn select(&self) -> Result<ModelSelection, Invalid> {
        let selection = self.metadata.select()?;
        if selection.family != Family::Embedding {
            let msg = format!("Vectors are made by models of family 'embedding', not '{}'", selection.family);
            return Err(Invalid::one(&["body", "model_metadata", "name"], &msg, "value_error"));
        }
        Ok(selection)
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    model: Model<'a>,
    predictions: Vec<Prediction>,
}

#[derive(Serialize)]
struct Model<'a> {
    engine: &'a str,
    name: &'a str,
    identifier: &'a str,
}

#[derive(Serialize)]
struct Prediction {
    embedding: Vec<f64>,
    index: usize,
}

/// The answer's text: vectors in the order of the texts. Written directly, as they may be tens of megabytes.
pub fn embeddings_answer(engine: &str, identifier: &str, vectors: Vec<Vec<f64>>) -> String {
    let predictions =
        vectors.into_iter().enumerate().map(|(index, embedding)| Prediction { embedding, index }).collect();
    let model = Model { engine, name: Family::Embedding.as_str(), identifier };
    serde_json::to_string(&Answer { model, predictions }).unwrap_or_default()
}

crate::opaque::opaque_debug!(EmbeddingsBody);
