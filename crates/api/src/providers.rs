//! Model platforms with settings of their own: what their models share.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::{LocalRef, SecretKeyRef};

/// Model platforms with settings of their own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProvidersSpec {
    /// AWS Bedrock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bedrock: Option<BedrockSpec>,
    /// Google Vertex AI.
    #[serde(default, rename = "vertexAI", skip_serializing_if = "Option::is_none")]
    pub vertex_ai: Option<VertexAiSpec>,
}

/// AWS Bedrock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!has(self.fips) || !self.fips || !has(self.endpoint)")
        .message("providers.bedrock: fips chooses the region's FIPS endpoint, so it cannot stand beside endpoint")
        .field_path(".fips")
)]
#[serde(rename_all = "camelCase")]
pub struct BedrockSpec {
    /// AWS region of the Bedrock runtime, for example `us-east-1`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$"))]
    pub region: String,
    /// Secret whose keys are named as the AWS variables: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, with
    /// `AWS_SESSION_TOKEN` where needed, or `AWS_BEARER_TOKEN_BEDROCK`. Left out: workload identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<LocalRef>,
    /// URL of the Bedrock runtime in place of the public one, for example a VPC endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = crate::rules::http_url("providers.bedrock.endpoint", ""))]
    pub endpoint: Option<String>,
    /// `true`: the region's FIPS endpoint.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fips: bool,
    /// Guardrail that every call of a Bedrock model passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardrail: Option<GuardrailSpec>,
}

/// A guardrail of Bedrock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GuardrailSpec {
    /// Id or ARN.
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^\S+$"))]
    pub identifier: String,
    /// Version number or `DRAFT`.
    #[schemars(regex(pattern = r"^([1-9][0-9]{0,7}|DRAFT)$"))]
    pub version: String,
    /// What answers tell of the guardrail's work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<GuardrailTrace>,
    /// Whether pieces of a stream wait for the guardrail (`Sync`, the default) or go out at once (`Async`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_processing: Option<GuardrailStream>,
}

/// What answers tell of a guardrail's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GuardrailTrace {
    /// Nothing.
    Disabled,
    /// What it did.
    Enabled,
    /// Also what it let through.
    Full,
}

/// Whether pieces of a stream wait for the guardrail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GuardrailStream {
    /// They wait.
    Sync,
    /// They go out at once; the guardrail may stop the rest.
    Async,
}

/// Google Vertex AI.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VertexAiSpec {
    /// Google Cloud project.
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[a-z0-9][a-z0-9.:-]*$"))]
    pub project: String,
    /// Location, for example `europe-west1` or `global`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z][a-z0-9-]*$"))]
    pub location: String,
    /// URL in place of the location's public one, for example Private Service Connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = crate::rules::http_url("providers.vertexAI.endpoint", ""))]
    pub endpoint: Option<String>,
    /// Key of a service account (JSON). Left out: workload identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretKeyRef>,
}
