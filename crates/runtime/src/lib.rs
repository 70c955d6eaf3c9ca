//! Kubernetes glue of an operator: leader election, server-side apply, status, finalizers, events, backoff, metrics,
//! admin server, shutdown, telemetry; the pace of calls to other systems.
//!
//! Knows nothing of GitLab and of this project's custom resources; everything is generic over kinds.

pub mod admin;
pub mod apply;
pub mod backoff;
pub mod client;
mod compare;
mod error;

pub mod events;
pub mod lease;
pub mod metadata;
pub mod metrics;
pub mod pace;
pub mod shutdown;
pub mod status;
pub mod telemetry;
pub mod uid;

pub use error::{Error, Result, call};
pub use tokio_util::sync::CancellationToken;
pub use uid::Uid;
