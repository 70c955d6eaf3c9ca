//! The control plane under `/_sim/`, on the listener of the API itself. Open to everyone: for tests and demos only.
//!
//! | request | what |
//! |---|---|
//! | `GET healthz` | 200 when it listens |
//! | `GET journal?since=N` | entries after position N; `GET writes?since=N` only storing mutations; `GET mark` |
//! | `GET state`, `PATCH state` | everything stored; the patch is merged (RFC 7386), as an administrator's edit |
//! | `GET faults`, `POST faults`, `DELETE faults` | faults in force, see [`Fault`] |
//! | `POST keys/rotate` | `{"keep_old": false}` → `{"kid"}` |
//! | `POST tokens` | [`TokenOptions`] → `{"token"}` |
//! | `PUT hosts` | `{"name": "address"}`; null forgets |
//! | `POST users/ask/{chat,code_completion,direct_completion,code_generation,explain_code,commit_message}` | [`Ask`] → [`super::Outcome`] |

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::asks::{self, Ask, What};
use super::faults::Fault;
use super::oidc::TokenOptions;
use super::server::{Answer, json_answer};
use super::sim::Sim;
use super::state::State;

/// Answers a request of the control plane; `path` is what follows `/_sim/`.
pub async fn handle(sim: &Arc<Sim>, method: &Method, path: &str, query: Option<&str>, body: &[u8]) -> Answer {
    match route(sim, method, path, query, body).await {
        Ok(value) => json_answer(200, &value),
        Err((status, message)) => json_answer(status, &json!({"error": message})),
    }
}

type Failed = (u16, String);

async fn route(sim: &Arc<Sim>, method: &Method, path: &str, query: Option<&str>, body: &[u8]) -> Result<Value, Failed> {
    let since = || {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        pairs.into_iter().find(|(key, _)| key == "since").and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    };
    if let Some(what) = path.strip_prefix("users/ask/") {
        let what: What = serde_json::from_value(json!(what))
            .map_err(|_| (404, format!("no such question: {what}; see the control plane's table")))?;
        let ask: Ask = parse(body)?;
        return Ok(json!(asks::ask(sim, what, &ask).await));
    }
    match (method.as_str(), path) {
        ("GET", "healthz") => Ok(json!({"status": "ok"})),
        ("GET", "mark") => Ok(json!({"mark": sim.journal.mark()})),
        ("GET", "journal") => Ok(json!(sim.journal.since(since()))),
        ("GET", "writes") => Ok(json!(sim.journal.writes(since()))),
        ("GET", "state") => Ok(sim.read(|state| json!(state))),
        ("PATCH", "state") => {
            let patch: Value = parse(body)?;
            sim.write(|state| {
                *state = merged(state, &patch).map_err(|error| (422, error))?;
                Ok(json!(state))
            })
        }
        ("GET", "faults") => Ok(json!(sim.faults.list())),
        ("POST", "faults") => {
            sim.faults.add(parse::<Fault>(body)?);
            Ok(json!(sim.faults.list()))
        }
        ("DELETE", "faults") => {
            sim.faults.clear();
            Ok(json!([]))
        }
        ("POST", "keys/rotate") => {
            let body: Map<String, Value> = parse(body)?;
            let keep_old = body.get("keep_old").and_then(Value::as_bool).unwrap_or_default();
            let kid = sim.keys.rotate(keep_old).map_err(|error| (500, error.to_string()))?;
            Ok(json!({"kid": kid}))
        }
        ("POST", "tokens") => {
            let options: TokenOptions = parse(body)?;
            let token = sim.read(|state| sim.keys.issue(state, sim.external_url(), &options));
            Ok(json!({"token": token.map_err(|error| (500, error.to_string()))?}))
        }
        ("PUT", "hosts") => {
            let names: Map<String, Value> = parse(body)?;
            for (name, address) in names {
                match address.as_str().map(str::parse::<IpAddr>) {
                    Some(Ok(address)) => sim.hosts.insert(&name, address),
                    None if address.is_null() => sim.hosts.remove(&name),
                    _ => return Err((422, format!("{name}: {address} is not an address"))),
                }
            }
            Ok(json!({}))
        }
        _ => Err((404, format!("no {method} /_sim/{path}"))),
    }
}

/// An empty body reads as an empty object.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failed> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| (422, error.to_string()))
}

/// The state with a merge patch (RFC 7386) applied.
///
/// # Errors
/// The result is not a state; the message names the field.
pub fn merged(state: &State, patch: &Value) -> Result<State, String> {
    let mut value = json!(state);
    merge(&mut value, patch);
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    if let Some(target) = target.as_object_mut() {
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}
