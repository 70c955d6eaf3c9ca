//! One call, from the bytes of the request to those of the answer.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    extract::State as Shared,
    http::{Request as HttpRequest, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    State,
    config::Config,
    door::{self, Operation},
    error::Refusal,
    faults::FaultKind,
    reply::{self, Form},
    request::{self, Request},
};
use crate::{
    answers::{self, Written},
    upstream::{
        HTML_PAGE, Outcome,
        journal::Entry,
        lock,
        pace::{self, End},
    },
};

const BODY_LIMIT: usize = 20 * 1024 * 1024;

pub(super) async fn handle(Shared(state): Shared<State>, http: HttpRequest<Body>) -> Response {
    let (parts, body) = http.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let config = lock(&state.config).clone();
    let json = serde_json::from_slice::<Value>(&body);
    let found = door::find(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default(), config.azure);
    let mut entry = state.journal.open(|call| {
        call.path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        call.request = json.as_ref().ok().cloned().unwrap_or_default();
        call.stream = call.request["stream"] == true;
        call.model = call.request["model"].as_str().unwrap_or_default().to_owned();
        if let Ok(operation) = &found {
            call.operation = operation.name().to_owned();
            if let Operation::Chat { deployment: Some(name) } | Operation::Completions { deployment: Some(name) } =
                operation
            {
                call.model.clone_from(name);
            }
        }
    });
    let operation = match found {
        Ok(operation) => operation,
        Err(refusal) => return refuse(&mut entry, Outcome::Refused, &refusal),
    };
    let (credential, allowed) = door::check(&parts.headers, &operation, &config);
    let (mut model, mut streamed) = (String::new(), false);
    entry.update(|call| {
        call.credential = credential;
        (model, streamed) = (call.model.clone(), call.stream);
    });
    if let Err(refusal) = allowed {
        return refuse(&mut entry, Outcome::Refused, &refusal);
    }
    let form = match &operation {
        Operation::Health => return plain(&mut entry, "".into_response()),
        Operation::Models => return plain(&mut entry, axum::Json(models(&config)).into_response()),
        Operation::Chat { .. } => Form::Chat,
        Operation::Completions { .. } => Form::Text,
    };
    let fault = state.faults.take(&model);
    if let Some(response) = fault.as_ref().and_then(|fault| plain_fault(fault, streamed, &config, &mut entry)) {
        return response;
    }
    if matches!(fault, Some(FaultKind::Stall { .. })) && !streamed {
        entry.settle(Outcome::Faulted);
        std::future::pending::<()>().await;
    }
    let request = match read(&operation, json.ok(), &config) {
        Ok(request) => request,
        Err(refusal) => return refuse(&mut entry, Outcome::Refused, &refusal),
    };
    let written = match state.script.take(&request.question.model) {
        Some(text) => answers::scripted(&text, &request.limits),
        None => answers::answer(&request.question, &request.limits),
    };
    let answer = Answer { form, request, written, fault, config };
    if answer.request.stream { answer.stream(entry) } else { answer.whole(entry).await }
}

fn read(operation: &Operation, json: Option<Value>, config: &Config) -> Result<Request, Refusal> {
    let body =
        json.ok_or_else(|| Refusal::bad_request(config.azure, "invalid_json", Some("body"), "the body is not JSON"))?;
    match operation {
        Operation::Completions { deployment } => request::text(&body, deployment.as_deref(), config),
        Operation::Chat { deployment } => request::chat(&body, deployment.as_deref(), config),
        Operation::Models | Operation::Health => Err(Refusal::no_such_path()),
    }
}

fn models(config: &Config) -> Value {
    let owner = if config.azure { "azure" } else { "vllm" };
    let models: Vec<_> = config
        .served_model_names
        .iter()
        .map(|name| {
            json!({ "id": name, "object": "model", "created": now(), "owned_by": owner, "root": name,
                            "parent": null, "max_model_len": config.max_model_len, "permission": [] })
        })
        .collect();
    json!({ "object": "list", "data": models })
}

fn plain(entry: &mut Entry, response: Response) -> Response {
    entry.update(|call| call.status = 200);
    entry.settle(Outcome::Answered);
    response
}

