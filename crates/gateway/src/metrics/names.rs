//! Label values that come from outside: a bounded number of each kind is let through, later ones are `other`.
//!
//! A value that was let through lives as long as the process, so that labels are `&'static str` and counting a request
//! allocates nothing. What can be kept that way is bounded by the sizes here: some tens of kilobytes.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use foldhash::fast::RandomState;

/// Longer values are `other`.
const LONGEST: usize = 80;

/// Lets through the first values and calls all later ones `other`.
#[derive(Debug)]
pub struct Bounded {
    most: usize,
    /// It cannot be flooded: it is bounded.
    known: RwLock<HashSet<&'static str, RandomState>>,
}

impl Bounded {
    /// For at most so many values.
    pub fn new(most: usize) -> Self {
        Self { most, known: RwLock::default() }
    }

    /// The value for a label: short, plain, one of a bounded set. Nothing is `unknown`.
    pub fn value(&self, value: Option<&str>) -> &'static str {
        let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else { return "unknown" };
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(value) {
            return known;
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-+ :/@".contains(c);
        if value.len() > LONGEST || !value.chars().all(plain) {
            return "other";
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(value) {
            return known;
        }
        if known.len() >= self.most {
            return "other";
        }
        let value: &'static str = Box::leak(value.to_owned().into_boxed_str());
        known.insert(value);
        value
    }
}

/// The kinds of values.
#[derive(Debug)]
pub struct Names {
    /// `X-Gitlab-Language-Server-Version`.
    pub lsp_version: Bounded,
    /// `X-Gitlab-Version`.
    pub gitlab_version: Bounded,
    /// `X-Gitlab-Client-Type`.
    pub client_type: Bounded,
    /// `X-Gitlab-Realm`.
    pub realm: Bounded,
    /// Kinds of model servers.
    pub engine: Bounded,
    /// Declared models' names.
    pub model: Bounded,
    /// ISO 4217 codes.
    pub currency: Bounded,
    /// Model ids, as the model servers know them.
    pub model_id: Bounded,
    /// What editors call a file's language.
    pub language: Bounded,
    /// Extensions of file names.
    pub extension: Bounded,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            lsp_version: Bounded::new(48),
            gitlab_version: Bounded::new(48),
            client_type: Bounded::new(16),
            realm: Bounded::new(8),
            engine: Bounded::new(16),
            model: Bounded::new(256),
            currency: Bounded::new(16),
            model_id: Bounded::new(256),
            language: Bounded::new(96),
            extension: Bounded::new(96),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_bounded() {
        let bounded = Bounded::new(64);
        assert_eq!(bounded.value(Some("18.9.0")), "18.9.0");
        assert_eq!(bounded.value(None), "unknown");
        assert_eq!(bounded.value(Some("a\nb")), "other");
        assert_eq!(bounded.value(Some(&"x".repeat(LONGEST + 1))), "other");
        for n in 0..1000 {
            bounded.value(Some(&n.to_string()));
        }
        assert_eq!(bounded.value(Some("new")), "other");
        assert_eq!(bounded.value(Some("18.9.0")), "18.9.0");
    }
}
