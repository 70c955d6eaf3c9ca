//! One call, from the bytes of the request to those of the answer: who, which model, is it well formed, does the
//! model take it, what does it say.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    extract::State as Shared,
    http::{HeaderValue, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;

use super::{
    State, auth,
    config::Config,
    error::Refusal,
    eventstream,
    faults::FaultKind,
    models::{self, Access, Model},
    reply, rules, shapes, sigv4,
};
use crate::{
    answers::{self, Limits, Question, Written},
    upstream::{
        Outcome,
        journal::Entry,
        lock,
        pace::{self, End},
    },
};

/// Bedrock takes requests of up to 20 MB.
const BODY_LIMIT: usize = 20 * 1024 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Converse,
    ConverseStream,
}

pub(super) async fn handle(Shared(state): Shared<State>, request: Request<Body>) -> Response {
    let (mut parts, body) = request.into_parts();
    let body = match axum::body::to_bytes(body, BODY_LIMIT).await {
        Ok(body) => body,
        Err(_) => return Refusal::new("RequestEntityTooLargeException", 413, "the body is too large").response(None),
    };
    // an HTTP/2 request names its host in the request line, and the signature covers it as a header
    if let (None, Some(authority)) = (parts.headers.get(header::HOST), parts.uri.authority())
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(header::HOST, host);
    }
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let config = lock(&state.config).clone();
    let target = if parts.method == http::Method::POST { split_path(path) } else { None };
    let json = serde_json::from_slice::<Value>(&body);
    let signed = sigv4::Request { method: &parts.method, path, query, headers: &parts.headers, body: &body };
    let (credential, allowed) = auth::check(&signed, &config, jiff::Timestamp::now());
    let mut entry = state.journal.open(|call| {
        call.path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        call.credential = credential;
        call.request = json.as_ref().ok().cloned().unwrap_or_default();
        if let Some((operation, model)) = &target {
            call.operation = operation.name().to_owned();
            call.stream = *operation == Operation::ConverseStream;
            call.model.clone_from(model);
        }
    });
    let Some((operation, model_id)) = target else {
        return refuse(
            &mut entry,
            Outcome::Refused,
            &Refusal::new("UnknownOperationException", 404, "Unknown operation"),
            None,
        );
    };
    if let Err(refusal) = allowed {
        return refuse(&mut entry, Outcome::Refused, &refusal, None);
    }
    let fault = state.faults.take(&model_id);
    if let Some(response) = fault.as_ref().and_then(|fault| plain_fault(fault, operation, &mut entry)) {
        return response;
    }
    if matches!((&fault, operation), (Some(FaultKind::Stall { .. }), Operation::Converse)) {
        entry.settle(Outcome::Faulted);
        std::future::pending::<()>().await;
    }
    let is_json =
        parts.headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let (question, limits) = match read(operation, &model_id, is_json, json.ok(), &config) {
        Ok(read) => read,
        Err(refusal) => return refuse(&mut entry, Outcome::Refused, &refusal, None),
    };
    let written = match state.script.take(&model_id) {
        Some(text) => answers::scripted(&text, &limits),
        None => answers::answer(&question, &limits),
    };
    let pause = Duration::from_millis(config.chunk_delay_ms);
    match operation {
        Operation::Converse => whole(&question, &written, pause, fault, entry).await,
        Operation::ConverseStream => stream(&question, &written, pause, fault, entry),
    }
}

