//! What becomes known while a request is served.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::logging::Fields;

/// A request is charged with at most so many model calls in the audit log; none of GitLab's makes more than one.
const MOST_AUDITED: usize = 64;

/// The answer's side of a request's record.
pub(super) struct Facts {
    pub(super) status: Option<u16>,
    pub(super) content_type: Option<http::HeaderValue>,
    pub(super) start: Option<Duration>,
    pub(super) overhead: Option<Duration>,
    pub(super) first_chunk: Option<Duration>,
    pub(super) complete: bool,
    pub(super) notes: Notes,
    /// The audit lines' own fields; the rest is known at the end.
    pub(super) audits: Vec<Fields>,
    pub(super) away: Away,
}

impl Facts {
    pub(super) fn new(notes: Fields) -> Self {
        Self {
            status: None,
            content_type: None,
            start: None,
            overhead: None,
            first_chunk: None,
            complete: false,
            notes: Notes { fields: notes, places: Vec::new() },
            audits: Vec::new(),
            away: Away::default(),
        }
    }

    pub(super) fn audit(&mut self, fields: Fields) {
        if self.audits.len() < MOST_AUDITED {
            self.audits.push(fields);
        }
    }
}

/// Fields that may be said again: the last one counts.
pub(super) struct Notes {
    pub(super) fields: Fields,
    places: Vec<(&'static str, usize, usize)>,
}

impl Notes {
    pub(super) fn add(&mut self, name: &'static str, value: impl Serialize) {
        self.forget(name);
        let from = self.fields.len();
        self.fields.add(name, value);
        self.places.push((name, from, self.fields.len()));
    }

    fn forget(&mut self, name: &str) {
        let Some(at) = self.places.iter().position(|(known, ..)| *known == name) else { return };
        let (_, from, to) = self.places.remove(at);
        self.fields.remove(from, to);
        for (_, start, end) in &mut self.places {
            if *start >= to {
                *start -= to - from;
                *end -= to - from;
            }
        }
    }

    /// The field as it stands.
    pub(super) fn get(&self, name: &str) -> Option<Fields> {
        let (_, from, to) = self.places.iter().find(|(known, ..)| *known == name)?;
        Some(self.fields.part(*from, *to))
    }
}

/// Time that the request spends with others: waiting for model servers and in line. Two calls at a time count once.
#[derive(Default)]
pub(super) struct Away {
    waiting: u32,
    since: Option<Instant>,
    total: Duration,
    ever: bool,
}

impl Away {
    pub(super) fn begin(&mut self, now: Instant) {
        self.ever = true;
        if self.waiting == 0 {
            self.since = Some(now);
        }
        self.waiting += 1;
    }

    pub(super) fn end(&mut self, now: Instant) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0
            && let Some(since) = self.since.take()
        {
            self.total += now.saturating_duration_since(since);
        }
    }

    /// So far; `None` for a request that went to nobody.
    pub(super) fn total(&self, now: Instant) -> Option<Duration> {
        let open = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.ever.then_some(self.total + open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_that_is_said_again_replaces_the_first() {
        let mut notes = Notes { fields: Fields::new(true, 0), places: Vec::new() };
        notes.add("a", "first");
        notes.add("b", 2);
        notes.add("a", 3);
        notes.add("c", None::<u8>);
        notes.add("b", 4);
        let text = |fields: &Fields| format!("{fields:?}");
        let mut expected = Fields::new(true, 0);
        expected.add("a", 3);
        expected.add("b", 4);
        assert_eq!(text(&notes.fields), text(&expected));
        let mut b = Fields::new(true, 0);
        b.add("b", 4);
        assert_eq!(text(&notes.get("b").unwrap()), text(&b));
        assert!(notes.get("d").is_none());
    }

    #[test]
    fn two_calls_at_a_time_count_once() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut away = Away::default();
        assert_eq!(away.total(at(5)), None);
        away.begin(at(10));
        away.begin(at(20));
        away.end(at(30));
        assert_eq!(away.total(at(35)), Some(Duration::from_millis(25)));
        away.end(at(40));
        away.begin(at(100));
        away.end(at(105));
        assert_eq!(away.total(at(1000)), Some(Duration::from_millis(35)));
    }
}
