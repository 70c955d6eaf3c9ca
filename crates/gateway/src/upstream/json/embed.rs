//! `POST …/embeddings` beside the door's `…/chat/completions`.

use duo_protocol::embeddings::{EmbeddingRequest, Embeddings, openai_body, parse_openai};
use duo_protocol::failure::{cleaned, phrase};
use duo_protocol::model::UpstreamFailure;
use duo_protocol::openai::parse_error;

use super::super::embeddings::asked;
use super::door::{Dialect, Door};
use super::{MAX_ERROR, pass_on, read, retry_after, unreachable};
use crate::secret::Secret;
use crate::telemetry::Passed;

/// 2,048 vectors of 3,072 numbers are refused, 1,000 of 1,536 fit.
const MAX_ANSWER: usize = 64 << 20;
const CHAT: &str = "/chat/completions";

impl Door {
    pub(in super::super) async fn embed(
        &self,
        request: &EmbeddingRequest,
        trace: &Passed,
    ) -> Result<Embeddings, UpstreamFailure> {
        let mut url = self.whole.url.clone();
        let Some(base) = url.path().strip_suffix(CHAT).filter(|_| self.dialect == Dialect::OpenAi).map(str::to_owned)
        else {
            let reason = format!(
                "{}: vectors are made by custom_openai/, openai/, azure/ and bedrock/ models only",
                phrase(400)
            );
            return Err(UpstreamFailure::Status { code: 400, reason, retry_after: None });
        };
        url.set_path(&format!("{base}/embeddings"));
        let clean = |failure| cleaned(failure, self.key.as_ref().map(Secret::expose), &asked(request));
        let body = serde_json::to_vec(&openai_body(&self.model, request)).unwrap_or_default();
        let mut headers = self.headers.clone();
        pass_on(&mut headers, trace);
        let target = self.client.target(url);
        let mut response = self.client.post(&target, headers, body).await.map_err(|error| unreachable(&error))?;
        if !response.status().is_success() {
            let (status, retry_after) = (response.status().as_u16(), retry_after(response.headers()));
            let body = read(&mut response, MAX_ERROR).await.unwrap_or_default();
            return Err(clean(parse_error(status, retry_after, &body, &asked(request))));
        }
        let body = read(&mut response, MAX_ANSWER).await?;
        parse_openai(&body, request.texts.len()).map_err(clean)
    }
}
