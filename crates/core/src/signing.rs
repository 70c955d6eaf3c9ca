//! Rotation of the gateway's signing keys, without a moment in which a valid token is refused.
//!
//! There are always two keys: one signs, both check. At rest the second is the *next* signing key: every pod takes its
//! tokens already. A rotation swaps the two, so that a pod that has swapped and one that has not yet take each other's
//! tokens. Then the second is the *previous* key, until no token that it signed is valid any more; a new next key takes
//! its place. GitLab's image is started with one key for each of the two places, so this is all that it needs.

use duo_api::annotations::{SIGNING_KEYS_ROTATED, SIGNING_KEYS_ROTATED_AT};
use std::collections::BTreeMap;

/// Seconds that a previous key goes on checking: a token's life of an hour, the clocks' difference, and the time in which
/// the last pod may have gone on signing with it.
pub const OVERLAP_SECONDS: i64 = 3600 + 2 * 60 + 300;

/// How far a rotation is, as the annotations of the operator-owned Secret say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The request that was done last.
    pub done: Option<String>,
    /// When, in seconds since 1970, while the previous key still checks.
    pub rotated_at: Option<i64>,
}

/// What is to be done with the keys now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Swap the two.
    Swap,
    /// Put a new next key in the place of the previous one.
    Renew,
    /// The previous key has to check for so many seconds more.
    Wait(i64),
}

/// The next step. `requested`: the annotation's value; `settled`: every pod has the present keys.
pub fn step(requested: Option<&str>, state: &State, now: i64, settled: bool) -> Step {
    let asked = requested.is_some_and(|value| !value.is_empty() && state.done.as_deref() != Some(value));
    match state.rotated_at {
        // A clock that was set back must not keep the previous key for ever.
        Some(at) if (now - at).abs() >= OVERLAP_SECONDS => {
            if settled {
                Step::Renew
            } else {
                Step::Rest
            }
        }
        Some(at) => Step::Wait(OVERLAP_SECONDS - (now - at).abs()),
        None if asked && settled => Step::Swap,
        None => Step::Rest,
    }
}

impl State {
    /// From the annotations of the Secret. `seconds` reads RFC 3339; a time that nobody can read is long ago.
    pub fn read(annotations: &BTreeMap<String, String>, seconds: impl Fn(&str) -> Option<i64>) -> Self {
        Self {
            done: annotations.get(SIGNING_KEYS_ROTATED).filter(|value| !value.is_empty()).cloned(),
            rotated_at: annotations
                .get(SIGNING_KEYS_ROTATED_AT)
                .filter(|at| !at.is_empty())
                .map(|at| seconds(at).unwrap_or(0)),
        }
    }

    /// The annotations that say so. `text` writes RFC 3339. A time that is over is written as nothing and not left out:
    /// one that somebody else has touched would stay.
    pub fn annotations(&self, text: impl Fn(i64) -> String) -> BTreeMap<String, String> {
        if *self == Self::default() {
            return BTreeMap::new();
        }
        BTreeMap::from([
            (SIGNING_KEYS_ROTATED.to_owned(), self.done.clone().unwrap_or_default()),
            (SIGNING_KEYS_ROTATED_AT.to_owned(), self.rotated_at.map(text).unwrap_or_default()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(done: Option<&str>, rotated_at: Option<i64>) -> State {
        State { done: done.map(Into::into), rotated_at }
    }

    #[test]
    fn a_rotation_waits_for_the_pods_and_a_second_one_for_the_first() {
        let end = OVERLAP_SECONDS;
        for (requested, state, now, settled, expected) in [
            (None, state(None, None), 0, true, Step::Rest),
            (Some(""), state(None, None), 0, true, Step::Rest),
            (Some("a"), state(Some("a"), None), 0, true, Step::Rest),
            (Some("a"), state(None, None), 0, false, Step::Rest),
            (Some("a"), state(None, None), 0, true, Step::Swap),
            (Some("b"), state(Some("a"), Some(100)), 200, true, Step::Wait(end - 100)),
            (Some("b"), state(Some("a"), Some(100)), end, true, Step::Wait(100)),
            (Some("b"), state(Some("a"), Some(100)), 100 + end, false, Step::Rest),
            (Some("b"), state(Some("a"), Some(100)), 100 + end, true, Step::Renew),
            (Some("b"), state(Some("a"), None), 100 + end, true, Step::Swap),
            (None, state(Some("a"), Some(100)), 100 + end, true, Step::Renew),
            (None, state(Some("a"), Some(10_000_000)), 100, true, Step::Renew),
        ] {
            assert_eq!(step(requested, &state, now, settled), expected, "{requested:?} {state:?} {now} {settled}");
        }
    }

    #[test]
    fn the_previous_key_checks_for_67_minutes() {
        assert_eq!(OVERLAP_SECONDS, 67 * 60, "as the README says");
    }

    #[test]
    fn the_state_survives_in_annotations() {
        let text = |at: i64| at.to_string();
        let read = |text: &str| text.parse().ok();
        for state in [state(None, None), state(Some("a"), None), state(Some("a"), Some(7))] {
            assert_eq!(State::read(&state.annotations(text), read), state);
        }
        let unreadable = BTreeMap::from([(SIGNING_KEYS_ROTATED_AT.to_owned(), "yesterday".to_owned())]);
        assert_eq!(State::read(&unreadable, read).rotated_at, Some(0));
    }
}
