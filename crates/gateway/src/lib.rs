//! The gateway that GitLab calls for its AI features, in front of self-hosted models.
pub mod active;
pub mod auth;
pub mod config_store;
pub mod logging;
pub mod metrics;
pub mod secret;
pub mod settings;
pub mod trust;
pub mod upstream;
