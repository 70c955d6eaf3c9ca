//! Settings of the gateway itself: its listener, its callers, its way out, what it tells of its work.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::common::LocalRef;

/// TLS of the gateway's listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsSpec {
    /// Secret of type `kubernetes.io/tls`, as cert-manager writes it. A renewed certificate takes effect by itself.
    pub secret_ref: LocalRef,
}

/// What callers may use, counted by each gateway pod; beyond it a call gets 429 with `Retry-After`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitsSpec {
    /// For each user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_user: Option<AllowanceSpec>,
    /// For the whole GitLab instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_instance: Option<AllowanceSpec>,
}

/// What one caller may use; what is left out has no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowanceSpec {
    /// Model calls a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: Option<i32>,
    /// Tokens read and written a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub tokens_per_minute: Option<i64>,
    /// Calls at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrent_requests: Option<i32>,
}

/// HTTP proxy for the gateway's calls of model servers and GitLab.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxySpec {
    /// For https:// addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = crate::rules::proxy_url("proxy.httpsProxy", false))]
    pub https_proxy: Option<String>,
    /// For http:// addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = crate::rules::proxy_url("proxy.httpProxy", false))]
    pub http_proxy: Option<String>,
    /// Hosts, domains and CIDRs that are called directly, for example `.svc` and `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 253), regex(pattern = r"^[^\s,]+$")),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub no_proxy: Vec<String>,
}

/// Traces by OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TracingSpec {
    /// Base URL of the collector; spans go to `/v1/traces` below it.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = crate::rules::http_url("tracing.otlpEndpoint", "http://otel-collector.monitoring.svc:4318"))]
    pub otlp_endpoint: String,
    /// Secret with headers for the collector: each key is a header's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_secret_ref: Option<LocalRef>,
    /// Traces begun by the gateway that are kept, per mille; default all. A caller's sampled trace is always kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub sample_per_mille: Option<i32>,
}

/// The documentation that Duo Chat searches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DocsIndexSpec {
    /// PersistentVolumeClaim in the same namespace, mounted read-only; with several replicas its volume must let several
    /// nodes read.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
    /// File in the volume that `duo-gateway index-docs` made.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.contains('..')")
        .message("docsIndex.file is a path inside the volume, without '..', for example docs.index"))]
    pub file: String,
}

/// Logging of the gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoggingSpec {
    /// Least severe level that is logged.
    #[serde(default)]
    pub level: LogLevel,
    /// `true`: all prompts and answers are logged. They hold source code and what users ask: whoever reads the logs
    /// reads it too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prompts: bool,
}

/// Log level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LogLevel {
    /// Details for finding faults.
    Debug,
    /// One line for each request.
    #[default]
    Info,
    /// What somebody should look at.
    Warn,
    /// What failed.
    Error,
}
