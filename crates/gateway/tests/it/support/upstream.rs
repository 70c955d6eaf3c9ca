//! An OpenAI-compatible model server that does what the test says.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::watch;

/// What it does.
#[derive(Clone)]
pub enum Script {
    /// Answers with the text: whole, or cut into pieces at blanks when asked to stream.
    Say(String),
    /// Answers with a status, headers and a body.
    Status(u16, Vec<(&'static str, &'static str)>, String),
    /// Streams the pieces and then breaks the connection off.
    BreakOff(Vec<&'static str>),
    /// Streams the pieces and then ends the body properly, without the end of the answer.
    EndEarly(Vec<&'static str>),
    /// Streams the pieces and then an error object.
    ErrorInside(Vec<&'static str>),
    /// Streams one piece, then waits for ever.
    Stall,
    /// Streams the pieces, then waits for ever.
    SayAndStall(Vec<&'static str>),
    /// Streams pieces for as long as they are taken.
    Flood,
    /// Accepts and never answers.
    Silent,
    /// Each call the next of these; the last stays.
    InTurn(Vec<Script>),
}

/// A call that came in.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
}

struct Shared {
    script: Mutex<Script>,
    received: Mutex<Vec<Received>>,
    /// Number of calls whose client has gone before the end.
    cancelled: watch::Sender<usize>,
}

/// A listening model server.
pub struct Upstream {
    pub url: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    pub async fn start(script: Script) -> Self {
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            received: Mutex::default(),
            cancelled: watch::Sender::new(0),
        });
        let app = axum::Router::new().fallback(answer).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, shared, task }
    }

    pub fn script(&self, script: Script) {
        *self.shared.script.lock().unwrap() = script;
    }

    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    pub fn last(&self) -> Received {
        self.received().pop().expect("the model server was called")
    }

    /// Calls that came in so far.
    pub fn calls(&self) -> usize {
        self.shared.received.lock().unwrap().len()
    }

    /// Waits until a call's client has gone.
    pub async fn cancelled(&self) {
        self.gone(1).await;
    }

    /// Waits until so many calls' clients have gone.
    pub async fn gone(&self, calls: usize) {
        let mut watch = self.shared.cancelled.subscribe();
        watch.wait_for(|count| *count >= calls).await.unwrap();
    }
}

/// Counts a dropped answer.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.cancelled.send_modify(|count| *count += 1);
    }
}

fn next(script: &mut Script) -> Script {
    match script {
        Script::InTurn(scripts) if scripts.len() > 1 => scripts.remove(0),
        Script::InTurn(scripts) => scripts[0].clone(),
        one => one.clone(),
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let stream = body["stream"] == json!(true);
    shared.received.lock().unwrap().push(Received { path: uri.path().into(), headers, body });
    let script = next(&mut shared.script.lock().unwrap());
    if let (true, Script::Say(_)) = (uri.path().ends_with("/embeddings"), &script) {
        return vectors(&shared);
    }
    match script {
        Script::InTurn(_) => unreachable!("one of them was taken"),
        Script::Say(text) if stream => {
            let mut out: String = text.split_inclusive(' ').map(chunk).collect();
            out.push_str(&end("stop"));
            out.push_str("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7}}\n\n");
            out.push_str("data: [DONE]\n\n");
            sse(Body::from(out))
        }
        Script::Say(text) => axum::Json(json!({
            "id": "c", "object": "chat.completion",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        }))
        .into_response(),
        Script::Status(status, headers, text) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), text).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Script::BreakOff(pieces) => then(pieces, Err(std::io::Error::other("broken off"))),
        Script::EndEarly(pieces) => then(pieces, Ok(Bytes::new())),
        Script::ErrorInside(pieces) => {
            then(pieces, Ok(Bytes::from("data: {\"error\":{\"message\":\"CUDA out of memory\",\"code\":500}}\n\n")))
        }
        Script::Stall => stalling(shared, vec!["Final Answer: one "]),
        Script::SayAndStall(pieces) => stalling(shared, pieces),
        Script::Flood => {
            let gone = Gone(shared);
            let text = Bytes::from(chunk(&"word ".repeat(2000)));
            sse(Body::from_stream(futures::stream::repeat_with(move || {
                let _ = &gone;
                Ok::<_, Infallible>(text.clone())
            })))
        }
        Script::Silent => {
            let _gone = Gone(shared);
            std::future::pending::<()>().await;
            StatusCode::OK.into_response()
        }
    }
}

/// A vector per text of the last call: its number and a half.
fn vectors(shared: &Shared) -> Response {
    let asked = shared.received.lock().unwrap().last().unwrap().body.clone();
    let count = asked["input"].as_array().map_or(0, Vec::len);
    let data: Vec<Value> = (0..count)
        .rev()
        .map(|index| json!({"object": "embedding", "index": index, "embedding": [index, 0.5]}))
        .collect();
    axum::Json(json!({"object": "list", "data": data, "usage": {"prompt_tokens": 5, "total_tokens": 5}}))
        .into_response()
}

/// The pieces, then nothing until the client goes.
fn stalling(shared: Arc<Shared>, pieces: Vec<&'static str>) -> Response {
    let gone = Gone(shared);
    let head = futures::stream::iter(pieces.into_iter().map(|piece| Ok::<_, Infallible>(Bytes::from(chunk(piece)))));
    sse(Body::from_stream(head.chain(futures::stream::pending().map(move |item| {
        let _ = &gone;
        item
    }))))
}

/// The pieces, and when they are out, the end.
fn then(pieces: Vec<&'static str>, end: std::io::Result<Bytes>) -> Response {
    let head = futures::stream::iter(pieces.into_iter().map(|piece| Ok(Bytes::from(chunk(piece)))));
    let tail = futures::stream::once(async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        end
    });
    sse(Body::from_stream(head.chain(tail)))
}

fn chunk(text: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}}]}))
}

fn end(reason: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}))
}

fn sse(body: Body) -> Response {
    ([("content-type", "text/event-stream")], body).into_response()
}
