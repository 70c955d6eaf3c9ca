//! Endpoints without a token.

use http::StatusCode;
use serde_json::json;

use crate::answer::{self, Answer};
use crate::app::App;

/// The process answers.
pub(super) fn healthz() -> Answer {
    answer::json(StatusCode::OK, &json!({}))
}

/// Traffic may be sent here: tokens can be judged, and the process is not about to stop.
pub(super) fn ready(app: &App) -> Answer {
    match app.not_ready() {
        None => answer::json(StatusCode::OK, &json!({})),
        Some(why) => answer::detail(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// The catalogue of models that GitLab itself sells; there is none here.
pub(super) fn model_definitions() -> Answer {
    answer::json(StatusCode::OK, &json!({ "models": [], "unit_primitives": [] }))
}