/// Faults that need no answer of the model.
fn plain_fault(fault: &FaultKind, stream: bool, config: &Config, entry: &mut Entry) -> Option<Response> {
    if let FaultKind::Html { status } = fault {
        entry.fail(Outcome::Faulted, *status, "html");
        let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
        return Some((status, axum::response::Html(HTML_PAGE)).into_response());
    }
    let refusal = fault.refusal(config.azure, stream)?;
    Some(refuse(entry, Outcome::Faulted, &refusal))
}

fn refuse(entry: &mut Entry, outcome: Outcome, refusal: &Refusal) -> Response {
    entry.fail(outcome, refusal.status, &refusal.code);
    refusal.response()
}

/// An answer on its way, with the fault that breaks it, if any.
struct Answer {
    form: Form,
    request: Request,
    written: Written,
    fault: Option<FaultKind>,
    config: Config,
}

impl Answer {
    fn pause(&self) -> Duration {
        Duration::from_millis(self.config.chunk_delay_ms)
    }

    async fn whole(self, mut entry: Entry) -> Response {
        let pauses = u32::try_from(reply::deltas(&self.written.text).len()).unwrap_or(u32::MAX);
        tokio::time::sleep(self.pause().saturating_mul(pauses)).await;
        let body = Bytes::from(reply::whole(self.form, &self.request, &self.written, now()).to_string());
        let half = body.slice(..body.len() / 2);
        let (body, end, outcome) = match self.fault {
            Some(FaultKind::Cut { .. }) => (half, End::Cut, Outcome::Faulted),
            Some(FaultKind::EndEarly { .. }) => (half, End::Complete, Outcome::Faulted),
            Some(FaultKind::Garbage { .. }) => {
                (Bytes::from_static(b"upstream says hello"), End::Complete, Outcome::Faulted)
            }
            _ => (body, End::Complete, Outcome::Answered),
        };
        entry.update(|call| call.status = 200);
        let body = if end == End::Complete {
            entry.settle(outcome);
            Body::from(body)
        } else {
            pace::body(vec![body], Duration::ZERO, end, move || entry.settle(outcome))
        };
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    }

    fn stream(self, mut entry: Entry) -> Response {
        let pause = self.pause();
        let mut events = reply::events(self.form, &self.request, &self.written, now(), self.config.azure);
        let (end, outcome) = break_events(&mut events, self.fault.as_ref());
        entry.update(|call| {
            call.status = 200;
            if outcome == Outcome::Faulted {
                call.error = Some("stream".to_owned());
            }
        });
        let body = pace::body(events, pause, end, move || entry.settle(outcome));
        ([(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")], body).into_response()
    }
}

/// Applies a fault to the events; says how the stream ends and what the journal calls it.
fn break_events(events: &mut Vec<Bytes>, fault: Option<&FaultKind>) -> (End, Outcome) {
    match fault {
        Some(FaultKind::StreamError { after }) => {
            events.truncate(*after);
            let message = "EngineCore encountered an issue. See stack trace (above) for the root cause.";
            let error = json!({ "message": message, "type": "InternalServerError", "param": null, "code": 500 });
            events.push(reply::event(&json!({ "error": error })));
            // vLLM ends such a stream as if it were complete
            events.push(Bytes::from_static(b"data: [DONE]\n\n"));
            (End::Complete, Outcome::Faulted)
        }
        Some(FaultKind::Garbage { after }) => {
            events.truncate(*after);
            events.push(Bytes::from_static(b"data: {\"id\": nonsense\n\n"));
            (End::Complete, Outcome::Faulted)
        }
        Some(FaultKind::EndEarly { after }) => {
            events.truncate(*after);
            (End::Complete, Outcome::Faulted)
        }
        Some(FaultKind::Cut { after }) => {
            events.truncate(after + 1);
            if let Some(event) = events.last_mut() {
                *event = event.slice(..event.len() / 2);
            }
            (End::Cut, Outcome::Faulted)
        }
        Some(FaultKind::Stall { after }) => {
            events.truncate(*after);
            (End::Stall, Outcome::Faulted)
        }
        _ => (End::Complete, Outcome::Answered),
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
