//! Faults that a test asks for: which requests they meet and what then happens instead of an answer.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// A fault: what it meets, how often, what it does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Name in the journal.
    #[serde(default)]
    pub name: String,
    /// `graphql`, `rest` or `oidc`; any when left out.
    #[serde(default)]
    pub kind: Option<String>,
    /// GraphQL operation name or root field, or a part of the path; any when left out.
    #[serde(default)]
    pub operation: Option<String>,
    /// Only GraphQL mutations.
    #[serde(default)]
    pub mutations_only: bool,
    /// Requests it lets pass first.
    #[serde(default)]
    pub skip: u32,
    /// Requests it then meets; left out: all.
    #[serde(default)]
    pub times: Option<u32>,
    /// Whether the request takes effect before the fault.
    #[serde(default)]
    pub after_effect: bool,
    /// What happens.
    pub action: Action,
}

impl Fault {
    /// A fault that meets every request.
    pub fn new(action: Action) -> Self {
        Self {
            name: String::new(),
            kind: None,
            operation: None,
            mutations_only: false,
            skip: 0,
            times: None,
            after_effect: false,
            action,
        }
    }

    /// Only for this operation name, root field or part of a path.
    pub fn on(self, operation: &str) -> Self {
        Self { operation: Some(operation.to_owned()), ..self }
    }

    /// Only `times` requests.
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// The request takes effect first: the answer is lost, not the write.
    pub fn after_effect(self) -> Self {
        Self { after_effect: true, ..self }
    }

    fn meets(&self, request: &Target<'_>) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind == request.kind)
            && (!self.mutations_only || request.mutation)
            && self.operation.as_deref().is_none_or(|wanted| {
                request.operation_name == Some(wanted)
                    || request.fields.iter().any(|field| field == wanted)
                    || (request.kind != "graphql" && request.path.contains(wanted))
            })
    }

    fn label(&self) -> String {
        if self.name.is_empty() { format!("{:?}", self.action) } else { self.name.clone() }
    }
}

/// What a fault does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// An HTTP status with a JSON message; 429 with `Retry-After` in seconds when given.
    Status {
        /// HTTP status.
        code: u16,
        /// `Retry-After`, seconds.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// A proxy's 502 in HTML.
    Html,
    /// A pause before the answer, milliseconds.
    Delay {
        /// Pause.
        ms: u64,
    },
    /// No answer, ever; the connection stays open.
    Hang,
    /// The connection is cut without an answer.
    Cut,
    /// HTTP 200 with JSON of this many bytes.
    Oversized {
        /// Size.
        bytes: usize,
    },
    /// HTTP 200 with a top-level GraphQL error of this text and no data.
    GraphqlError {
        /// Text.
        message: String,
    },
}

/// What is known of a request when a fault is chosen.
pub struct Target<'a> {
    /// See [`Fault::kind`].
    pub kind: &'a str,
    /// Path.
    pub path: &'a str,
    /// GraphQL operation name.
    pub operation_name: Option<&'a str>,
    /// GraphQL root fields.
    pub fields: &'a [String],
    /// A GraphQL mutation.
    pub mutation: bool,
}

/// The faults in force; a clone shares them.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Fault>>>);

impl Faults {
    /// Adds a fault; the first that meets a request is played.
    pub fn add(&self, fault: Fault) {
        self.lock().push(fault);
    }

    /// Removes all.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// What is in force, counts as they are left.
    pub fn list(&self) -> Vec<Fault> {
        self.lock().clone()
    }

    /// The fault for this request, counted down: its label, whether the effect comes first, and what it does.
    pub fn take(&self, request: &Target<'_>) -> Option<(String, bool, Action)> {
        for fault in self.lock().iter_mut() {
            if !fault.meets(request) || fault.times == Some(0) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            if let Some(times) = fault.times.as_mut() {
                *times -= 1;
            }
            return Some((fault.label(), fault.after_effect, fault.action.clone()));
        }
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
