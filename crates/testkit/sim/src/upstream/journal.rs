//! The journal: what a simulated model server was asked, by whom, and how each call ended. The end of each call is
//! logged as well, without prompt and answer.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use super::lock;

/// Who called, without the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "scheme", rename_all = "snake_case")]
pub enum Credential {
    /// No credential, or one that was not accepted.
    None,
    /// AWS Signature Version 4.
    SigV4 {
        /// The access key id, which is not a secret.
        access_key_id: String,
        /// The region in the credential scope.
        region: String,
        /// Whether a session token came along (temporary credentials).
        session: bool,
    },
    /// `Authorization: Bearer …`.
    Bearer,
    /// Azure's `api-key` header.
    ApiKey,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not finished yet.
    Open,
    /// The whole answer was handed over.
    Answered,
    /// Refused by the rules of the server (authentication, validation, unknown model, …).
    Refused,
    /// Broken on purpose by a fault.
    Faulted,
    /// The caller left before the answer was complete.
    Abandoned,
}

/// One call.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    /// Counts from 0 since the server started; never reused, also after [`Journal::clear`].
    pub id: u64,
    /// The API's operation: `Converse`, `ConverseStream`, `chat/completions`, `completions`, `models`.
    pub operation: String,
    /// The request's path with its query, as it came.
    pub path: String,
    /// The model (or deployment) asked for; empty when the request did not get that far.
    pub model: String,
    /// Who called.
    pub credential: Credential,
    /// The request body; `null` when it was not JSON.
    pub request: Value,
    /// Whether a streamed answer was asked for.
    pub stream: bool,
    /// The answer's HTTP status, 0 while it is not known.
    pub status: u16,
    /// The error code of a refusal or fault (`ThrottlingException`, `rate_limit_exceeded`, …).
    pub error: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
}

#[derive(Default)]
struct State {
    next: u64,
    calls: Vec<Call>,
}

/// A shared list of calls, oldest first.
#[derive(Clone)]
pub struct Journal {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
}

impl Default for Journal {
    fn default() -> Self {
        Self { state: Arc::default(), changed: Arc::new(watch::channel(0).0) }
    }
}

impl Journal {
    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.state).calls.clone()
    }

    /// Forgets all calls.
    pub fn clear(&self) {
        lock(&self.state).calls.clear();
    }

    /// Waits until `ready` holds for the calls so far and returns them, or `None` after `limit`.
    pub async fn wait_until(&self, limit: Duration, mut ready: impl FnMut(&[Call]) -> bool) -> Option<Vec<Call>> {
        let mut changed = self.changed.subscribe();
        let wait = async {
            loop {
                let calls = self.calls();
                if ready(&calls) {
                    return calls;
                }
                // the sender lives in self, so this cannot fail
                let _ = changed.changed().await;
            }
        };
        tokio::time::timeout(limit, wait).await.ok()
    }

    /// Opens an entry; `fill` sets what is known, the id is given here.
    pub(crate) fn open(&self, fill: impl FnOnce(&mut Call)) -> Entry {
        let id = {
            let mut state = lock(&self.state);
            let id = state.next;
            state.next += 1;
            let mut call = Call {
                id,
                operation: String::new(),
                path: String::new(),
                model: String::new(),
                credential: Credential::None,
                request: Value::Null,
                stream: false,
                status: 0,
                error: None,
                outcome: Outcome::Open,
            };
            fill(&mut call);
            state.calls.push(call);
            id
        };
        self.tell();
        Entry { journal: self.clone(), id, settled: false }
    }

    fn tell(&self) {
        self.changed.send_modify(|version| *version = version.wrapping_add(1));
    }
}

/// A journal entry that is being worked on. Dropping it unsettled marks the call as abandoned by its caller.
pub(crate) struct Entry {
    journal: Journal,
    id: u64,
    settled: bool,
}

impl Entry {
    /// Changes the entry.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Call)) {
        {
            let mut state = lock(&self.journal.state);
            if let Some(call) = state.calls.iter_mut().find(|call| call.id == self.id) {
                change(call);
            }
        }
        self.journal.tell();
    }

    /// Says how the call ended.
    pub(crate) fn settle(&mut self, outcome: Outcome) {
        self.settled = true;
        self.update(|call| {
            call.outcome = outcome;
            let (operation, model, status) = (call.operation.as_str(), call.model.as_str(), call.status);
            tracing::info!(id = call.id, operation, model, status, error = call.error, ?outcome, "call");
        });
    }

    /// Says that the call was refused or broken, and how.
    pub(crate) fn fail(&mut self, outcome: Outcome, status: u16, error: &str) {
        self.update(|call| {
            call.status = status;
            call.error = Some(error.to_owned());
        });
        self.settle(outcome);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.settled {
            self.settle(Outcome::Abandoned);
        }
    }
}
