//! The mounted configuration of `duo-gateway`: what the operator renders and the gateway reads.
//!
//! One folder (by convention `/etc/duo-gateway/`, a projected volume) holds [`CONFIG_FILE`] and flat credential files
//! that it names. This crate knows the types, their rules, the folder's hash and the key by which a request finds its
//! model. It knows nothing of Kubernetes, of files on disk, of HTTP, and it never holds the value of a secret: only
//! the names of the files that do.

mod files;
mod hash;
mod key;
mod money;
mod place;
mod policy;
mod service;
mod types;
mod validate;

pub use hash::folder_hash;
pub use key::{ModelKey, ignores_endpoint, model_key, normal_endpoint};
pub use money::{Micros, Rates, Tokens, decimal};
pub use place::{AssumeRole, CertificateFiles, CompletionApi, Connection, Fallback, Replica};
pub use policy::{Allowance, CircuitBreaker, Concurrency, Hedging, Limits, Retries, Timeouts};
pub use service::{Guardrail, GuardrailStream, GuardrailTrace, ListenerTls, Price, Proxy, Tracing, VertexAi};
pub use types::{
    AWS_CREDENTIAL_FILES, Bedrock, ConfigError, GatewayConfig, GitLab, LogLevel, Model, Providers, UndeclaredModels,
};

/// Name of the configuration file inside the mounted folder; every other file of the folder is a credential or a
/// certificate bundle named by it.
pub const CONFIG_FILE: &str = "config.yaml";

/// Where the folder is mounted by convention.
pub const DEFAULT_FOLDER: &str = "/etc/duo-gateway";
