//! `model_metadata`: which model a request is for, in every body form.

use std::fmt;

use super::invalid::Invalid;
use super::read::Reader;
use super::tree::Map;
use crate::family::Family;
use crate::identifier::Identifier;

/// A key for a model server that came in a body. It cannot be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Wraps a key.
    pub fn new(key: impl Into<String>) -> Self {
        ApiKey(key.into())
    }

    /// The key itself, for the `Authorization` header only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The model a request names, unchecked but within its limits. Self-hosted GitLab always sends provider `openai`
/// (`litellm` in completions), also for Bedrock and Azure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelMetadata {
    /// At most 255 characters.
    pub provider: Option<String>,
    /// Family, at most 255 characters.
    pub name: Option<String>,
    /// Base URL, at most 255 characters; a placeholder for Bedrock.
    pub endpoint: Option<String>,
    /// At most 2,000 characters; blank counts as absent.
    pub api_key: Option<ApiKey>,
    /// At most 1,000 characters.
    pub identifier: Option<String>,
}

/// Metadata that names a model: what to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSelection {
    /// The family, for prompts and parameters.
    pub family: Family,
    /// Server kind and model; `None` when the request names none (clients of 17.10 and older), which only a declared
    /// model can answer: the one of this family and endpoint.
    pub identifier: Option<Identifier>,
    /// http or https URL without trailing slash; `None` for Bedrock and Vertex, whatever was sent.
    pub endpoint: Option<String>,
    /// The key the request brought, if any.
    pub api_key: Option<ApiKey>,
}

impl ModelMetadata {
    pub(super) fn read(reader: &mut Reader, map: &mut Map) -> Option<Self> {
        Some(ModelMetadata {
            provider: reader.text(map, "provider", 255),
            name: reader.text(map, "name", 255),
            endpoint: reader.text(map, "endpoint", 255),
            api_key: reader.text(map, "api_key", 2000).filter(|key| !key.trim().is_empty()).map(ApiKey),
            identifier: reader.text(map, "identifier", 1000),
        })
    }

    /// The model to call.
    ///
    /// # Errors
    /// 422 list detail: a vendored provider (`gitlab`, `amazon_q`), a missing or unknown family, an identifier
    /// without a model, an endpoint that is not an http(s) URL or is missing where the server kind needs one. There is no default
    /// model to fall through to, as the official gateway does.
    pub fn select(&self) -> Result<ModelSelection, Invalid> {
        let at = |field: &'static str| ["body", "model_metadata", field];
        if let Some(provider @ ("gitlab" | "amazon_q")) = self.provider.as_deref() {
            let msg = format!("Models of provider '{provider}' are not served here, only self-hosted models are");
            return Err(Invalid::one(&at("provider"), &msg, "value_error"));
        }
        let Some(name) = self.name.as_deref().filter(|name| !name.is_empty()) else {
            return Err(Invalid::one(&at("name"), "The model family is missing", "missing"));
        };
        let family = Family::parse(name)?;
        let identifier = match self.identifier.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(identifier) => Some(Identifier::parse(identifier)?),
        };
        let url = self.endpoint.as_deref().unwrap_or_default().trim().trim_end_matches('/');
        let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let blank = |c: char| c.is_whitespace() || c.is_control();
        let valid = host.is_some_and(|host| !host.is_empty() && !host.starts_with('/') && !host.contains(blank));
        let endpoint = match &identifier {
            Some(identifier) if !identifier.provider.uses_endpoint() => None,
            // an old client's placeholder is none that could be called
            None if !valid => None,
            _ if valid => Some(url.to_owned()),
            _ => {
                let msg = "The endpoint must be an http or https URL, for example https://models.example.com/v1";
                return Err(Invalid::one(&at("endpoint"), msg, "url_parsing"));
            }
        };
        Ok(ModelSelection { family, identifier, endpoint, api_key: self.api_key.clone() })
    }

    /// The fault of a body without any metadata.
    pub fn missing() -> Invalid {
        Invalid::one(&["body", "model_metadata"], "Field required: there is no default model", "missing")
    }
}
