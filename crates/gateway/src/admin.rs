//! The metrics listener: `/metrics`, and `/config/hash` and `/models/failing`, by which the operator
//! sees what is in force and whom it fails.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use crate::answer;
use crate::app::App;

/// Answers one request.
pub async fn handle(app: Arc<App>, request: Request<Incoming>) -> Response<Body> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => metrics(&app),
        (&Method::GET, "/config/hash") => hash(&app),
        (&Method::GET, "/models/failing") => answer::json(StatusCode::OK, &json!({ "failing": app.models.failing() })),
        (_, "/metrics" | "/config/hash" | "/models/failing") => answer::method_not_allowed(&Method::GET),
        _ => answer::detail(StatusCode::NOT_FOUND, "Not Found"),
    }
}

fn metrics(app: &App) -> Response<Body> {
    app.metrics.signing_keys.set(i64::try_from(app.auth.keys.len()).unwrap_or(i64::MAX));
    app.metrics.resilience.update(&app.active().directory, &app.allowances);
    match app.metrics.render() {
        Ok(text) => {
            answer::with_type(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text)
        }
        Err(_) => answer::detail(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written"),
    }
}

/// `hash` is of the state in force; `error` says why the folder's present state is not, if it differs.
fn hash(app: &App) -> Response<Body> {
    let mut body = json!({ "hash": app.active().hash });
    if let Some(trouble) = app.trouble() {
        body["error"] = trouble.into();
    }
    answer::json(StatusCode::OK, &body)
}
