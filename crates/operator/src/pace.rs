//! The pace of calls to each GitLab: one gate per instance, shared by all conversations with it, old and new.
//!
//! GitLab's own throttle of a user's API calls, where an administrator switches it on, is 7,200 an hour by default. A
//! converged instance is asked a few times per resync period; the limit is for what goes wrong.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use duo_core::url_rules;
use duo_gitlab::{Entered, Entering, Error};
use duo_runtime::backoff::Curve;
use duo_runtime::pace::breaker::{Failure, Rule};
use duo_runtime::pace::{Gate, Held, Limits};

use crate::aside;

/// Ordinary calls to one GitLab at once: a small instance has a handful of workers, and users need them.
const AT_ONCE: usize = 4;
/// Health and connection checks at once, in which GitLab waits for others.
const LONG_AT_ONCE: usize = 2;
/// Calls of a first apply: 25 features, 100 models.
const BURST: u32 = 400;
/// The one call that finds out whether GitLab answers again may take so long.
const TRY_TIMEOUT: Duration = Duration::from_secs(8);
/// A reconcile that waits longer for its turn makes room for others.
const PATIENCE: Duration = Duration::from_secs(1);

/// All gates, by instance.
pub(crate) struct Paces {
    limits: Limits,
    per_hour: u32,
    gates: Mutex<HashMap<String, Arc<Paced>>>,
}

/// One GitLab's gate, and why it was closed last.
struct Paced {
    gate: Arc<Gate>,
    last: Mutex<Option<Error>>,
}

/// Gates kept; a gate that is forgotten begins anew.
const MOST_GATES: usize = 10_000;

impl Paces {
    /// `resync`: whoever does not answer is asked again at least so often. `per_hour`: calls to one GitLab.
    pub(crate) fn new(resync: Duration, per_hour: u32) -> Self {
        let cap = resync.clamp(Duration::from_secs(1), Duration::from_secs(60));
        let pause = Curve { initial: Duration::from_secs(5).min(cap), cap };
        let rule = Rule { failures: 3, pause, patience: Duration::from_secs(30) };
        let limits = Limits { at_once: AT_ONCE, long_at_once: LONG_AT_ONCE, burst: BURST, per_hour, rule };
        Self { limits, per_hour, gates: Mutex::default() }
    }

    /// What a new client of this GitLab asks before each call. A gate that is closed begins anew with it: there is a new
    /// client because of a new token or authority, which may be the cure.
    pub(crate) fn gate(&self, url: &str) -> duo_gitlab::Gate {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if gates.len() >= MOST_GATES {
            gates.clear();
        }
        let key = url_rules::instance_key(url);
        let open = gates.get(&key).filter(|paced| !paced.gate.is_paused()).cloned();
        let paced = open.unwrap_or_else(|| Arc::new(Paced { gate: Gate::new(&self.limits), last: Mutex::default() }));
        gates.insert(key, Arc::clone(&paced));
        let per_hour = self.per_hour;
        Arc::new(move |call| {
            let paced = Arc::clone(&paced);
            Box::pin(async move { paced.enter(call, per_hour).await })
        })
    }
}

impl Paced {
    async fn enter(self: Arc<Self>, call: Entering, per_hour: u32) -> Result<Entered, Error> {
        let pass = match aside::patiently(PATIENCE, self.gate.enter(call.long)).await {
            Ok(pass) => pass,
            Err(Held::Rate(retry_after)) => return Err(Error::Paced { per_hour, retry_after }),
            Err(Held::Pause(retry_after)) => {
                let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let why = last.unwrap_or(Error::RateLimited { retry_after: None });
                return Err(Error::HeldBack { why: Box::new(why), retry_after });
            }
        };
        let within = pass.tries().then_some(TRY_TIMEOUT);
        let ended = move |error: Option<&Error>| match error.and_then(failure) {
            None => pass.answered(),
            Some(failure) => {
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = error.cloned();
                pass.failed(failure);
            }
        };
        Ok(Entered { within, ended: Box::new(ended) })
    }
}

/// Whether an error says that this GitLab does not answer for now; a refusal is an answer.
fn failure(error: &Error) -> Option<Failure> {
    let asked = error.retry_after();
    match error {
        Error::Timeout { .. } => Some(Failure { asked, hung: true }),
        // without a wish of GitLab's own a minute is what its throttles count by
        Error::RateLimited { .. } => Some(Failure { asked: asked.or(Some(Duration::from_secs(15))), hung: false }),
        Error::Unreachable { .. } | Error::ServerError { .. } | Error::NotGraphQl { .. } | Error::Tls { .. } => {
            Some(Failure { asked, hung: false })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_keeps_all_calls_from_an_answer_counts_against_a_gitlab() {
        let text = || "text".to_owned();
        let server = |retry_after| Error::ServerError { operation: "x", status: 503, message: text(), retry_after };
        let refused = Failure::default();
        let cases = [
            (
                Error::Timeout { operation: "x", after: Duration::from_secs(8) },
                Some(Failure { asked: None, hung: true }),
            ),
            (Error::Unreachable { host: text(), cause: text() }, Some(refused)),
            (Error::Tls { host: text(), cause: text() }, Some(refused)),
            (server(None), Some(refused)),
            (server(Some(Duration::from_secs(7))), Some(Failure { asked: Some(Duration::from_secs(7)), hung: false })),
            (
                Error::RateLimited { retry_after: Some(Duration::from_secs(90)) },
                Some(Failure { asked: Some(Duration::from_secs(90)), hung: false }),
            ),
            (Error::TokenInvalid { message: text() }, None),
            (Error::Refused { operation: "x", message: text() }, None),
            (Error::ReadOnly { operation: "x", message: text() }, None),
            (Error::SchemaMismatch { operation: "x", message: text() }, None),
        ];
        for (error, expected) in cases {
            assert_eq!(failure(&error), expected, "{error:?}");
        }
    }

    #[tokio::test]
    async fn one_gitlab_under_two_spellings_has_one_gate_and_others_have_their_own() {
        let paces = Paces::new(Duration::from_secs(300), 3600);
        let call = Entering { operation: "x", long: false };
        let (one, same) = (paces.gate("https://gitlab.example.com"), paces.gate("https://GitLab.example.com/"));
        let Ok(entered) = one(call).await else { panic!("not let in") };
        (entered.ended)(Some(&Error::Timeout { operation: "x", after: Duration::from_secs(8) }));
        let Err(held) = same(call).await else { panic!("let in") };
        assert_eq!((held.category(), held.outcome_unknown(), held.is_transient()), ("Timeout", false, true));
        assert!(held.retry_after().is_some());
        assert!(paces.gate("https://other.example.com")(call).await.is_ok());
        assert!(paces.gate("https://gitlab.example.com")(call).await.is_ok(), "a new client may have the cure");
    }
}
