//! Text that thousands of objects repeat: each different one is in memory once, for as long as somebody holds it.
//!
//! A cluster with 7,000 objects has some 30,000 conditions with the same few types, reasons and sentences; each by itself they
//! would be half of what the operator's caches take.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use string_cache::DefaultAtom;

/// Text that is kept once; 8 bytes for each holder, cheap to clone. Reads, compares, hashes and is written like a `str`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Interned(DefaultAtom);

impl Interned {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Interned {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Interned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Interned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl Hash for Interned {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Ord for Interned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other)
    }
}

impl PartialOrd for Interned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq<str> for Interned {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Interned {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Interned {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<Interned> for str {
    fn eq(&self, other: &Interned) -> bool {
        self == other.as_str()
    }
}

impl PartialEq<Interned> for &str {
    fn eq(&self, other: &Interned) -> bool {
        *self == other.as_str()
    }
}

impl From<&str> for Interned {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Interned {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Interned> for String {
    fn from(text: Interned) -> Self {
        text.as_str().to_owned()
    }
}

impl JsonSchema for Interned {
    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_the_text_that_it_was_made_of() {
        for text in ["", "Ready", "exactly8", "The model answered", "Zürich – ö"] {
            let interned = Interned::from(text);
            assert_eq!(
                (&*interned, interned.to_string(), format!("{interned:?}")),
                (text, text.to_owned(), format!("{text:?}"))
            );
            assert!(interned == text);
            assert!(text == interned);
            assert!(interned == *text);
            assert_eq!(serde_json::to_value(&interned).unwrap(), serde_json::json!(text));
            assert_eq!(serde_json::from_value::<Interned>(serde_json::json!(text)).unwrap(), interned);
            assert_eq!(
                serde_yaml_ng::from_str::<Interned>(&serde_yaml_ng::to_string(text).unwrap()).unwrap(),
                interned
            );
        }
    }

    #[test]
    fn equal_texts_are_one_and_order_is_that_of_text() {
        let (one, other) = (Interned::from("The model answered"), Interned::from("The model answered".to_owned()));
        assert!(std::ptr::eq(one.as_str(), other.as_str()));
        let words = ["b", "a long sentence of its own", "c", "a"];
        let sorted: Vec<String> =
            words.map(Interned::from).into_iter().collect::<BTreeSet<_>>().into_iter().map(String::from).collect();
        assert_eq!(sorted, ["a", "a long sentence of its own", "b", "c"]);
    }
}
