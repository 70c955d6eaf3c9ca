//! How models and assignments come to their gateway's conversation with GitLab.

use std::sync::Arc;

use duo_api::AIGateway;
use duo_api::condition::SYNCED;
use duo_core::conditions::Finding;
use duo_core::dependents;
use kube::ResourceExt;

use crate::context::Context;
use crate::error::Error;
use crate::inputs::InputError;
use crate::session::{Session, SessionError};

/// The open conversation; the inner error says what is waited for.
pub(crate) async fn open(gateway: &AIGateway, ctx: &Context) -> Result<Result<Arc<Session>, Finding>, Error> {
    let conditions = gateway.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    if let Some(waiting) = dependents::must_wait(&gateway.name_any(), conditions) {
        return Ok(Err(waiting));
    }
    match ctx.sessions.open(gateway).await {
        Ok(session) => Ok(Ok(session)),
        Err(SessionError::Input(InputError::Kube(error))) => Err(error.into()),
        Err(error) => Ok(Err(Finding::unknown(SYNCED, error.category(), error.to_string()))),
    }
}
