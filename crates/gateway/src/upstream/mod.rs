//! Calls of model servers: which declared model a request means, and the clients that speak to it.
//!
//! Takes and gives the neutral types of `duo_protocol::model`; knows nothing of GitLab's bodies.

pub mod bedrock;
pub mod openai;
mod resolve;
mod stream;

use std::pin::Pin;
use std::time::Duration;

use duo_protocol::capability::Capability;
use duo_protocol::identifier::Identifier;
use duo_protocol::model::{ModelAnswer, ModelEvent, ModelRequest, UpstreamFailure};
use futures::Stream;
use http::{HeaderName, HeaderValue};

pub use resolve::{Declared, Directory, Target};

use crate::secret::Secret;

/// The answer as it arrives. Ends after its last item; an `Err` is the last item. Dropping it ends the call.
pub type ModelStream = Pin<Box<dyn Stream<Item = Result<ModelEvent, UpstreamFailure>> + Send>>;

/// Times of one model call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the model server's first byte.
    pub first_byte: Duration,
    /// Until its last.
    pub overall: Duration,
}

impl Timeouts {
    /// With another time for the whole call. A first byte that may come as late as the last may go on doing so.
    pub fn within(self, overall: Duration) -> Self {
        let first_byte = if self.first_byte < self.overall { self.first_byte.min(overall) } else { overall };
        Self { first_byte, overall }
    }
}

/// What the clients are made from; a change makes new ones.
#[derive(Clone)]
pub struct UpstreamSettings {
    /// For OpenAI-compatible servers.
    pub http: reqwest::Client,
    /// Added to each call of an OpenAI-compatible server.
    pub extra_headers: Vec<(HeaderName, HeaderValue)>,
    /// AWS Bedrock.
    pub bedrock: bedrock::Bedrock,
    /// Ask for whole answers even where the client streams.
    pub disable_streaming: bool,
}

/// One model to call.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Server kind and model.
    pub identifier: &'a Identifier,
    /// Base URL, where the kind has one.
    pub endpoint: Option<&'a str>,
    /// The server's key.
    pub api_key: Option<&'a Secret>,
    /// What the model takes; the request has been fitted to it.
    pub capability: &'a Capability,
    /// Times.
    pub timeouts: Timeouts,
}

impl UpstreamSettings {
    /// Asks for the whole answer.
    ///
    /// # Errors
    /// [`UpstreamFailure`].
    pub async fn complete(&self, call: &Call<'_>, request: &ModelRequest) -> Result<ModelAnswer, UpstreamFailure> {
        use duo_protocol::identifier::Provider;
        let answer = async {
            match &call.identifier.provider {
                Provider::Bedrock => self.bedrock.complete(call, request).await,
                kind if kind.speaks_openai() => openai::complete(self, call, request).await,
                kind => Err(unsupported(kind.as_str())),
            }
        };
        tokio::time::timeout(call.timeouts.overall, answer).await.unwrap_or(Err(UpstreamFailure::Timeout))
    }

    /// Asks for the answer in pieces. The stream's first item has already arrived when this returns, so that a failure
    /// before it can still become a status; it is not asked again.
    ///
    /// # Errors
    /// [`UpstreamFailure`] when nothing of the answer has come.
    pub async fn stream(&self, call: &Call<'_>, request: &ModelRequest) -> Result<ModelStream, UpstreamFailure> {
        use duo_protocol::identifier::Provider;
        if self.disable_streaming {
            return Ok(stream::whole(self.complete(call, request).await?));
        }
        let deadline = tokio::time::Instant::now() + call.timeouts.overall;
        let start = async {
            let stream = match &call.identifier.provider {
                Provider::Bedrock => self.bedrock.stream(call, request).await?,
                kind if kind.speaks_openai() => openai::stream(self, call, request).await?,
                kind => return Err(unsupported(kind.as_str())),
            };
            stream::started(stream, deadline).await
        };
        let first_byte = call.timeouts.first_byte.min(call.timeouts.overall);
        tokio::time::timeout(first_byte, start).await.unwrap_or(Err(UpstreamFailure::Timeout))
    }
}

fn unsupported(kind: &str) -> UpstreamFailure {
    UpstreamFailure::Status {
        code: 400,
        reason: format!(
            "models of kind '{kind}' cannot be called by this gateway; use bedrock/, custom_openai/ or azure/"
        ),
        retry_after: None,
    }
}

/// The innermost cause of a client error in a few words, without the URL (which may hold credentials).
pub fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    innermost(error)
}

/// The innermost of an error's sources.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_chat_may_also_begin_later_unless_the_first_byte_has_a_time_of_its_own() {
        let seconds = Duration::from_secs;
        let times = |first_byte, overall| Timeouts { first_byte: seconds(first_byte), overall: seconds(overall) };
        assert_eq!(times(60, 60).within(seconds(300)), times(300, 300));
        assert_eq!(times(60, 60).within(seconds(30)), times(30, 30));
        assert_eq!(times(20, 60).within(seconds(300)), times(20, 300));
        assert_eq!(times(20, 60).within(seconds(10)), times(10, 10));
    }
}
