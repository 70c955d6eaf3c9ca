//! A server that notes what it is sent and answers what the test gives it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Noted {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Noted {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Of a form.
    pub fn form(&self) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Bytes,
    /// More headers.
    pub headers: Vec<(&'static str, &'static str)>,
    /// Sent in pieces of so many bytes.
    pub pieces: usize,
    /// After the body nothing comes, not even its end.
    pub stalls: bool,
}

impl Reply {
    pub fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: 200, content_type, body: body.into(), headers: Vec::new(), pieces: usize::MAX, stalls: false }
    }

    pub fn json(body: impl ToString) -> Self {
        Self::new("application/json", body.to_string())
    }

    pub fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

type Answer = dyn Fn(&Noted) -> Reply + Send + Sync;

struct Shared {
    noted: Mutex<Vec<Noted>>,
    answer: Box<Answer>,
}

/// The listening server.
pub struct Recorder {
    pub url: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recorder {
    pub async fn start(answer: impl Fn(&Noted) -> Reply + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared { noted: Mutex::default(), answer: Box::new(answer) });
        let app = axum::Router::new().fallback(handle).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, shared, task }
    }

    pub fn noted(&self) -> Vec<Noted> {
        self.shared.noted.lock().unwrap().clone()
    }

    pub fn last(&self) -> Noted {
        self.noted().pop().expect("the server was asked")
    }
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // what a client sends through a proxy names the host, too
    let whole = uri.scheme().is_some() || uri.path_and_query().is_none();
    let target = if whole { uri.to_string() } else { uri.path_and_query().unwrap().to_string() };
    let noted = Noted { method, target, headers, body };
    let reply = (shared.answer)(&noted);
    shared.noted.lock().unwrap().push(noted);
    let status = StatusCode::from_u16(reply.status).unwrap();
    let pieces: Vec<_> =
        reply.body.chunks(reply.pieces).map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece))).collect();
    let body = match reply.stalls {
        true => Body::from_stream(stream::iter(pieces).chain(stream::pending())),
        false if reply.pieces == usize::MAX => Body::from(reply.body),
        false => Body::from_stream(stream::iter(pieces)),
    };
    let mut response = (status, [("content-type", reply.content_type)], body).into_response();
    for (name, value) in reply.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
