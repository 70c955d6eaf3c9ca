//! The API listener's requests, from the first byte of the head to the last of the answer: correlation id, CORS,
//! authentication before routing, methods, and the headers every answer carries.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, CONTENT_TYPE, LOCATION, ORIGIN,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;

use crate::answer::{self, Answer};
use crate::app::App;
use crate::body::{self, Held};
use crate::context::{self, Arrival, Recorded, RequestContext};
use crate::logging::seconds;
use crate::routes::{self, Route, Served};
use crate::telemetry::Trace;

/// Longer correlation ids are replaced.
const LONGEST_ID: usize = 128;

/// Answers one request.
pub async fn handle(app: Arc<App>, request: Request<Incoming>, client: SocketAddr) -> Response<Recorded> {
    let (head, body) = request.into_parts();
    let route = Route::find(head.uri.path());
    let template = route.as_ref().map_or("none", Route::template);
    let active = app.active();
    // probes come every few seconds
    let quiet = matches!(route, Some(Route::Healthz | Route::Ready));
    let trace = active.tracer.as_ref().filter(|_| !quiet).map(|tracer| Trace::begin(tracer, &head.headers));
    let arrival = Arrival {
        method: &head.method,
        uri: &head.uri,
        version: head.version,
        headers: &head.headers,
        client,
        secure: trace.is_some() && app.certificate().is_some(),
        route: template,
    };
    let wanted = active.log_level >= if quiet { tracing::Level::DEBUG } else { tracing::Level::INFO };
    let context = RequestContext::new(request_id(&head.headers), &arrival, app.sink.clone(), wanted, trace);
    let (method, version, cross_origin) = (head.method.clone(), head.version, head.headers.contains_key(ORIGIN));
    let mut held = None;

    let mut answer = respond(&app, route, head, body, &context, &mut held).await;

    finish(&mut answer, &context, cross_origin, app.draining() && version != Version::HTTP_2);
    if !quiet {
        app.metrics.http(template, &method, answer.status().as_u16(), context.started().elapsed());
    }
    if let Some(answer::Detail(detail)) = answer.extensions_mut().remove() {
        context.note("http_exception_details", context::cut(&detail));
    }
    context.answered(answer.status().as_u16(), answer.headers().get(CONTENT_TYPE));
    if let Some(overhead) = context.overhead() {
        app.metrics.overhead(template, overhead);
    }
    answer.map(|body| Recorded::new(body, context, held))
}

async fn respond(
    app: &Arc<App>,
    route: Option<Route>,
    head: http::request::Parts,
    body: Incoming,
    context: &RequestContext,
    held: &mut Option<Held>,
) -> Answer {
    if head.method == Method::OPTIONS
        && head.headers.contains_key(ORIGIN)
        && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    {
        return preflight(&head.headers);
    }
    if let Some(route) = &route
        && route.public()
    {
        return if head.method == route.method() {
            routes::public(route, app)
        } else {
            answer::method_not_allowed(&route.method())
        };
    }
    let active = app.active();
    let identity = match app.auth.authenticate(&head.headers, &active.rules).await {
        Ok(identity) => identity,
        Err(error) => {
            app.metrics.auth_refusals.inc();
            let why = match &error {
                crate::auth::AuthError::Forbidden(why) => (*why).to_owned(),
                other => other.to_string(),
            };
            context.note("auth_error_details", why);
            return answer::refused(&error);
        }
    };
    context.note("auth_duration_s", seconds(context.started().elapsed()));
    context.note("token_issuer", identity.claims.iss.as_str());
    let Some(route) = route else { return unknown(head.uri.path(), head.uri.query()) };
    if head.method != route.method() {
        return answer::method_not_allowed(&route.method());
    }
    let body = match route.takes_body() {
        false => Bytes::new(),
        true => match body::read(&head.headers, body, &app.settings.limits, &app.bodies).await {
            Ok((body, room)) => {
                *held = Some(room);
                body
            }
            Err(answer) => return *answer,
        },
    };
    let served = Served { app: app.clone(), active, context: context.clone(), headers: head.headers, body, identity };
    // one allocation in place of 16 KB that move with every caller
    Box::pin(routes::serve(route, served)).await
}

/// A path with a trailing slash leads to the one without, where there is one.
fn unknown(path: &str, query: Option<&str>) -> Answer {
    let trimmed = path.trim_end_matches('/');
    if trimmed.len() < path.len() && Route::find(trimmed).is_some() {
        let target = query.map_or_else(|| trimmed.to_owned(), |query| format!("{trimmed}?{query}"));
        if let Ok(location) = HeaderValue::from_str(&target) {
            let mut answer = answer::with_type(StatusCode::TEMPORARY_REDIRECT, "text/plain", Body::empty());
            answer.headers_mut().remove(CONTENT_TYPE);
            answer.headers_mut().insert(LOCATION, location);
            return answer;
        }
    }
    let why = routes::elsewhere(path);
    answer::detail(StatusCode::NOT_FOUND, why.as_deref().unwrap_or("Not Found"))
}

/// Any origin, any header, POST only.
fn preflight(headers: &HeaderMap) -> Answer {
    let post = headers.get(ACCESS_CONTROL_REQUEST_METHOD).is_some_and(|method| method == Method::POST.as_str());
    let (status, text) =
        if post { (StatusCode::OK, "OK") } else { (StatusCode::BAD_REQUEST, "Disallowed CORS method") };
    let mut answer = answer::with_type(status, "text/plain; charset=utf-8", text);
    let out = answer.headers_mut();
    out.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    out.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        out.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    answer
}

/// The headers of every answer.
fn finish(answer: &mut Answer, context: &RequestContext, cross_origin: bool, close: bool) {
    let headers = answer.headers_mut();
    if let Ok(seconds) = HeaderValue::from_str(&context.started().elapsed().as_secs_f64().to_string()) {
        headers.insert(HeaderName::from_static("x-process-time"), seconds);
    }
    if let Ok(id) = HeaderValue::from_str(context.id()) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    if cross_origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    if close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// The caller's correlation id, if it is fit for a log, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
    match given {
        Some(id) if !id.is_empty() && id.len() <= LONGEST_ID && id.chars().all(|c| c.is_ascii_graphic()) => {
            id.to_owned()
        }
        _ => uuid::Uuid::new_v4().simple().to_string(),
    }
}
