//! What happened: every request that came in, with its effect, and every call that went out to the gateway.
//!
//! Never holds a token or a model's key: they are masked before an entry is made.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What stands in place of a secret.
pub const MASK: &str = "[masked]";

/// One request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Entry {
    /// Position, from 1; also usable as a mark.
    pub seq: u64,
    /// Arrival.
    pub at: Timestamp,
    /// `graphql`, `rest`, `oidc`, `outgoing` (a call of GitLab's to the gateway) or `other`.
    pub kind: String,
    /// HTTP method.
    pub method: String,
    /// Path, for `outgoing` the whole URL.
    pub path: String,
    /// Login of the caller.
    pub user: Option<String>,
    /// The caller's program, as it names itself.
    #[serde(default)]
    pub user_agent: Option<String>,
    /// GraphQL operation name as sent.
    pub operation_name: Option<String>,
    /// GraphQL root fields.
    pub fields: Vec<String>,
    /// A GraphQL mutation.
    pub mutation: bool,
    /// GraphQL variables, every `apiToken` masked.
    pub variables: Value,
    /// Whether the variables carried a non-empty `apiToken`.
    pub api_token_sent: bool,
    /// GraphQL document as sent (literal secrets in it are not masked: send them as variables).
    pub query: Option<String>,
    /// HTTP status of the answer; none while it is being worked on or after a cut connection.
    pub status: Option<u16>,
    /// Messages of top-level errors and of the payload's `errors`.
    pub errors: Vec<String>,
    /// Whether something stored changed.
    pub changed: bool,
    /// The fault that was played, if any.
    pub fault: Option<String>,
    /// Time until the answer's head, milliseconds.
    pub duration_ms: u64,
}

impl Entry {
    /// A mutation that means to store something: all but the connection check.
    pub fn is_write(&self) -> bool {
        self.mutation && self.fields.iter().any(|field| field != "aiSelfHostedModelConnectionCheck")
    }
}

/// Entries kept; the oldest go first.
const KEPT: usize = 50_000;

/// The journal; a clone shares it.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Entry>,
    /// Position of the newest entry.
    last: u64,
}

impl Journal {
    /// Adds an entry, returns its position.
    pub fn push(&self, mut entry: Entry) -> u64 {
        let mut inner = self.lock();
        inner.last += 1;
        entry.seq = inner.last;
        inner.entries.push_back(entry);
        if inner.entries.len() > KEPT {
            inner.entries.pop_front();
        }
        inner.last
    }

    /// Changes the entry at `seq`, if it is still kept.
    pub fn amend(&self, seq: u64, change: impl FnOnce(&mut Entry)) {
        let mut inner = self.lock();
        let first = inner.entries.front().map_or(0, |entry| entry.seq);
        let index = usize::try_from(seq.saturating_sub(first)).unwrap_or(usize::MAX);
        if let Some(entry) = inner.entries.get_mut(index).filter(|entry| entry.seq == seq) {
            change(entry);
        }
    }

    /// The position now; give it to [`Journal::since`] later.
    pub fn mark(&self) -> u64 {
        self.lock().last
    }

    /// Entries after a mark.
    pub fn since(&self, mark: u64) -> Vec<Entry> {
        self.lock().entries.iter().filter(|entry| entry.seq > mark).cloned().collect()
    }

    /// Mutations after a mark that mean to store something, whether they succeeded or not.
    pub fn writes(&self, mark: u64) -> Vec<Entry> {
        self.since(mark).into_iter().filter(Entry::is_write).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A copy with every `apiToken` masked, and whether one with content was there.
pub fn masked(value: &Value) -> (Value, bool) {
    let mut sent = false;
    let copy = mask(value, &mut sent);
    (copy, sent)
}

fn mask(value: &Value, sent: &mut bool) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, inner)| match (key.as_str(), inner) {
                    ("apiToken", Value::String(text)) => {
                        *sent |= !text.is_empty();
                        let shown = if text.is_empty() { text.clone() } else { MASK.to_owned() };
                        (key.clone(), Value::String(shown))
                    }
                    _ => (key.clone(), mask(inner, sent)),
                })
                .collect(),
        ),
        Value::Array(list) => Value::Array(list.iter().map(|inner| mask(inner, sent)).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stay_right_after_the_oldest_entries_are_gone() {
        let journal = Journal::default();
        for _ in 0..KEPT + 10 {
            journal.push(Entry::default());
        }
        let mark = journal.mark();
        let seq = journal.push(Entry::default());
        journal.amend(seq, |entry| entry.status = Some(200));
        journal.amend(1, |entry| entry.status = Some(500));
        let since = journal.since(mark);
        assert_eq!(since.iter().map(|entry| (entry.seq, entry.status)).collect::<Vec<_>>(), [(seq, Some(200))]);
        assert!(journal.since(0).iter().all(|entry| entry.status != Some(500)), "an entry that is gone is not amended");
    }
}
