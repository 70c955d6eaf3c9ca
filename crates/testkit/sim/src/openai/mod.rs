//! A simulated OpenAI-compatible model server: vLLM with `/v1/chat/completions`, `/v1/completions` and `/v1/models`,
//! or Azure OpenAI with its two doors, whole answers and server-sent events, faults on demand. Never calls tools.
//!
//! `/_sim/healthz`, `/_sim/journal`, `/_sim/faults`, `/_sim/answers` and `/_sim/config` are its control plane on the same port.

mod call;
pub mod config;
mod door;
pub mod error;
pub mod faults;
mod reply;
mod request;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

pub use config::Config;
pub use faults::FaultKind;

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

/// A running simulated model server; it stops when dropped.
pub struct Handle {
    server: Server,
    state: State,
}

/// Starts a simulated model server. Errors when the address cannot be bound.
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
        patch.apply(&mut lock(&settings.config));
        StatusCode::NO_CONTENT
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

    /// `http://<address>`; clients of vLLM add `/v1`, see [`Handle::base_url`].
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The endpoint to configure in GitLab: vLLM's with `/v1`, Azure's without a path.
    pub fn base_url(&self) -> String {
        let path = if lock(&self.state.config).azure { "" } else { "/v1" };
        format!("{}{path}", self.url())
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

    /// Changes keys, names or pace while it runs; the next call sees it. The address stays.
    pub fn reconfigure(&self, change: impl FnOnce(&mut Config)) {
        change(&mut lock(&self.state.config));
    }

    /// Returns only if the server ends by itself.
    pub async fn ended(&mut self) {
        self.server.ended().await;
    }
}
