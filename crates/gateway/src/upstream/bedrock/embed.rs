//! Vectors by InvokeModel; Converse makes none.

use aws_sdk_bedrockruntime::primitives::Blob;
use duo_protocol::embeddings::{BedrockEmbedder, EmbeddingRequest, Embeddings, joined};
use duo_protocol::model::UpstreamFailure;
use futures::{StreamExt, TryStreamExt, stream};

use super::super::embeddings::asked;
use super::{Bedrock, Door, failure};

/// Titan takes one text a call; so many calls of a request are under way at a time.
const AT_ONCE: usize = 8;
const JSON: &str = "application/json";

impl Door {
    pub async fn embed(&self, model: &str, request: &EmbeddingRequest) -> Result<Embeddings, UpstreamFailure> {
        let embedder = BedrockEmbedder::of(model)?;
        let bodies = embedder.bodies(request)?;
        let parts = stream::iter(bodies)
            .map(|body| async move { embedder.parse(&self.caller.invoke(model, body.to_string(), request).await?) })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        joined(parts, request.texts.len())
    }
}

impl Bedrock {
    async fn invoke(&self, model: &str, body: String, request: &EmbeddingRequest) -> Result<Vec<u8>, UpstreamFailure> {
        let answered = self
            .client()
            .await?
            .invoke_model()
            .model_id(model)
            .content_type(JSON)
            .accept(JSON)
            .body(Blob::new(body))
            .send()
            .await
            .map_err(|error| self.failed(failure::of_call(&error, &asked(request))))?;
        Ok(answered.body.into_inner())
    }
}
