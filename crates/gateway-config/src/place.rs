//! Where a model is served and how to get there.

use serde::{Deserialize, Serialize};

use crate::Price;

/// How a place is reached and what is special about it. All optional; fields that the identifier's kind does not know
/// are an error, not ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// Bedrock: AWS region in place of `providers.bedrock.region`. Vertex AI: location in place of the provider's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Bedrock and Vertex AI: endpoint in place of the provider's. The provider's is used only where the region is the
    /// provider's, too: a VPC endpoint serves one region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Bedrock: role that is assumed for the calls, with the gateway's own credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume_role: Option<AssumeRole>,
    /// Azure OpenAI: version of the deployments API (`2024-10-21`). Left out: the versionless `/openai/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// `custom_openai/`: what code completions are sent to. Left out: `/chat/completions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_api: Option<CompletionApi>,
    /// Files of the folder: PEM client certificate (chain) for mutual TLS with the server, with its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<CertificateFiles>,
    /// File of the folder: PEM certificates trusted for this place in addition to the common ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_file: Option<String>,
    /// HTTP proxy for this place in place of the common one; `""`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_url: Option<String>,
}

impl Connection {
    /// Nothing is special.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A role of AWS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AssumeRole {
    /// `arn:aws:iam::<account>:role/<name>`.
    pub role_arn: String,
    /// External id that the role's trust policy asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// In place of the region's public endpoint of STS (VPC endpoint, a simulator).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sts_endpoint: Option<String>,
}

/// The API of an OpenAI-compatible server that code completions use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompletionApi {
    /// `/chat/completions`, as GitLab's own gateway does; the fill-in-the-middle text is the user's message.
    Chat,
    /// `/completions` with the family's fill-in-the-middle text as `prompt`; for servers of code models.
    Completions,
    /// `/completions` with the code behind the cursor in `suffix`; for servers that build the text themselves.
    Suffix,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateFiles {
    /// PEM certificate, then its intermediates.
    pub certificate_file: String,
    /// PEM private key.
    pub key_file: String,
}

/// One more place with the same model: calls are spread over all of them by weight, and a failing one is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replica {
    /// Base URL; required but for Bedrock and Vertex AI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// File of the folder: this place's key. Left out: no key, also where the model has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<String>,
    /// Share of the calls beside the others' weights, 0 to 1000; 0: only when all others fail. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// How it is reached.
    #[serde(default, skip_serializing_if = "Connection::is_empty")]
    pub connection: Connection,
}

/// Who answers when all places of the model fail, in the order of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fallback {
    /// Identifier, of any kind.
    pub identifier: String,
    /// Family, when it is another: the prompt is then written anew for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Base URL; required but for Bedrock and Vertex AI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// File of the folder: its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<String>,
    /// How it is reached.
    #[serde(default, skip_serializing_if = "Connection::is_empty")]
    pub connection: Connection,
    /// What its tokens cost. Left out: as the model's when the identifier is the model's, else they have no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}
