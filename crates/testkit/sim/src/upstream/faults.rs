//! Faults on demand: which of the next calls break, and how many of them. What a fault does is the server's matter.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::lock;

/// One fault that waits for calls to break. As JSON: the kind's own fields beside these, for example
/// `{"kind":"throttling","retry_after":2,"times":1}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault<K> {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: K,
    /// Only calls of this model, as the caller names it; any when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How many calls break; until cleared when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// How many matching calls are let through first.
    #[serde(default)]
    pub skip: u32,
}

impl<K> Fault<K> {
    /// Breaks the next call.
    pub fn once(kind: K) -> Self {
        Self::times(kind, 1)
    }

    /// Breaks the next `times` calls.
    pub fn times(kind: K, times: u32) -> Self {
        Self { kind, model: None, times: Some(times), skip: 0 }
    }

    /// Breaks every call until cleared.
    pub fn always(kind: K) -> Self {
        Self { kind, model: None, times: None, skip: 0 }
    }

    /// Restricts the fault to calls of one model.
    pub fn for_model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Lets this many matching calls through first.
    pub fn after_calls(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }
}

/// The faults that wait; clones share them. The oldest that matches a call breaks it.
#[derive(Clone, Debug)]
pub struct Faults<K>(Arc<Mutex<Vec<Fault<K>>>>);

impl<K> Default for Faults<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Clone> Faults<K> {
    /// Adds a fault behind those that wait already.
    pub fn add(&self, fault: Fault<K>) {
        lock(&self.0).push(fault);
    }

    /// Removes all faults; running calls stay as they are.
    pub fn clear(&self) {
        lock(&self.0).clear();
    }

    /// The faults that still wait.
    pub fn list(&self) -> Vec<Fault<K>> {
        lock(&self.0).clone()
    }

    /// The fault that breaks a call of `model` now, if any; uses it up.
    pub(crate) fn take(&self, model: &str) -> Option<K> {
        let mut faults = lock(&self.0);
        for index in 0..faults.len() {
            let fault = &mut faults[index];
            if fault.model.as_deref().is_some_and(|wanted| wanted != model) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            let kind = fault.kind.clone();
            if let Some(times) = &mut fault.times {
                *times = times.saturating_sub(1);
                if *times == 0 {
                    faults.remove(index);
                }
            }
            return Some(kind);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_breaks_the_calls_it_names_and_is_then_used_up() {
        let faults = Faults::default();
        faults.add(Fault::times('a', 2).for_model("m").after_calls(1));
        let seen: Vec<_> = ["m", "other", "m", "m", "m"].iter().map(|model| faults.take(model)).collect();
        assert_eq!(seen, [None, None, Some('a'), Some('a'), None]);
        assert!(faults.list().is_empty());
    }

    #[test]
    fn a_fault_without_a_count_stays_until_cleared() {
        let faults = Faults::default();
        faults.add(Fault::always('a'));
        assert_eq!((faults.take("m"), faults.take("n")), (Some('a'), Some('a')));
        faults.clear();
        assert_eq!(faults.take("m"), None);
    }
}
