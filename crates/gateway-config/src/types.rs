//! The configuration's shape. Field names are camelCase on the wire; a field that is not listed is an error, so that
//! a typing mistake is seen and not silently ignored.

use serde::{Deserialize, Serialize};

use crate::place::{Connection, Fallback, Replica};
use crate::policy::{CircuitBreaker, Concurrency, Hedging, Limits, Retries, Timeouts};
use crate::service::{Guardrail, ListenerTls, Price, Proxy, Tracing, VertexAi};
use crate::validate::validate;

/// The AWS variables that may stand as files (named exactly so) in the mounted folder when
/// [`Bedrock::credentials`] is true. A bearer key alone, or access key id and secret (and session token), must be there.
pub const AWS_CREDENTIAL_FILES: [&str; 4] =
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"];

/// Everything the gateway is told by its mounted folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayConfig {
    /// The GitLab whose tokens are accepted.
    pub gitlab: GitLab,
    /// File of the folder: PEM certificates trusted in addition to the public ones, for GitLab and model servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_file: Option<String>,
    /// What a request for a model that is not in `models` gets.
    #[serde(default)]
    pub undeclared_models: UndeclaredModels,
    /// Settings of model platforms that are shared by their models.
    #[serde(default, skip_serializing_if = "Providers::is_empty")]
    pub providers: Providers,
    /// The declared models. No two may have the same [`crate::ModelKey`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Model>,
    /// Seconds one model call may take from its start to its last byte; the gateway's default is 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout_seconds: Option<u32>,
    /// Seconds until the model server's first byte; by default as long as `requestTimeoutSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_timeout_seconds: Option<u32>,
    /// File of the folder: RSA private key (PEM) that signs user tokens for direct connections of IDEs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key_file: Option<String>,
    /// File of the folder: the RSA key (PEM, private or public) that signed until the last rotation; its tokens are
    /// still accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_key_file: Option<String>,
    /// Log level; the environment's `AIGW_LOGGING__LEVEL` counts where this is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,
    /// Seconds during which a terminating gateway is not ready but still accepts; the gateway's default is 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_seconds: Option<u32>,
    /// TLS of the API listener; plain HTTP without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// What users and instances may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// HTTP proxy; the environment's counts where this is unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// Where traces go; nowhere without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// Currency of the models' prices, ISO 4217; default `USD`. A label of metrics, nothing is converted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// True: prompts and answers are logged, for all requests. Whoever reads the logs reads the code.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prompt_logging: bool,
    /// File of the folder, or absolute path of a mounted one: the documentation index that `duo-gateway index-docs` made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs_index_file: Option<String>,
}

/// The GitLab that is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GitLab {
    /// Base URL; its `/.well-known/openid-configuration` names the keys of its tokens.
    pub url: String,
    /// API URL, `{url}/api/v4/` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
    /// Second issuer of accepted tokens (`https://customers.gitlab.com`); unset or empty: none, as for offline instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_portal_url: Option<String>,
    /// The instance's UUID. Once known, tokens of another instance are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
}

/// What a request for an undeclared model gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum UndeclaredModels {
    /// 422 with a detail that names the model.
    #[default]
    Refuse,
    /// The endpoint and the key that the request names are used, as GitLab's own gateway does.
    Allow,
}

/// Settings of model platforms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Providers {
    /// AWS Bedrock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bedrock: Option<Bedrock>,
    /// Google Vertex AI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vertex_ai: Option<VertexAi>,
}

impl Providers {
    /// No platform has settings.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// AWS Bedrock: where, and with whose credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bedrock {
    /// AWS region, for example `us-east-1`.
    pub region: String,
    /// Runtime endpoint in place of the region's public one (VPC endpoint, FIPS, a simulator).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// True: credentials are the files [`AWS_CREDENTIAL_FILES`] of the folder, read again when they change. False: the
    /// AWS SDK's own chain (environment, web identity, pod identity, instance role).
    #[serde(default)]
    pub credentials: bool,
    /// True: the region's FIPS endpoint.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fips: bool,
    /// A guardrail for every call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guardrail: Option<Guardrail>,
}

