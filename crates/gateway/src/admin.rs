//! The metrics listener: `/metrics`; and for the operator `/config/hash`, by which it sees what is in force, `/models`, by
//! which it sees whom models fail and which are declared, and `/models/check`, by which it has one checked. Both of the
//! first two say whether GitLab's users are turned away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use http::header::AUTHORIZATION;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use crate::answer;
use crate::app::App;
use crate::auth::operator;
use crate::model_check::{self, NotChecked};

/// Longest that a check is waited for, in milliseconds; it goes on in the background.
const LONGEST_WAIT: u64 = 5_000;

/// Answers one request.
pub async fn handle(app: Arc<App>, request: Request<Incoming>) -> Response<Body> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => metrics(&app),
        (&Method::GET, "/config/hash") => hash(&app),
        (&Method::GET, "/models/failing") => {
            let names: Vec<String> = app.models.failing().into_iter().map(|(name, _)| name).collect();
            answer::json(StatusCode::OK, &json!({ "failing": names }))
        }
        (&Method::GET, "/models") => models(&app),
        (&Method::POST, "/models/check") => check(&app, &request).await,
        (_, "/metrics" | "/config/hash" | "/models/failing" | "/models") => answer::method_not_allowed(&Method::GET),
        (_, "/models/check") => answer::method_not_allowed(&Method::POST),
        _ => answer::detail(StatusCode::NOT_FOUND, "Not Found"),
    }
}

/// What there is to tell of models: how the last call of one failed, how checks of it went, and which are declared, each
/// with its digest.
fn models(app: &App) -> Response<Body> {
    let mut all: Map<String, Value> = Map::new();
    for (name, failing) in app.models.failing() {
        all.insert(name, json!({ "failing": { "class": failing.class, "calls": failing.calls } }));
    }
    let active = app.active();
    let declared = |name: &str| active.directory.models.values().any(|model| *model.name == *name);
    for (key, check) in app.checks.shown(declared) {
        let entry = all.entry(key).or_insert_with(|| json!({}));
        entry["check"] = check;
    }
    answer::json(StatusCode::OK, &with_refusing(app, json!({ "models": all, "declared": active.declared })))
}

/// With why GitLab's own users are turned away, if they are.
fn with_refusing(app: &App, mut body: Value) -> Value {
    let refusing = app.auth.refusals.told(&app.active().rules, &app.auth.keys, Instant::now());
    if !refusing.is_empty() {
        body["refusing"] = json!(refusing);
    }
    body
}

/// `POST /models/check?model=…&feature=…&wait_ms=…` with a token of the operator.
async fn check(app: &Arc<App>, request: &Request<Incoming>) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).take(8).collect();
    let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref());
    let Some(model) = value("model") else {
        return answer::detail(StatusCode::UNPROCESSABLE_ENTITY, "model is missing");
    };
    if !operator::may_check(&app.active().rules, request.headers().get(AUTHORIZATION), model) {
        return answer::detail(StatusCode::UNAUTHORIZED, "only the operator's tokens check models");
    }
    let wait = value("wait_ms").and_then(|value| value.parse().ok()).unwrap_or(0_u64).min(LONGEST_WAIT);
    match model_check::check(app, model, value("feature"), Duration::from_millis(wait)).await {
        Ok(check) => answer::json(StatusCode::OK, &json!({ "check": check })),
        Err(NotChecked::NoSuchModel) => answer::detail(StatusCode::NOT_FOUND, "no such model is declared"),
        Err(NotChecked::NoSuchFeature) => answer::detail(StatusCode::UNPROCESSABLE_ENTITY, "feature is unknown"),
        Err(NotChecked::Busy) => answer::detail(StatusCode::TOO_MANY_REQUESTS, "too many checks at once"),
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
    answer::json(StatusCode::OK, &with_refusing(app, body))
}
