//! A server whose answers a test writes itself.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Response, StatusCode, Uri},
};
use duo_gitlab::{Client, ClientConfig, Token};
use serde_json::{Value, json};

pub const TOKEN: &str = "glpat-very-secret";

/// An answer to one request.
pub enum Answer {
    Json(u16, Value),
    Raw(u16, Vec<(&'static str, String)>, Vec<u8>),
    Never,
}

#[derive(Clone, Default)]
pub struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    pub requests: Arc<Mutex<Vec<Request>>>,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Script {
    pub fn then(self, answer: Answer) -> Self {
        self.answers.lock().unwrap().push_back(answer);
        self
    }

    pub fn json(self, body: Value) -> Self {
        self.then(Answer::Json(200, body))
    }

    pub fn operations(&self) -> Vec<String> {
        let name = |r: &Request| r.body["operationName"].as_str().unwrap_or("REST").to_owned();
        self.requests.lock().unwrap().iter().map(name).collect()
    }

    pub async fn serve(&self) -> String {
        let router = Router::new().fallback(answer).with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{addr}")
    }

    pub async fn client(&self) -> Client {
        client(&self.serve().await)
    }
}

pub fn client(url: &str) -> Client {
    Client::new(config(url)).unwrap()
}

pub fn config(url: &str) -> ClientConfig {
    ClientConfig {
        base_url: url.parse().unwrap(),
        token: Token::new(TOKEN),
        ca_bundle_pem: None,
        request_timeout: Duration::from_secs(20),
        user_agent: "test".into(),
    }
}

async fn answer(State(script): State<Script>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    script.requests.lock().unwrap().push(Request { path: uri.path().into(), headers, body });
    let next = script.answers.lock().unwrap().pop_front();
    match next {
        Some(Answer::Json(status, json)) => {
            let response = Response::builder().status(status).header("content-type", "application/json");
            response.body(Body::from(json.to_string())).unwrap()
        }
        Some(Answer::Raw(status, headers, bytes)) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(bytes)).unwrap()
        }
        Some(Answer::Never) => std::future::pending().await,
        None => Response::builder().status(StatusCode::IM_A_TEAPOT).body(Body::from("script ended")).unwrap(),
    }
}

pub fn metadata(version: &str) -> Value {
    json!({ "data": { "metadata": { "version": version, "enterprise": true } } })
}

/// The part of an introspection answer that matters, in the newer shape or the older one.
pub fn schema(provider: bool) -> Value {
    let field = |name: &str, kind: &str| json!({ "name": name, "type": { "kind": kind } });
    let mut create = vec![field("name", "NON_NULL"), field("endpoint", if provider { "SCALAR" } else { "NON_NULL" })];
    if provider {
        create.push(field("provider", "NON_NULL"));
    }
    let settings = json!([{ "name": "aiGatewayUrl" }, { "name": "aiGatewayTimeoutSeconds" }, { "name": "duoAgentPlatformServiceUrl" }]);
    json!({ "data": { "__schema": { "types": [
        { "name": "AiSelfHostedModelCreateInput", "inputFields": create },
        { "name": "DuoSettingsUpdateInput", "inputFields": [field("aiGatewayTimeoutSeconds", "SCALAR")] },
        { "name": "DuoSettings", "fields": settings },
        { "name": "AiAcceptedSelfHostedModels", "enumValues": [{ "name": "CLAUDE_3" }] },
        { "name": "AiFeatures", "enumValues": [{ "name": "DUO_CHAT" }] }
    ] } } })
}
