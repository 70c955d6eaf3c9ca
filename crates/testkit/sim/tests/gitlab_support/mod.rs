//! Shared by the suites of the simulated GitLab: a client that is not ours, and a stand-in for a gateway.
#![allow(dead_code, reason = "every suite uses its part")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use duo_sim::gitlab::state::ADMIN_TOKEN;
use duo_sim::gitlab::{Config, Handle, Version, start};
use serde_json::{Value, json};

pub const ACCESS_ERROR: &str = "The resource that you are attempting to access does not exist or you don't have \
                                permission to perform this action";

/// A GitLab of a release, with a small introspection answer so that suites stay quick.
pub async fn gitlab(version: Version) -> Handle {
    start(config(version)).await.unwrap()
}

pub fn config(version: Version) -> Config {
    Config { version, introspection_filler_types: 3, ..Config::default() }
}

pub const OLD: Version = Version::new(18, 9, 0);
pub const NEW: Version = Version::new(19, 5, 0);

pub struct Reply {
    pub status: u16,
    pub body: Value,
}

impl Reply {
    /// The first top-level error's message.
    pub fn error(&self) -> &str {
        self.body["errors"][0]["message"].as_str().unwrap_or_else(|| panic!("no error in {}", self.body))
    }

    pub fn data(&self, pointer: &str) -> &Value {
        assert!(self.body.get("errors").is_none(), "unexpected errors in {}", self.body);
        self.body["data"].pointer(pointer).unwrap_or(&Value::Null)
    }
}

pub async fn post(gitlab: &Handle, token: Option<&str>, body: Value) -> Reply {
    let mut request = reqwest::Client::new().post(format!("{}/api/graphql", gitlab.url())).json(&body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    Reply { status, body: answer.json().await.unwrap() }
}

/// Asks as the administrator.
pub async fn admin(gitlab: &Handle, query: &str, variables: Value) -> Reply {
    post(gitlab, Some(ADMIN_TOKEN), json!({"query": query, "variables": variables})).await
}

pub async fn as_token(gitlab: &Handle, token: &str, query: &str, variables: Value) -> Reply {
    post(gitlab, Some(token), json!({"query": query, "variables": variables})).await
}

pub const CREATE: &str = "mutation($input: AiSelfHostedModelCreateInput!) { aiSelfHostedModelCreate(input: $input) \
                          { errors selfHostedModel { id name model endpoint identifier hasApiToken apiToken updatedAt } } }";
pub const UPDATE: &str = "mutation($input: AiSelfHostedModelUpdateInput!) { aiSelfHostedModelUpdate(input: $input) \
                          { errors selfHostedModel { id name hasApiToken } } }";
pub const DELETE: &str =
    "mutation($input: AiSelfHostedModelDeleteInput!) { aiSelfHostedModelDelete(input: $input) { errors } }";
pub const ASSIGN: &str = "mutation($input: AiFeatureSettingUpdateInput!) { aiFeatureSettingUpdate(input: $input) \
                          { errors aiFeatureSettings { feature provider selfHostedModel { id } } } }";
pub const SETTINGS: &str = "mutation($input: DuoSettingsUpdateInput!) { duoSettingsUpdate(input: $input) \
                            { errors duoSettings { aiGatewayUrl aiGatewayTimeoutSeconds } } }";
pub const CHECK: &str = "mutation($input: AiSelfHostedModelConnectionCheckInput!) \
                         { aiSelfHostedModelConnectionCheck(input: $input) { errors result { name success message } } }";

pub fn bedrock(name: &str) -> Value {
    json!({"name": name, "model": "CLAUDE_3", "provider": "BEDROCK", "identifier": "bedrock/anthropic.claude-3"})
}

pub fn custom(name: &str, family: &str) -> Value {
    json!({"name": name, "model": family, "provider": "API", "endpoint": "http://vllm.example.com:8000/v1",
           "identifier": "custom_openai/model"})
}

/// Creates a model, returns its global id.
pub async fn create(gitlab: &Handle, input: Value) -> String {
    let reply = admin(gitlab, CREATE, json!({"input": input})).await;
    let id = reply.data("/aiSelfHostedModelCreate/selfHostedModel/id").as_str();
    id.unwrap_or_else(|| panic!("not created: {}", reply.body)).to_owned()
}

pub async fn assign(gitlab: &Handle, feature: &str, model: &str) {
    let input = json!({"features": [feature], "provider": "SELF_HOSTED", "aiSelfHostedModelId": model});
    let reply = admin(gitlab, ASSIGN, json!({"input": input})).await;
    assert_eq!(reply.data("/aiFeatureSettingUpdate/errors"), &json!([]));
}

/// One request that the stand-in gateway got.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: http::HeaderMap,
    pub body: Value,
}

/// What the stand-in answers: status, content type, extra header, body.
#[derive(Clone)]
pub struct Scripted(pub u16, pub &'static str, pub String);

/// A gateway that answers by script and remembers what it was asked.
pub struct Gateway {
    pub url: String,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<VecDeque<Scripted>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Gateway {
    /// Answers every request with 200 `{}` until a script is given.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let script: Arc<Mutex<VecDeque<Scripted>>> = Arc::default();
        let (seen2, script2) = (Arc::clone(&seen), Arc::clone(&script));
        let app = axum::Router::new().fallback(move |request: axum::extract::Request| {
            let (seen, script) = (Arc::clone(&seen2), Arc::clone(&script2));
            async move {
                let (head, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 24).await.unwrap();
                seen.lock().unwrap().push(Seen {
                    method: head.method.to_string(),
                    path: head.uri.path().to_owned(),
                    headers: head.headers,
                    body: serde_json::from_slice(&body).unwrap_or_default(),
                });
                let next = script.lock().unwrap().pop_front();
                let Scripted(status, kind, text) = next.unwrap_or(Scripted(200, "application/json", "{}".to_owned()));
                let mut answer = axum::response::Response::new(axum::body::Body::from(text));
                *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
                answer.headers_mut().insert("content-type", kind.parse().unwrap());
                if kind == "text/event-stream" {
                    answer.headers_mut().insert("x-streaming-format", "sse".parse().unwrap());
                }
                answer
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url: format!("http://{addr}"), seen, script, task }
    }

    pub fn then(&self, status: u16, kind: &'static str, body: impl ToString) -> &Self {
        self.script.lock().unwrap().push_back(Scripted(status, kind, body.to_string()));
        self
    }

    pub fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().expect("the gateway was not called").clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sets the gateway URL by hand, past the check of saved URLs.
pub fn use_gateway(gitlab: &Handle, gateway: &Gateway) {
    gitlab.edit(|state| state.settings.ai_gateway_url = Some(gateway.url.clone()));
}
