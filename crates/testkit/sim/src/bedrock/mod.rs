//! A simulated Bedrock Runtime: `POST /model/{modelId}/converse` and `/converse-stream` as AWS documents them, with
//! signatures verified, requests checked strictly, models that refuse what the real ones refuse, real event-stream
//! frames and faults on demand. Never calls tools, and knows no InvokeModel.
//!
//! `/_sim/healthz`, `/_sim/journal`, `/_sim/faults`, `/_sim/answers` and `/_sim/config` are its control plane on the same port.

mod auth;
mod call;
pub mod config;
pub mod error;
pub mod eventstream;
pub mod faults;
pub mod models;
mod reply;
mod rules;
mod shapes;
pub mod sigv4;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

pub use config::{AccessKey, Config, EXAMPLE_ACCESS_KEY_ID, EXAMPLE_SECRET_ACCESS_KEY};
pub use faults::{FaultKind, StreamException};

use axum::http::StatusCode;

use crate::upstream::{self, Faults, Journal, Script, Server, lock};

/// What the calls share.
#[derive(Clone)]
pub(crate) struct State {
    config: Arc<Mutex<Config>>,
    journal: Journal,
    faults: Faults<FaultKind>,
    script: Script,
}

/// A running simulated Bedrock; it stops when dropped.
pub struct Handle {
    server: Server,
    state: State,
}

/// Starts a simulated Bedrock. Errors when the address cannot be bound.
pub async fn start(config: Config) -> io::Result<Handle> {
    let listen = config.listen;
    let state = State {
        config: Arc::new(Mutex::new(config)),
        journal: Journal::default(),
        faults: Faults::default(),
        script: Script::default(),
    };
    let control = upstream::control::routes(state.journal.clone(), state.faults.clone(), state.script.clone());
    let settings = state.clone();
    let patch = move |axum::Json(patch): axum::Json<config::Patch>| async move {
        match patch.apply(&mut lock(&settings.config)) {
            Ok(()) => (StatusCode::NO_CONTENT, String::new()),
            Err(problem) => (StatusCode::UNPROCESSABLE_ENTITY, problem),
        }
    };
    let router = axum::Router::new()
        .fallback(call::handle)
        .with_state(state.clone())
        .route("/_sim/config", axum::routing::patch(patch))
        .merge(control);
    Ok(Handle { server: Server::start(listen, router).await?, state })
}

impl Handle {
    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The endpoint to configure, `http://<address>`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The calls so far.
    pub fn journal(&self) -> &Journal {
        &self.state.journal
    }

    /// Faults that wait for calls.
    pub fn faults(&self) -> &Faults<FaultKind> {
        &self.state.faults
    }

    /// Answers given word for word to the next calls.
    pub fn script(&self) -> &Script {
        &self.state.script
    }

    /// Changes keys, grants or pace while it runs; the next call sees it. The address stays.
    pub fn reconfigure(&self, change: impl FnOnce(&mut Config)) {
        change(&mut lock(&self.state.config));
    }

    /// Returns only if the server ends by itself.
    pub async fn ended(&mut self) {
        self.server.ended().await;
    }
}