/// `/model/{modelId}/converse[-stream]`, the id decoded. An id with a bare `/` is another path.
fn split_path(path: &str) -> Option<(Operation, String)> {
    let (id, operation) = path.strip_prefix("/model/")?.split_once('/')?;
    let operation = match operation {
        "converse" => Operation::Converse,
        "converse-stream" => Operation::ConverseStream,
        _ => return None,
    };
    Some((operation, percent_decode(id)?))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let value = digit(bytes.next())? * 16 + digit(bytes.next())?;
            decoded.push(u8::try_from(value).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

fn read(
    operation: Operation,
    model_id: &str,
    is_json: bool,
    json: Option<Value>,
    config: &Config,
) -> Result<(Question, Limits), Refusal> {
    if !is_json {
        return Err(Refusal::new("UnsupportedMediaTypeException", 415, "the content type must be application/json"));
    }
    let body = json.ok_or_else(|| Refusal::new("SerializationException", 400, "the body is not JSON"))?;
    shapes::check(operation.shape(), &body).map_err(Refusal::validation)?;
    let model = find_model(model_id, config)?;
    rules::read(&body, model, model_id)
}

fn find_model(model_id: &str, config: &Config) -> Result<&'static Model, Refusal> {
    let target = models::find(model_id, &config.region, &config.application_profiles)
        .ok_or_else(|| Refusal::validation("The provided model identifier is invalid."))?;
    if target.model.access == Access::ProfileOnly && !target.profile {
        return Err(Refusal::validation(format!(
            "Invocation of model ID {model_id} with on-demand throughput isn’t supported. Retry your request with the \
             ID or ARN of an inference profile that contains this model."
        )));
    }
    if !config.granted_models.is_empty() && !config.granted_models.iter().any(|id| id == target.model.id) {
        return Err(Refusal::access_denied("You don't have access to the model with the specified model ID."));
    }
    Ok(target.model)
}

/// Faults that need no answer of the model.
fn plain_fault(fault: &FaultKind, operation: Operation, entry: &mut Entry) -> Option<Response> {
    if let FaultKind::Html { status } = fault {
        entry.fail(Outcome::Faulted, *status, "html");
        let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
        return Some((status, axum::response::Html(crate::upstream::HTML_PAGE)).into_response());
    }
    let retry_after = match fault {
        FaultKind::Throttling { retry_after } => *retry_after,
        _ => None,
    };
    let refusal = match (fault, operation) {
        (FaultKind::StreamException { exception, .. }, Operation::Converse) => exception.refusal(),
        _ => fault.refusal()?,
    };
    Some(refuse(entry, Outcome::Faulted, &refusal, retry_after))
}

fn refuse(entry: &mut Entry, outcome: Outcome, refusal: &Refusal, retry_after: Option<u64>) -> Response {
    entry.fail(outcome, refusal.status, refusal.code);
    with_request_id(refusal.response(retry_after))
}

async fn whole(
    question: &Question,
    written: &Written,
    pause: Duration,
    fault: Option<FaultKind>,
    mut entry: Entry,
) -> Response {
    let pauses = u32::try_from(reply::deltas(&written.text).len()).unwrap_or(u32::MAX);
    let latency = pause.saturating_mul(pauses);
    tokio::time::sleep(latency).await;
    let body = Bytes::from(reply::whole(question, written, millis(latency)).to_string());
    entry.update(|call| call.status = 200);
    let (body, end) = match fault {
        Some(FaultKind::Cut { .. } | FaultKind::WrongChecksum { .. }) => (body.slice(..body.len() / 2), End::Cut),
        _ => (body, End::Complete),
    };
    let body = if end == End::Complete {
        entry.settle(Outcome::Answered);
        Body::from(body)
    } else {
        pace::body(vec![body], Duration::ZERO, end, move || entry.settle(Outcome::Faulted))
    };
    answered("application/json", body)
}

fn stream(
    question: &Question,
    written: &Written,
    pause: Duration,
    fault: Option<FaultKind>,
    mut entry: Entry,
) -> Response {
    let pauses = u32::try_from(reply::deltas(&written.text).len()).unwrap_or(u32::MAX);
    let mut frames = reply::frames(question, written, millis(pause.saturating_mul(pauses)));
    let (end, outcome) = break_frames(&mut frames, fault.as_ref());
    entry.update(|call| {
        call.status = 200;
        if let Some(FaultKind::StreamException { exception, .. }) = &fault {
            call.error = Some(exception.wire_name().to_owned());
        }
    });
    let body = pace::body(frames, pause, end, move || entry.settle(outcome));
    answered("application/vnd.amazon.eventstream", body)
}

/// Applies a fault to the frames; says how the stream ends and what the journal calls it.
fn break_frames(frames: &mut Vec<Bytes>, fault: Option<&FaultKind>) -> (End, Outcome) {
    match fault {
        Some(FaultKind::StreamException { exception, after }) => {
            frames.truncate(*after);
            let mut payload = serde_json::json!({ "message": exception.refusal().message });
            if *exception == super::StreamException::ModelStreamErrorException {
                payload["originalStatusCode"] = 500.into();
                payload["originalMessage"] = "the model's container broke off".into();
            }
            frames.push(eventstream::exception(exception.wire_name(), &payload));
            (End::Complete, Outcome::Faulted)
        }
        Some(FaultKind::WrongChecksum { after }) => {
            let at = (*after).min(frames.len().saturating_sub(1));
            if let Some(frame) = frames.get_mut(at) {
                *frame = eventstream::with_wrong_checksum(frame);
            }
            (End::Complete, Outcome::Faulted)
        }
        Some(FaultKind::Cut { after }) => {
            frames.truncate(after + 1);
            if let Some(frame) = frames.last_mut() {
                *frame = frame.slice(..frame.len() / 2);
            }
            (End::Cut, Outcome::Faulted)
        }
        Some(FaultKind::Stall { after }) => {
            frames.truncate(*after);
            (End::Stall, Outcome::Faulted)
        }
        _ => (End::Complete, Outcome::Answered),
    }
}

fn answered(content_type: &'static str, body: Body) -> Response {
    with_request_id(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

fn with_request_id(mut response: Response) -> Response {
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

fn millis(duration: Duration) -> u64 {
    // a model takes some time, also when the simulator was told to be quick
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Converse => "Converse",
            Self::ConverseStream => "ConverseStream",
        }
    }

    fn shape(self) -> &'static str {
        match self {
            Self::Converse => "ConverseRequest",
            Self::ConverseStream => "ConverseStreamRequest",
        }
    }
}
