//! Vectors of texts from a place: `…/embeddings` of OpenAI-compatible servers and Azure, InvokeModel of Bedrock.

use duo_protocol::embeddings::{EmbeddingRequest, Embeddings};
use duo_protocol::model::{ChatMessage, UpstreamFailure};

use super::place::Door;
use super::{CallOptions, Place};

impl Place {
    /// Asks for the vectors of texts.
    ///
    /// # Errors
    /// [`UpstreamFailure`].
    pub async fn embed(
        &self,
        request: &EmbeddingRequest,
        options: &CallOptions,
    ) -> Result<Embeddings, UpstreamFailure> {
        let answer = async {
            match &self.door {
                Door::Bedrock(door) => door.embed(self.model(), request).await,
                Door::Json(door) => door.embed(request, &options.trace).await,
                Door::Closed(failure) => Err(failure.clone()),
            }
        };
        tokio::time::timeout(options.timeouts.overall, answer).await.unwrap_or(Err(UpstreamFailure::Timeout))
    }
}

/// What was asked, for taking it out of a server's words.
pub(super) fn asked(request: &EmbeddingRequest) -> Vec<ChatMessage> {
    request.texts.iter().map(ChatMessage::user).collect()
}
