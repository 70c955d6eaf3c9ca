//! The gateway that GitLab calls for its AI features, in front of self-hosted models.
//!
//! A request goes [`listen`] → [`server`] (head, token, limits) → [`routes`] (one file per family of endpoints) →
//! [`inference`] (which model, whose turn, counting; the rules are [`resilience`]) → [`upstream`] (the model server's
//! client). What may be called with which key
//! is [`active`], one immutable value joined from [`settings`] and [`config_store`]. All that is pure (bodies, prompts,
//! formats, parsers) is the crate `duo-protocol`. What it tells of its work
//! ([`logging`], [`metrics`], [`telemetry`]) is listed in `SIGNALS.md`. This program never talks to the Kubernetes API.

pub mod active;
mod admin;
mod answer;
mod app;
pub mod auth;
mod body;
pub mod config_store;
mod context;
pub mod docs_index;
mod encrypted_key;
mod gateway;
mod inference;
pub mod listen;
pub mod logging;
pub mod metrics;
mod model_check;
pub mod model_health;
mod reload;
pub mod resilience;
mod routes;
pub mod secret;
mod server;
pub mod settings;
pub mod telemetry;
pub mod tls;
pub mod trust;
pub mod upstream;

pub use body::MAX_BODY;
pub use gateway::{Gateway, StartError, run};
