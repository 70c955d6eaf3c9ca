//! Where a JSON place is called and as whom, settled once when the place is made: address, headers, key, the name of
//! the model in the body.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use duo_gateway_config::{CompletionApi, Connection};
use duo_protocol::family::Family;
use duo_protocol::fim::{FimFormat, format_of};
use duo_protocol::identifier::{Identifier, Provider};
use duo_protocol::model::UpstreamFailure;
use duo_protocol::vertex::{self, VertexDoor};
use duo_protocol::{anthropic, failure::phrase};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;

use super::super::Clients;
use super::super::bedrock::Credentials;
use super::super::caller::{Caller, Target};
use super::super::google::Tokens;
use super::super::way::{AGENT, Way};
use crate::secret::Secret;

/// What servers take for "no key"; some refuse a call without any.
const NO_KEY: &str = "dummy_key";
const OPENAI: &str = "https://api.openai.com/v1";
const ANTHROPIC: &str = "https://api.anthropic.com";
/// What GitLab's form asks for where a platform needs no endpoint.
const PLACEHOLDER: &str = "bedrockselfhostedmodel.com";

/// How the body is written and the answer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Dialect {
    OpenAi,
    Anthropic,
    AnthropicOnVertex,
}

/// A way in to one model.
#[derive(Debug)]
pub(in super::super) struct Door {
    pub(super) dialect: Dialect,
    pub(super) client: Caller,
    pub(super) whole: Target,
    pub(super) stream: Target,
    /// The key among them, unless it is a token that is renewed.
    pub(super) headers: HeaderMap,
    pub(super) key: Option<Secret>,
    pub(super) tokens: Option<Arc<Tokens>>,
    /// The model's name in the body.
    pub(super) model: String,
    pub(in super::super) completions: Option<Completions>,
    /// The server does not know `stream_options`.
    pub(super) plain_streams: AtomicBool,
}

/// The completions API of the server.
#[derive(Debug)]
pub(in super::super) struct Completions {
    pub to: Target,
    /// `None`: the server writes the model's format itself.
    pub format: Option<FimFormat>,
}

/// What a door is made from.
pub(in super::super) struct Plan<'a> {
    pub identifier: &'a Identifier,
    pub family: Family,
    pub endpoint: Option<&'a str>,
    pub key: Option<&'a Secret>,
    pub connection: &'a Connection,
    pub way: &'a Way,
    pub client: Caller,
    pub clients: &'a Clients,
}

