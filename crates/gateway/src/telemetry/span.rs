//! One thing that took time.

use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime};

use super::SpanContext;

/// Whose side it is seen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request that came in.
    Server,
    /// A call that went out.
    Client,
}

/// Value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// Text.
    Text(Cow<'static, str>),
    /// A list of one text: what the conventions want for reasons of an end.
    Texts(&'static str),
    /// Whole number.
    Whole(i64),
    /// Number.
    Number(f64),
    /// Yes or no.
    Switch(bool),
}

impl From<&'static str> for Attribute {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Whole(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Attribute {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Attribute {
    fn from(switch: bool) -> Self {
        Self::Switch(switch)
    }
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub struct Span {
    /// Itself.
    pub context: SpanContext,
    /// The span above it.
    pub parent: Option<[u8; 8]>,
    /// The one above is in another process.
    pub remote_parent: bool,
    /// `tracestate`.
    pub state: Option<String>,
    /// What it is, in few different words.
    pub name: String,
    /// Whose side.
    pub kind: Kind,
    /// From.
    pub start: SystemTime,
    /// Until.
    pub end: SystemTime,
    /// More about it. No content, no key.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Whether it failed.
    pub failed: bool,
}

impl Span {
    /// A span that began at `since` and ends now.
    pub fn new(context: SpanContext, name: String, kind: Kind, since: Instant) -> Self {
        let end = SystemTime::now();
        let start = end.checked_sub(since.elapsed()).unwrap_or(end);
        Self {
            context,
            parent: None,
            remote_parent: false,
            state: None,
            name,
            kind,
            start,
            end,
            attributes: Vec::with_capacity(12),
            failed: false,
        }
    }

    /// Adds an attribute; `None` is left out.
    pub fn add<T: Into<Attribute>>(&mut self, name: &'static str, value: impl Into<Option<T>>) {
        if let Some(value) = value.into() {
            self.attributes.push((name, value.into()));
        }
    }
}

/// Since 1970, in nanoseconds.
pub(super) fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