/// One declared model. Requests find it by [`Model::key`], never by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Model {
    /// For logs and metrics; unique.
    pub name: String,
    /// GitLab's family key in lower case, as requests name it: `mixtral`, `claude_3`, `general`, ….
    pub family: String,
    /// GitLab's identifier: `bedrock/<model id>`, `custom_openai/<model>`, `azure/<deployment>`.
    pub identifier: String,
    /// Base URL of the model server; required but for Bedrock and Vertex AI, which ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// File of the folder: the model server's key; surrounding white space is not part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<String>,
    /// How it is reached.
    #[serde(default, skip_serializing_if = "Connection::is_empty")]
    pub connection: Connection,
    /// Share of the calls beside the replicas' weights. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Further places with the same model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<Replica>,
    /// Who answers when all of them fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Fallback>,
    /// Times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// Calls that are made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// Leaving failing places alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// A second call for slow completions; none without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedging: Option<Hedging>,
    /// Calls at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// Bedrock and Anthropic: mark the stable beginning of long prompts for the provider's cache, where the model has
    /// one. Default true; a request with `X-Gitlab-Model-Prompt-Cache-Enabled: false` does without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_caching: Option<bool>,
    /// What its tokens cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

impl Model {
    /// A model with nothing but what every model has.
    pub fn new(name: impl Into<String>, family: impl Into<String>, identifier: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            family: family.into(),
            identifier: identifier.into(),
            endpoint: None,
            api_key_file: None,
            connection: Connection::default(),
            weight: None,
            replicas: Vec::new(),
            fallbacks: Vec::new(),
            timeouts: None,
            retries: None,
            circuit_breaker: None,
            hedging: None,
            concurrency: None,
            prompt_caching: None,
            price: None,
        }
    }

    /// The key by which requests find this model.
    pub fn key(&self) -> crate::ModelKey {
        crate::model_key(&self.family, self.endpoint.as_deref(), &self.identifier)
    }
}

/// Log levels, as `AIGW_LOGGING__LEVEL` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// Everything, without prompts and keys still.
    Debug,
    /// One line per request and each change of state.
    Info,
    /// What somebody should look at.
    Warning,
    /// What failed.
    Error,
}

/// Why a configuration was not accepted; each text names the field.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not YAML, or a field missing, unknown, or of another type.
    #[error("config.yaml: {0}")]
    Syntax(#[source] serde_yaml_ng::Error),
    /// Well-formed, but a rule is broken.
    #[error("config.yaml: {field}: {problem}")]
    Invalid {
        /// Path of the field, for example `models[1].endpoint`.
        field: String,
        /// What is wrong and the cure.
        problem: String,
    },
}

impl GatewayConfig {
    /// A configuration with nothing but the GitLab's URL; the start for a renderer that fills in the rest.
    pub fn new(gitlab_url: impl Into<String>) -> Self {
        Self {
            gitlab: GitLab { url: gitlab_url.into(), api_url: None, customer_portal_url: None, instance_id: None },
            ca_bundle_file: None,
            undeclared_models: UndeclaredModels::default(),
            providers: Providers::default(),
            models: Vec::new(),
            request_timeout_seconds: None,
            first_byte_timeout_seconds: None,
            signing_key_file: None,
            validation_key_file: None,
            log_level: None,
            drain_seconds: None,
            tls: None,
            limits: None,
            proxy: None,
            tracing: None,
            currency: None,
            prompt_logging: false,
            docs_index_file: None,
        }
    }

    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// [`ConfigError`], naming the field. Files that it names are not looked at.
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = serde_yaml_ng::from_str(text).map_err(ConfigError::Syntax)?;
        config.validate()?;
        Ok(config)
    }

    /// The rules that types alone do not express.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for the first field that breaks one.
    pub fn validate(&self) -> Result<(), ConfigError> {
        validate(self)
    }

    /// Renders the configuration; equal content gives equal bytes, whatever order the models came in.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] when it cannot be written, which these types do not bring about.
    pub fn to_yaml(&self) -> Result<String, ConfigError> {
        let mut sorted = self.clone();
        sorted.models.sort_by(|a, b| (&a.name, a.key()).cmp(&(&b.name, b.key())));
        serde_yaml_ng::to_string(&sorted).map_err(ConfigError::Syntax)
    }
}
