//! One place where a model is served: who it is, how it is reached, what it takes. Making one call of it is all it does;
//! which place is called, how often and for how long is decided by its callers.

use std::sync::Arc;

use duo_protocol::capability::Capability;
use duo_protocol::family::Family;
use duo_protocol::identifier::{Identifier, Provider};
use duo_protocol::model::{ModelAnswer, ModelRequest, UpstreamFailure};
use http::{HeaderName, HeaderValue};

use super::{ModelStream, Timeouts, bedrock, openai, stream};
use crate::secret::Secret;

/// What the clients are made from; a change makes new ones.
#[derive(Clone, Debug)]
pub struct Clients {
    /// For OpenAI-compatible servers.
    pub http: reqwest::Client,
    /// Added to each call of an OpenAI-compatible server.
    pub extra_headers: Vec<(HeaderName, HeaderValue)>,
    /// AWS Bedrock.
    pub bedrock: bedrock::Bedrock,
    /// Ask for whole answers even where the client streams.
    pub disable_streaming: bool,
}

/// A place to call.
#[derive(Debug)]
pub struct Place {
    /// Server kind and model.
    pub identifier: Identifier,
    /// The family that prompts are written for.
    pub family: Family,
    /// Base URL, where the kind has one.
    pub endpoint: Option<String>,
    /// The server's key.
    pub api_key: Option<Secret>,
    /// What the model takes.
    pub capability: Capability,
    /// The clients to call it with.
    pub clients: Arc<Clients>,
}

/// What is special about one call.
#[derive(Clone, Copy, Debug)]
pub struct CallOptions {
    /// Times.
    pub timeouts: Timeouts,
}

impl Place {
    /// A place whose capability is looked up by identifier and family.
    pub fn new(
        identifier: Identifier,
        family: Family,
        endpoint: Option<String>,
        api_key: Option<Secret>,
        clients: Arc<Clients>,
    ) -> Self {
        let capability = duo_protocol::capability::of(&identifier, family);
        Self { identifier, family, endpoint, api_key, capability, clients }
    }

    /// The identifier without its kind, as the model server knows the model.
    pub fn model(&self) -> &str {
        &self.identifier.model
    }

    /// Asks for the whole answer. The request has been fitted to [`Place::capability`].
    ///
    /// # Errors
    /// [`UpstreamFailure`].
    pub async fn complete(
        &self,
        request: &ModelRequest,
        options: &CallOptions,
    ) -> Result<ModelAnswer, UpstreamFailure> {
        let answer = async {
            match &self.identifier.provider {
                Provider::Bedrock => self.clients.bedrock.complete(self, request).await,
                kind if kind.speaks_openai() => openai::complete(self, request).await,
                kind => Err(unsupported(kind.as_str())),
            }
        };
        tokio::time::timeout(options.timeouts.overall, answer).await.unwrap_or(Err(UpstreamFailure::Timeout))
    }

    /// Asks for the answer in pieces. The stream's first item has already arrived when this returns, so that a failure
    /// before it can still become a status; it is not asked again.
    ///
    /// # Errors
    /// [`UpstreamFailure`] when nothing of the answer has come.
    pub async fn stream(&self, request: &ModelRequest, options: &CallOptions) -> Result<ModelStream, UpstreamFailure> {
        if self.clients.disable_streaming {
            return Ok(stream::whole(self.complete(request, options).await?));
        }
        let deadline = tokio::time::Instant::now() + options.timeouts.overall;
        let start = async {
            let stream = match &self.identifier.provider {
                Provider::Bedrock => self.clients.bedrock.stream(self, request).await?,
                kind if kind.speaks_openai() => openai::stream(self, request).await?,
                kind => return Err(unsupported(kind.as_str())),
            };
            stream::started(stream, deadline).await
        };
        let first_byte = options.timeouts.first_byte.min(options.timeouts.overall);
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

#[cfg(test)]
impl Clients {
    /// Clients that reach nobody in particular.
    pub(crate) fn for_tests() -> Arc<Self> {
        let options = bedrock::Options {
            region: None,
            endpoint: None,
            credentials: bedrock::Credentials::Chain,
            trust: crate::trust::Trust::gather(&[]).unwrap(),
        };
        Arc::new(Self {
            http: reqwest::Client::builder().tls_certs_only([]).build().unwrap(),
            extra_headers: Vec::new(),
            bedrock: bedrock::Bedrock::new(options),
            disable_streaming: false,
        })
    }
}
