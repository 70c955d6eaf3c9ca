//! One place where a model is served: who it is, how it is reached, what it takes. Making one call of it is all it does;
//! which place is called, how often and for how long is decided by its callers.

use std::sync::Arc;

use duo_gateway_config::{ConfigError, Connection, Price, Rates, normal_endpoint};
use duo_protocol::cache::{CacheMarks, marks};
use duo_protocol::capability::Capability;
use duo_protocol::contract::Invalid;
use duo_protocol::family::Family;
use duo_protocol::identifier::{Identifier, Provider};
use duo_protocol::model::{ModelAnswer, ModelRequest, UpstreamFailure};

use super::json::{self, door::Plan};
use super::{Clients, ModelStream, Timeouts, bedrock, reach, stream};
use crate::config_store::{LoadError, Mounted};
use crate::secret::Secret;
use crate::telemetry::Passed;

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
    /// What its tokens cost, where that is known.
    pub rates: Option<Rates>,
    pub(super) door: Door,
    disable_streaming: bool,
}

/// How it is spoken to.
#[derive(Debug)]
pub(super) enum Door {
    Bedrock(bedrock::Door),
    Json(Box<json::door::Door>),
    /// It cannot be called as it is declared; each call gets this answer, and other models are not touched.
    Closed(UpstreamFailure),
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
    /// What its tokens cost.
    pub price: Option<&'a Price>,
}

/// What is special about one call.
#[derive(Clone, Debug)]
pub struct CallOptions {
    /// Times.
    pub timeouts: Timeouts,
    /// Whether the caller wants the provider's prompt cache; counts where [`Place::prompt_caching`] does, too.
    pub prompt_cache: bool,
    /// The trace that the call belongs to; passed on to servers that speak OpenAI's protocol.
    pub trace: Passed,
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
        let door = match identifier.provider {
            Provider::Bedrock => Door::Bedrock(bedrock::Door::new(clients.bedrock.clone(), &clients)),
            _ => Door::json(Plan {
                identifier: &identifier,
                family,
                endpoint: endpoint.as_deref(),
                key: api_key.as_ref(),
                connection: &Connection::default(),
                way: &clients.common.way,
                client: clients.http.clone(),
                clients: &clients,
            }),
        };
        let disable_streaming = clients.common.disable_streaming;
        Self {
            identifier,
            family,
            endpoint,
            api_key,
            capability,
            prompt_caching: true,
            rates: None,
            door,
            disable_streaming,
        }
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
        let way = reach::way(spec.connection, mounted, &clients.common.way)?;
        let door = match identifier.provider {
            Provider::Bedrock => {
                let account = reach::account(spec.connection, &clients.common.bedrock);
                Door::Bedrock(bedrock::Door::new(clients.bedrock(account, &way)?, clients))
            }
            _ => Door::json(Plan {
                identifier: &identifier,
                family,
                endpoint: endpoint.as_deref(),
                key: api_key.as_ref(),
                connection: spec.connection,
                client: clients.http(&way)?,
                way: &way,
                clients,
            }),
        };
        if let Door::Closed(failure) = &door {
            tracing::error!(field = spec.field, error = %failure, "the model cannot be called as it is declared");
        }
        Ok(Arc::new(Self {
            capability: duo_protocol::capability::of(&identifier, family),
            identifier,
            family,
            endpoint,
            api_key,
            prompt_caching: spec.prompt_caching.unwrap_or(true),
            // the configuration has been checked
            rates: spec.price.and_then(|price| Rates::read(price).ok()),
            door,
            disable_streaming: clients.common.disable_streaming,
        }))
    }

    /// The identifier without its kind, as the model server knows the model.
    pub fn model(&self) -> &str {
        &self.identifier.model
    }

    /// Whether code completions go to an API that fills gaps, and not into a conversation.
    pub fn fills_gaps(&self) -> bool {
        matches!(&self.door, Door::Json(door) if door.completions.is_some())
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
            let marks = self.marks(request, options);
            match &self.door {
                Door::Bedrock(door) => door.complete(&self.bedrock(request, marks)).await,
                Door::Json(door) => {
                    json::Call { place: self, door, request, marks, trace: &options.trace }.complete().await
                }
                Door::Closed(failure) => Err(failure.clone()),
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
        if self.disable_streaming {
            return Ok(stream::whole(self.complete(request, options).await?));
        }
        let deadline = tokio::time::Instant::now() + options.timeouts.overall;
        let start = async {
            let marks = self.marks(request, options);
            let stream = match &self.door {
                Door::Bedrock(door) => door.stream(&self.bedrock(request, marks)).await?,
                Door::Json(door) => {
                    json::Call { place: self, door, request, marks, trace: &options.trace }.stream().await?
                }
                Door::Closed(failure) => return Err(failure.clone()),
            };
            stream::started(stream, deadline).await
        };
        let first_byte = options.timeouts.first_byte.min(options.timeouts.overall);
        tokio::time::timeout(first_byte, start).await.unwrap_or(Err(UpstreamFailure::Timeout))
    }

    fn marks(&self, request: &ModelRequest, options: &CallOptions) -> CacheMarks {
        if self.prompt_caching && options.prompt_cache {
            marks(request, &self.capability)
        } else {
            CacheMarks::default()
        }
    }

    fn bedrock<'a>(&'a self, request: &'a ModelRequest, marks: CacheMarks) -> bedrock::Ask<'a> {
        bedrock::Ask { model: self.model(), request, marks }
    }
}

impl Door {
    fn json(plan: Plan<'_>) -> Self {
        plan.open().map_or_else(Self::Closed, |door| Self::Json(Box::new(door)))
    }
}
