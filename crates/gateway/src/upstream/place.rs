//! One place where a model is served: who it is, how it is reached, what it takes. Making one call of it is all it does;
//! which place is called, how often and for how long is decided by its callers.

use std::sync::Arc;

use duo_gateway_config::{ConfigError, Connection, normal_endpoint};
use duo_protocol::capability::Capability;
use duo_protocol::contract::Invalid;
use duo_protocol::family::Family;
use duo_protocol::identifier::{Identifier, Provider};
use duo_protocol::model::{ModelAnswer, ModelRequest, UpstreamFailure};

use super::bedrock::{Bedrock, Role};
use super::way::{ClientCertificate, ProxyChoice, Way};
use super::{Clients, ModelStream, Timeouts, openai, stream};
use crate::config_store::{LoadError, Mounted};
use crate::secret::Secret;

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
    /// Mark the stable beginning of long prompts for the provider's cache.
    pub prompt_caching: bool,
    pub(super) http: reqwest::Client,
    pub(super) bedrock: Bedrock,
    pub(super) clients: Arc<Clients>,
}

/// A place as the configuration declares it: a model itself, a replica of it, or a fallback.
#[derive(Clone, Copy, Debug)]
pub struct PlaceSpec<'a> {
    /// Path of the declaration in the configuration, for errors: `models[0].fallbacks[1]`.
    pub field: &'a str,
    /// GitLab's identifier.
    pub identifier: &'a str,
    /// GitLab's family key.
    pub family: &'a str,
    /// Base URL; without meaning for Bedrock and Vertex AI.
    pub endpoint: Option<&'a str>,
    /// File of the folder with the server's key.
    pub api_key_file: Option<&'a str>,
    /// How it is reached.
    pub connection: &'a Connection,
    /// The model's `promptCaching`.
    pub prompt_caching: Option<bool>,
}

/// What is special about one call.
#[derive(Clone, Copy, Debug)]
pub struct CallOptions {
    /// Times.
    pub timeouts: Timeouts,
}

impl Place {
    /// A place with nothing of its own: what a request names, called the common way. Its capability is looked up by
    /// identifier and family.
    pub fn new(
        identifier: Identifier,
        family: Family,
        endpoint: Option<String>,
        api_key: Option<Secret>,
        clients: Arc<Clients>,
    ) -> Self {
        let capability = duo_protocol::capability::of(&identifier, family);
        let (http, bedrock) = (clients.http.clone(), clients.bedrock.clone());
        Self { identifier, family, endpoint, api_key, capability, prompt_caching: true, http, bedrock, clients }
    }

    /// A declared place with the files of the mounted folder that it names. Clients are shared with all places that
    /// are reached in the same way, and taken over from the last configuration (see [`Clients`]).
    ///
    /// # Errors
    /// [`LoadError`], naming the field or file.
    pub fn build(spec: &PlaceSpec<'_>, mounted: &Mounted, clients: &Arc<Clients>) -> Result<Arc<Self>, LoadError> {
        let refuse = |field: &str, invalid: &Invalid| ConfigError::Invalid {
            field: format!("{}.{field}", spec.field),
            problem: invalid.summary(),
        };
        let family = Family::parse(spec.family).map_err(|invalid| refuse("family", &invalid))?;
        let identifier = Identifier::parse(spec.identifier).map_err(|invalid| refuse("identifier", &invalid))?;
        let endpoint = spec.endpoint.and_then(normal_endpoint);
        let api_key = spec.api_key_file.map(|file| mounted.secret(file)).transpose()?;
        let mut place = Self::new(identifier, family, endpoint, api_key, clients.clone());
        place.prompt_caching = spec.prompt_caching.unwrap_or(true);
        let way = way(spec.connection, mounted, &clients.common.way)?;
        if place.identifier.provider == Provider::Bedrock {
            place.bedrock = clients.bedrock(account(spec.connection, clients), &way)?;
        } else {
            place.http = clients.http(&way)?;
        }
        Ok(Arc::new(place))
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
                Provider::Bedrock => self.bedrock.complete(self, request).await,
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
        if self.clients.common.disable_streaming {
            return Ok(stream::whole(self.complete(request, options).await?));
        }
        let deadline = tokio::time::Instant::now() + options.timeouts.overall;
        let start = async {
            let stream = match &self.identifier.provider {
                Provider::Bedrock => self.bedrock.stream(self, request).await?,
                kind if kind.speaks_openai() => openai::stream(self, request).await?,
                kind => return Err(unsupported(kind.as_str())),
            };
            stream::started(stream, deadline).await
        };
        let first_byte = options.timeouts.first_byte.min(options.timeouts.overall);
        tokio::time::timeout(first_byte, start).await.unwrap_or(Err(UpstreamFailure::Timeout))
    }
}

/// The common way with what the connection says otherwise.
fn way(connection: &Connection, mounted: &Mounted, common: &Way) -> Result<Way, LoadError> {
    let mut way = common.clone();
    if let Some(file) = &connection.ca_bundle_file {
        let problem = |problem| LoadError::File { file: file.clone(), problem };
        way.trust = way.trust.with(&[(file, mounted.secret(file)?.expose().as_bytes())]).map_err(problem)?;
    }
    if let Some(files) = &connection.client_certificate {
        let (certificate, key) = (mounted.secret(&files.certificate_file)?, mounted.secret(&files.key_file)?);
        let names = (files.certificate_file.as_str(), files.key_file.as_str());
        way.certificate = Some(ClientCertificate::read(&certificate, &key, names)?);
    }
    match connection.proxy_url.as_deref().map(str::trim) {
        None => {}
        Some("") => way.proxy = ProxyChoice::None,
        Some(url) => way.proxy = ProxyChoice::One(Secret::new(url)),
    }
    Ok(way)
}

/// The common account with what the connection says otherwise.
fn account(connection: &Connection, clients: &Clients) -> super::bedrock::Account {
    let mut account = clients.common.bedrock.clone();
    if let Some(region) = &connection.region
        && account.region.as_ref() != Some(region)
    {
        account.region = Some(region.clone());
        account.endpoint = None;
    }
    if let Some(endpoint) = &connection.endpoint {
        account.endpoint = Some(endpoint.clone());
    }
    account.role = connection.assume_role.as_ref().map(|role| Role {
        arn: role.role_arn.clone(),
        external_id: role.external_id.clone(),
        sts_endpoint: role.sts_endpoint.clone(),
    });
    account
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
