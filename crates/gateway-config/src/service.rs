//! Settings of the gateway itself: its listener, what it tells about its work, what models cost.

use serde::{Deserialize, Serialize};

use crate::CertificateFiles;

/// TLS of the API listener. Files are read again when they change; connections under way keep their certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerTls {
    /// Certificate and key, files of the folder.
    pub certificate: CertificateFiles,
    /// True: the port takes plain HTTP, too, for the time in which callers change from the one to the other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accept_plain: bool,
}

/// HTTP proxy for calls of model servers and GitLab, in place of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proxy {
    /// For https:// addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https_proxy: Option<String>,
    /// For http:// addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_proxy: Option<String>,
    /// Hosts, domains and CIDRs that are called directly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_proxy: Vec<String>,
}

/// Traces by OTLP over HTTP (protobuf).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tracing {
    /// Base URL of the collector, `http://otel-collector:4318`; spans go to `/v1/traces` below it.
    pub otlp_endpoint: String,
    /// File of the folder: JSON object of headers for the collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_file: Option<String>,
    /// Traces begun here that are kept, per mille; a caller's sampled `traceparent` is always kept. Default 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_per_mille: Option<u32>,
}

/// What a model's tokens cost, in the configuration's `currency`. Decimal numbers as text (`"3.00"`), because they are
/// money: they are not rounded on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Price {
    /// A million tokens read.
    pub input_per_million: String,
    /// A million tokens written.
    pub output_per_million: String,
    /// A million tokens read from the prompt cache; default: as input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_per_million: Option<String>,
    /// A million tokens written to the prompt cache; default: as input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_per_million: Option<String>,
}

/// A guardrail of Bedrock that every call of a Bedrock model passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Guardrail {
    /// Id or ARN.
    pub identifier: String,
    /// Version number or `DRAFT`.
    pub version: String,
    /// What the answer tells of the guardrail's work; nothing of it is logged. Default `Disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<GuardrailTrace>,
    /// Whether pieces of a stream wait for the guardrail. Default `Sync`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_processing: Option<GuardrailStream>,
}

/// `trace` of a guardrail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuardrailTrace {
    /// `disabled`.
    Disabled,
    /// `enabled`.
    Enabled,
    /// `enabled_full`.
    Full,
}

/// `streamProcessingMode` of a guardrail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuardrailStream {
    /// Pieces wait until the guardrail has seen them.
    Sync,
    /// Pieces go out at once; the guardrail may stop the rest.
    Async,
}

/// Google Vertex AI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VertexAi {
    /// Google Cloud project.
    pub project: String,
    /// Location, for example `europe-west1` or `global`.
    pub location: String,
    /// In place of `https://<location>-aiplatform.googleapis.com` (Private Service Connect, a simulator).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// File of the folder: a service account's key (JSON). Left out: the metadata server (workload identity).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<String>,
}
