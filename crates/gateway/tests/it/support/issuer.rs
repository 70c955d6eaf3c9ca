//! A GitLab that publishes keys and signs tokens as Rails does: RS256, the key's id in the header.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// An RSA key with an id.
#[derive(Clone)]
pub struct Key {
    pub kid: String,
    pub pem: String,
}

/// Making RSA keys takes a while in a debug build; the tests share a few.
static PEMS: LazyLock<Vec<String>> = LazyLock::new(|| (0..3).map(|_| new_pem()).collect());

fn new_pem() -> String {
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref().to_vec()))
}

impl Key {
    /// The key of that number (0 to 2), under an id.
    pub fn number(number: usize, kid: &str) -> Self {
        Self { kid: kid.into(), pem: PEMS[number].clone() }
    }

    pub fn encoding(&self) -> EncodingKey {
        EncodingKey::from_rsa_pem(self.pem.as_bytes()).unwrap()
    }

    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding()).unwrap()
    }

    pub fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.encoding(), Algorithm::RS256).unwrap();
        jwk.common.key_id = Some(self.kid.clone());
        let mut value = serde_json::to_value(jwk).unwrap();
        value["use"] = "sig".into();
        value
    }
}

#[derive(Default)]
struct Shared {
    keys: Mutex<Vec<Key>>,
    down: AtomicBool,
    fetches: AtomicUsize,
    base: Mutex<String>,
}

/// A listening issuer.
pub struct Issuer {
    pub url: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Issuer {
    pub async fn start(keys: Vec<Key>) -> Self {
        let shared = Arc::new(Shared { keys: Mutex::new(keys), ..Shared::default() });
        let app = axum::Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/oauth/discovery/keys", get(jwks))
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        *shared.base.lock().unwrap() = url.clone();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, shared, task }
    }

    /// How often the keys were fetched.
    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    pub fn publish(&self, keys: Vec<Key>) {
        *self.shared.keys.lock().unwrap() = keys;
    }

    /// Answers 503 from now on.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
    }
}

async fn configuration(State(shared): State<Arc<Shared>>) -> axum::response::Response {
    if shared.down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let base = shared.base.lock().unwrap().clone();
    Json(json!({ "issuer": base, "jwks_uri": format!("{base}/oauth/discovery/keys") })).into_response()
}

async fn jwks(State(shared): State<Arc<Shared>>) -> axum::response::Response {
    shared.fetches.fetch_add(1, Ordering::SeqCst);
    if shared.down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let keys: Vec<Value> = shared.keys.lock().unwrap().iter().map(Key::jwk).collect();
    Json(json!({ "keys": keys })).into_response()
}
