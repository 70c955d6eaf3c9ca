//! Client of GitLab's admin API for Duo Self-Hosted: GraphQL documents, versions, typed calls, typed errors.
//!
//! Knows nothing of Kubernetes, of custom resources, of policies: it does what it is told and says what GitLab said.
//!
//! ```no_run
//! # async fn f() -> duo_gitlab::Result<()> {
//! use duo_gitlab::{Client, ClientConfig, Shared, Token};
//! let shared = Shared::default(); // one per process
//! let config = ClientConfig {
//!     base_url: "https://gitlab.example.com".parse().map_err(|_| duo_gitlab::Error::Configuration { what: "url".into() })?,
//!     token: Token::new("glpat-…"),
//!     ca_bundle_pem: None,
//!     request_timeout: std::time::Duration::from_secs(10),
//!     user_agent: "duo-operator/0.1".into(),
//! };
//! let gitlab = Client::sharing(config, &shared)?;
//! let observation = gitlab.observe().await?;
//! # Ok(()) }
//! ```
//!
//! Never logged, never kept in errors: the access token, models' API keys, request variables, `extensions` of answers.

mod client;
mod connections;
mod documents;
mod error;
mod graphql;
mod introspection;
mod observe;
mod refusal;
mod rehearsal;
mod schema;
mod token;
mod transport;
mod types;
mod write;

pub use client::{Client, Shared};
pub use error::{Error, Result};
pub use rehearsal::REHEARSED_ID;
pub use schema::{Capabilities, Source};
pub use token::Token;
pub use transport::{CallObserver, CallOutcome, ClientConfig, Entered, Entering, Gate, WriteBudget};
pub use types::{
    AddOn, ApiToken, DuoSettings, FeatureProvider, FeatureSetting, License, Metadata, ModelInput, ModelProvider,
    Observation, PLACEHOLDER_ENDPOINT, Probe, Rights, SelfHostedModel, SettingsInput, TokenInfo, normalize_text,
    normalize_url,
};
pub use write::Deleted;
