//! Which server and which model a GitLab `identifier` names.
//!
//! The rule is the official gateway's: split at the first `/`; without one the server is `custom_openai`. An empty
//! identifier is an error (the official gateway calls another model or answers 500).

use std::fmt;

use crate::contract::Invalid;

/// The kind of server before the first `/` of an identifier.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Provider {
    /// `custom_openai`: any server with the OpenAI API at the request's endpoint (vLLM and friends).
    CustomOpenai,
    /// `openai`: the same wire format.
    OpenAi,
    /// `bedrock`: AWS Bedrock, Converse API; the endpoint is ignored.
    Bedrock,
    /// `azure`: Azure OpenAI; the model is the deployment.
    Azure,
    /// `vertex_ai`: Google Vertex AI; the endpoint is ignored.
    VertexAi,
    /// `anthropic`: Anthropic's Messages API.
    Anthropic,
    /// `bedrock_mantle`: Bedrock's OpenAI-compatible door, by a Bedrock API key.
    BedrockMantle,
    /// Any other name, as written.
    Other(String),
}

impl Provider {
    fn parse(name: &str) -> Self {
        match name {
            "custom_openai" => Provider::CustomOpenai,
            "openai" => Provider::OpenAi,
            "bedrock" => Provider::Bedrock,
            "azure" => Provider::Azure,
            "vertex_ai" => Provider::VertexAi,
            "anthropic" => Provider::Anthropic,
            "bedrock_mantle" => Provider::BedrockMantle,
            other => Provider::Other(other.to_owned()),
        }
    }

    /// The name as it stands in identifiers.
    pub fn as_str(&self) -> &str {
        match self {
            Provider::CustomOpenai => "custom_openai",
            Provider::OpenAi => "openai",
            Provider::Bedrock => "bedrock",
            Provider::Azure => "azure",
            Provider::VertexAi => "vertex_ai",
            Provider::Anthropic => "anthropic",
            Provider::BedrockMantle => "bedrock_mantle",
            Provider::Other(name) => name,
        }
    }

    /// Whether calls go to the `endpoint` of the request or the declaration. Bedrock and Vertex ignore it: GitLab
    /// sends a placeholder there (`http://bedrockselfhostedmodel.com`).
    pub fn uses_endpoint(&self) -> bool {
        !matches!(self, Provider::Bedrock | Provider::VertexAi)
    }

    /// Whether the server speaks the OpenAI chat completions format. Vertex AI does so for some models.
    pub fn speaks_openai(&self) -> bool {
        matches!(self, Provider::CustomOpenai | Provider::OpenAi | Provider::Azure | Provider::BedrockMantle)
    }
}

/// A parsed identifier. `Display` gives the normal form `provider/model`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identifier {
    /// The kind of server.
    pub provider: Provider,
    /// What the server calls the model: never empty; may hold further `/` and `:`.
    pub model: String,
}

impl Identifier {
    /// Splits `raw` at its first `/`.
    ///
    /// # Errors
    /// A 422 list detail when nothing is left for the model.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let raw = raw.trim();
        let (provider, model) = match raw.split_once('/') {
            Some((provider, model)) => (Provider::parse(provider), model),
            None => (Provider::CustomOpenai, raw),
        };
        if model.is_empty() {
            return Err(Self::missing());
        }
        Ok(Identifier { provider, model: model.to_owned() })
    }

    /// The fault of a request that names no model.
    pub fn missing() -> Invalid {
        Invalid::one(
            &["body", "model_metadata", "identifier"],
            "The model identifier is empty: set it to <provider>/<model>, for example custom_openai/<model name>",
            "missing",
        )
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider.as_str(), self.model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_the_first_slash_and_defaults_to_custom_openai() {
        let table = [
            ("bedrock/mistral.mixtral-8x7b-instruct-v0:1", Provider::Bedrock, "mistral.mixtral-8x7b-instruct-v0:1"),
            ("custom_openai/org/model", Provider::CustomOpenai, "org/model"),
            ("my-model", Provider::CustomOpenai, "my-model"),
            ("azure/gpt-35-turbo", Provider::Azure, "gpt-35-turbo"),
            ("vertex_ai/gemini-2", Provider::VertexAi, "gemini-2"),
            ("bedrock_mantle/x", Provider::BedrockMantle, "x"),
            ("acme/x", Provider::Other("acme".into()), "x"),
            (" openai/gpt ", Provider::OpenAi, "gpt"),
        ];
        for (raw, provider, model) in table {
            assert_eq!(Identifier::parse(raw).unwrap(), Identifier { provider, model: model.into() }, "{raw}");
        }
    }

    #[test]
    fn trap_empty_identifier_is_refused_instead_of_calling_another_model() {
        for raw in ["", "  ", "bedrock/", "custom_openai/"] {
            let error = Identifier::parse(raw).unwrap_err();
            assert_eq!(error.0[0].loc.len(), 3, "{raw}");
        }
    }
}
