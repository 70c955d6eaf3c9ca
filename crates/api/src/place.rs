//! Where a model is served beside its own endpoint, and how a place is reached.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::calls::PriceSpec;
use crate::common::{CaBundleRef, LocalRef, SecretKeyRef};
use crate::family::Family;
use crate::model::Platform;

/// How a place is reached and what is special about it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionSpec {
    /// Bedrock: AWS region, VertexAI: location, in place of the one in AIGateway `spec.providers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z][a-z0-9-]*$"))]
    pub region: Option<String>,
    /// Bedrock and VertexAI: endpoint in place of the one in AIGateway `spec.providers`, which is used only in its own
    /// region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = crate::rules::http_url("connection.endpoint", ""))]
    pub endpoint: Option<String>,
    /// Bedrock: role that is assumed for the calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume_role: Option<AssumeRoleSpec>,
    /// AzureOpenAI: version of the deployments API, for example `2024-10-21`. Left out: the versionless `/openai/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?$"))]
    pub api_version: Option<String>,
    /// OpenAICompatible: what code completions are sent to. Left out: `Chat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_api: Option<CompletionApi>,
    /// Client certificate for mutual TLS: Secret of type `kubernetes.io/tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret_ref: Option<LocalRef>,
    /// CA certificates to trust for this place, beside the common ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
    /// HTTP proxy for this place in place of the gateway's; `""`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = crate::rules::proxy_url("proxyUrl", true))]
    pub proxy_url: Option<String>,
}

/// A role of AWS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssumeRoleSpec {
    /// `arn:aws:iam::<account>:role/<name>`.
    #[schemars(length(max = 2048), regex(pattern = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$"))]
    pub role_arn: String,
    /// External id that the role's trust policy asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1224), regex(pattern = r"^[A-Za-z0-9+=,.@:/_-]{2,}$"))]
    pub external_id: Option<String>,
    /// URL of STS in place of the region's public one, for example a VPC endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = crate::rules::http_url("stsEndpoint", ""))]
    pub sts_endpoint: Option<String>,
}

/// What code completions of an OpenAI-compatible server are sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CompletionApi {
    /// `/chat/completions`.
    Chat,
    /// `/completions` with the family's fill-in-the-middle text.
    Completions,
    /// `/completions` with the code behind the cursor in `suffix`.
    Suffix,
}

/// A further place that serves the same model: calls are spread over all by weight, and a failing one is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MirrorSpec {
    /// Name of the place, unique among the mirrors.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,26}[a-z0-9])?$"))]
    pub name: String,
    /// Base URL; required for OpenAICompatible and AzureOpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = crate::rules::http_url("endpoint", "http://vllm.models.svc:8000/v1"))]
    pub endpoint: Option<String>,
    /// API key of this endpoint. Left out: none, also where the model has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// Share of the calls beside the others' weights; 0: only when all others fail. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub weight: Option<i32>,
    /// How it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionSpec>,
}

/// A model that answers when all places of the declared one fail, in the order of the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("self.identifier.startsWith(self.platform == 'Bedrock' ? 'bedrock/' : self.platform == 'OpenAICompatible' ? 'custom_openai/' : self.platform == 'AzureOpenAI' ? 'azure/' : 'vertex_ai/')")
        .message("identifier of a fallback must start with its platform's prefix: bedrock/, custom_openai/, azure/ or vertex_ai/")
        .field_path(".identifier"),
    validation = Rule::new("(self.platform in ['OpenAICompatible', 'AzureOpenAI']) == has(self.endpoint)")
        .message("endpoint of a fallback is required for OpenAICompatible and AzureOpenAI and not used for Bedrock and VertexAI"),
    validation = Rule::new("self.platform in ['OpenAICompatible', 'AzureOpenAI'] || !has(self.apiKeySecretRef)")
        .message("apiKeySecretRef of a fallback is not used for Bedrock and VertexAI: credentials belong in AIGateway spec.providers"),
    validation = Rule::new("!has(self.connection) || ((self.platform in ['Bedrock', 'VertexAI'] || (!has(self.connection.region) && !has(self.connection.endpoint))) && (self.platform == 'Bedrock' || !has(self.connection.assumeRole)) && (self.platform == 'AzureOpenAI' || !has(self.connection.apiVersion)) && (self.platform == 'OpenAICompatible' || !has(self.connection.completionApi)))")
        .message("connection of a fallback: region and endpoint are for Bedrock and VertexAI, assumeRole for Bedrock, apiVersion for AzureOpenAI, completionApi for OpenAICompatible")
        .field_path(".connection"),
)]
#[serde(rename_all = "camelCase")]
pub struct FallbackSpec {
    /// Name of the fallback, unique among them.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,26}[a-z0-9])?$"))]
    pub name: String,
    /// Where it runs.
    pub platform: Platform,
    /// Identifier with the platform's prefix.
    #[schemars(length(min = 1, max = 255))]
    pub identifier: String,
    /// Family, when it is another than the model's: the prompt is then written for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Base URL; required for OpenAICompatible and AzureOpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = crate::rules::http_url("endpoint", "http://vllm.models.svc:8000/v1"))]
    pub endpoint: Option<String>,
    /// API key of the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeyRef>,
    /// How it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionSpec>,
    /// What its tokens cost. Left out: as the model's where the identifier is the model's, else they have no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<PriceSpec>,
}
