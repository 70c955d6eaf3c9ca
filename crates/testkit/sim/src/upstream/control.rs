//! The control plane over HTTP, on the same port as the simulated API: `/_sim/healthz`, `/_sim/journal`,
//! `/_sim/faults`, `/_sim/answers`.

use axum::{
    Json, Router,
    http::StatusCode,
    routing::{get, post},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Call, Fault, Faults, Journal, Script, script::Line};

/// One or several, so that a person with curl need not type brackets.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> OneOrMany<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::Many(items) => items,
            Self::One(item) => vec![item],
        }
    }
}

/// The routes: `GET`/`DELETE` journal and faults, `POST` faults and answers (one object or a list).
pub(crate) fn routes<K>(journal: Journal, faults: Faults<K>, script: Script) -> Router
where
    K: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let read_journal = journal.clone();
    let (list, add, clear) = (faults.clone(), faults.clone(), faults);
    Router::new()
        .route("/_sim/healthz", get(|| async { "ok" }))
        .route(
            "/_sim/journal",
            get(move || async move { Json::<Vec<Call>>(read_journal.calls()) }).delete(move || async move {
                journal.clear();
                StatusCode::NO_CONTENT
            }),
        )
        .route(
            "/_sim/faults",
            get(move || async move { Json(list.list()) })
                .post(move |Json(body): Json<OneOrMany<Fault<K>>>| async move {
                    for fault in body.into_vec() {
                        add.add(fault);
                    }
                    StatusCode::NO_CONTENT
                })
                .delete(move || async move {
                    clear.clear();
                    StatusCode::NO_CONTENT
                }),
        )
        .route(
            "/_sim/answers",
            post(move |Json(body): Json<OneOrMany<Line>>| async move {
                for line in body.into_vec() {
                    script.add(line);
                }
                StatusCode::NO_CONTENT
            }),
        )
}
