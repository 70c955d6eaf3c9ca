//! The 422 answer: a list of faults with their places.

use serde::Serialize;
use serde_json::{Value, json};

/// One step of the way to a fault: a key or an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Loc {
    /// A field.
    Key(String),
    /// A list index.
    Index(usize),
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InvalidItem {
    /// Where, from `body` on.
    pub loc: Vec<Loc>,
    /// What is wrong; holds nothing of the body but field names.
    pub msg: String,
    /// The kind of fault, in the words of the official gateway's library (`missing`, `string_too_long`, …).
    #[serde(rename = "type")]
    pub kind: String,
}

/// Why a body is not valid: at least one fault. Answer 422 with [`Invalid::body`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.summary())]
pub struct Invalid(pub Vec<InvalidItem>);

impl Invalid {
    /// A single fault.
    pub fn one(loc: &[&str], msg: &str, kind: &str) -> Self {
        Invalid(vec![InvalidItem {
            loc: loc.iter().map(|key| Loc::Key((*key).to_owned())).collect(),
            msg: msg.to_owned(),
            kind: kind.to_owned(),
        }])
    }

    /// The body was not JSON, or came without `Content-Type: application/json`.
    pub fn not_json() -> Self {
        Self::one(&["body"], "The request body is not a JSON object", "json_invalid")
    }

    /// The JSON answer: `{"detail":[{"loc":[…],"msg":"…","type":"…"}]}`.
    pub fn body(&self) -> Value {
        json!({ "detail": self.0 })
    }

    /// The faults in one line, for a log.
    pub fn summary(&self) -> String {
        let one = |item: &InvalidItem| {
            let path: Vec<String> = item
                .loc
                .iter()
                .map(|loc| match loc {
                    Loc::Key(key) => key.clone(),
                    Loc::Index(index) => index.to_string(),
                })
                .collect();
            format!("{}: {}", path.join("."), item.msg)
        };
        self.0.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}
