//! Vectors by InvokeModel; Converse makes none.

use duo_protocol::embeddings::{BedrockEmbedder, EmbeddingRequest, Embeddings, joined};
use duo_protocol::model::UpstreamFailure;
use futures::{StreamExt, TryStreamExt, stream};

use super::super::embeddings::asked;
use super::super::json::{MAX_ANSWER, read};
use super::Door;
use super::call::Verb;

/// Titan takes one text a call; so many calls of a request are under way at a time.
const AT_ONCE: usize = 8;

impl Door {
    pub async fn embed(&self, model: &str, request: &EmbeddingRequest) -> Result<Embeddings, UpstreamFailure> {
        let embedder = BedrockEmbedder::of(model)?;
        let bodies = embedder.bodies(request)?;
        let parts = stream::iter(bodies)
            .map(|body| async move { embedder.parse(&self.invoke(model, body.to_string(), request).await?) })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        joined(parts, request.texts.len())
    }
}

impl Door {
    async fn invoke(&self, model: &str, body: String, request: &EmbeddingRequest) -> Result<Vec<u8>, UpstreamFailure> {
        let asked = asked(request);
        let answer = async {
            let mut reply = self.caller.call(self, model, Verb::Invoke, body.into_bytes(), &asked).await?;
            read(&mut reply, MAX_ANSWER).await
        };
        answer.await.map_err(|failure| self.caller.failed(failure, &asked))
    }
}