impl Plan<'_> {
    /// Makes the door.
    ///
    /// # Errors
    /// What a call would be answered with: the place cannot be called as it is declared.
    pub fn open(self) -> Result<Door, UpstreamFailure> {
        match &self.identifier.provider {
            Provider::CustomOpenai => self.openai(self.endpoint.unwrap_or_default(), self.key),
            Provider::OpenAi => self.openai(self.endpoint_or(OPENAI), self.key),
            Provider::BedrockMantle => self.mantle(),
            Provider::Azure => self.azure(),
            Provider::Anthropic => self.anthropic(),
            Provider::VertexAi => self.vertex(),
            kind => Err(refused(&format!(
                "models of kind '{}' cannot be called by this gateway; use bedrock/, custom_openai/, azure/, openai/, \
                 anthropic/, vertex_ai/ or bedrock_mantle/",
                kind.as_str()
            ))),
        }
    }

    fn endpoint_or<'b>(&'b self, public: &'b str) -> &'b str {
        self.endpoint.filter(|endpoint| !endpoint.contains(PLACEHOLDER)).unwrap_or(public)
    }

    fn door(&self, dialect: Dialect, whole: Url) -> Door {
        let whole = self.client.target(whole);
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (ACCEPT, HeaderValue::from_static("*/*")),
            (USER_AGENT, HeaderValue::from_static(AGENT)),
        ]);
        Door {
            dialect,
            client: self.client.clone(),
            stream: whole.clone(),
            whole,
            headers,
            key: None,
            tokens: None,
            model: self.identifier.model.clone(),
            completions: None,
            plain_streams: AtomicBool::new(false),
        }
    }

    fn openai(&self, base: &str, key: Option<&Secret>) -> Result<Door, UpstreamFailure> {
        let mut door = self.door(Dialect::OpenAi, url(&[base, "/chat/completions"])?);
        door.extra(self.clients);
        door.header(AUTHORIZATION, "Bearer ", key.map_or(NO_KEY, Secret::expose))?;
        door.key = key.cloned();
        let api = self.connection.completion_api.unwrap_or(CompletionApi::Chat);
        if api != CompletionApi::Chat {
            let format = match api {
                CompletionApi::Suffix => None,
                _ => Some(format_of(self.family, &self.identifier.model).ok_or_else(|| {
                    refused(&format!(
                        "no fill-in-the-middle format is known for family {} and model {}: set completionApi to Suffix \
                         if the server writes it itself, else leave it out",
                        self.family, self.identifier.model
                    ))
                })?),
            };
            let to = self.client.target(url(&[base, "/completions"])?);
            door.completions = Some(Completions { to, format });
        }
        Ok(door)
    }

    /// By the API key of the place, or the account's own: that one goes to the region's public address only.
    fn mantle(&self) -> Result<Door, UpstreamFailure> {
        let account = &self.clients.common.bedrock;
        let region = self.connection.region.as_deref().or(account.region.as_deref()).unwrap_or("us-east-1");
        let public = format!("https://bedrock-mantle.{region}.api.aws/v1");
        let base = self.endpoint_or(&public);
        let accounts = match &account.credentials {
            Credentials::Bearer(key) if base == public => Some(key),
            _ => None,
        };
        let Some(key) = self.key.or(accounts) else {
            return Err(UpstreamFailure::Status {
                code: 401,
                reason: format!("{}: bedrock_mantle/ needs a Bedrock API key; it takes no access keys", phrase(401)),
                retry_after: None,
            });
        };
        self.openai(base, Some(key))
    }

    fn azure(&self) -> Result<Door, UpstreamFailure> {
        let base = self.endpoint.unwrap_or_default().trim_end_matches('/').trim_end_matches("/openai/v1");
        let common = self.clients.common.azure_api_version.as_deref();
        let address = match self.connection.api_version.as_deref().or(common) {
            None => url(&[base, "/openai/v1/chat/completions"])?,
            Some(version) => {
                let mut address = url(&[base, "/openai/deployments"])?;
                address.path_segments_mut().map_err(|()| bad_endpoint())?.extend([
                    &self.identifier.model,
                    "chat",
                    "completions",
                ]);
                address.query_pairs_mut().append_pair("api-version", version);
                address
            }
        };
        let mut door = self.door(Dialect::OpenAi, address);
        door.extra(self.clients);
        door.header(HeaderName::from_static("api-key"), "", self.key.map_or(NO_KEY, Secret::expose))?;
        door.key = self.key.cloned();
        Ok(door)
    }

    fn anthropic(&self) -> Result<Door, UpstreamFailure> {
        let base = self.endpoint_or(ANTHROPIC).trim_end_matches('/').trim_end_matches("/v1");
        let mut door = self.door(Dialect::Anthropic, url(&[base, "/v1/messages"])?);
        door.headers.insert("anthropic-version", HeaderValue::from_static(anthropic::VERSION));
        door.header(HeaderName::from_static("x-api-key"), "", self.key.map_or(NO_KEY, Secret::expose))?;
        door.key = self.key.cloned();
        Ok(door)
    }

    fn vertex(&self) -> Result<Door, UpstreamFailure> {
        let Some(provider) = &self.clients.common.vertex else {
            return Err(refused(
                "Vertex AI has no settings: set providers.vertexAi in the configuration, or VERTEXAI_PROJECT and \
                 VERTEXAI_LOCATION",
            ));
        };
        let location = self.connection.region.as_deref().unwrap_or(&provider.location);
        let own = provider.endpoint.as_deref().filter(|_| location == provider.location);
        let public = vertex::base(location);
        let base = self.connection.endpoint.as_deref().or(own).unwrap_or(&public);
        let model = &self.identifier.model;
        let address = |stream| url(&[&vertex::url(base, &provider.project, location, model, stream)]);
        let dialect = match vertex::door(model) {
            VertexDoor::Anthropic => Dialect::AnthropicOnVertex,
            VertexDoor::Mistral | VertexDoor::OpenAi => Dialect::OpenAi,
        };
        let mut door = self.door(dialect, address(false)?);
        door.stream = self.client.target(address(true)?);
        door.model = vertex::body_model(model);
        door.tokens = Some(self.clients.google(self.way, &self.client.general));
        Ok(door)
    }
}

impl Door {
    fn extra(&mut self, clients: &Clients) {
        for (name, value) in &clients.common.extra_headers {
            if [ACCEPT, USER_AGENT].contains(name) {
                // ours stand only where the administrator says nothing
                self.headers.remove(name);
            }
            self.headers.append(name, value.clone());
        }
    }

    fn header(&mut self, name: HeaderName, scheme: &str, key: &str) -> Result<(), UpstreamFailure> {
        self.headers.insert(name, sensitive(scheme, key).ok_or_else(bad_key)?);
        Ok(())
    }
}

/// A header value that is not shown; `None` for a key that no header can carry.
pub(super) fn sensitive(scheme: &str, key: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&[scheme, key].concat()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

pub(super) fn bad_key() -> UpstreamFailure {
    UpstreamFailure::Status {
        code: 401,
        reason: format!("{}: the model's API key holds characters that HTTP cannot carry; check the key", phrase(401)),
        retry_after: None,
    }
}

pub(super) fn bad_endpoint() -> UpstreamFailure {
    refused("the endpoint is not a URL that can be called")
}

fn refused(reason: &str) -> UpstreamFailure {
    UpstreamFailure::Status { code: 400, reason: format!("{}: {reason}", phrase(400)), retry_after: None }
}

fn url(parts: &[&str]) -> Result<Url, UpstreamFailure> {
    let (base, rest) = parts.split_first().ok_or_else(bad_endpoint)?;
    let text = [base.trim_end_matches('/'), &rest.concat()].concat();
    match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(bad_endpoint()),
    }
}
