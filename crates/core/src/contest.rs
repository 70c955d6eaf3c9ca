//! A fight with another writer: what we put back is changed again, each time. Writing backs off and a person is called;
//! else two controllers would write to one GitLab for ever, and its users would see a setting flap.
//!
//! Knows neither clock nor GitLab: times are given, in seconds; what is fought about is a name that the caller chooses.
//!
//! | what happens | what follows |
//! |---|---|
//! | found changed, up to [`ROUNDS`] times | put back at the next look |
//! | found changed again | contested: put back after 2, 4, 8, 8 … periods |
//! | found as declared after that | no longer contested, at once |
//! | as declared for [`QUIET_PERIODS`] | forgotten: the next change is a first one |

use std::collections::BTreeMap;

use crate::conditions::{self, Finding};
use duo_api::condition::Condition;

/// Times that something is put back before it counts as a fight.
pub const ROUNDS: u32 = 3;
/// The wait between two tries doubles this many times after the first: the other may stop, and nothing tells when.
const DOUBLINGS: u32 = 2;
/// Periods without a change after which a fight is forgotten.
pub const QUIET_PERIODS: i64 = 5;

/// The fights about one declaration: one generation of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contest {
    subjects: BTreeMap<String, Rounds>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rounds {
    put_back: u32,
    last: i64,
    not_before: i64,
}

/// Whether something may be put back now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Write,
    /// It was put back this many times in vain; the next try is due at this time.
    Hold(u32, i64),
}

impl Contest {
    /// Whether `subject`, which is not as declared, may be put back at `now`.
    pub fn judge(&self, subject: &str, now: i64) -> Verdict {
        match self.subjects.get(subject) {
            Some(rounds) if rounds.put_back >= ROUNDS && now < rounds.not_before => {
                Verdict::Hold(rounds.put_back, rounds.not_before)
            }
            _ => Verdict::Write,
        }
    }

    /// Notes that `subject` was written. `was_settled`: it had been as declared before, so that somebody changed it;
    /// what is written for the first time is no round. The verdict on it from now on: a contested thing counts as
    /// settled only when the next look still finds it so.
    pub fn wrote(&mut self, subject: &str, was_settled: bool, now: i64, period: i64) -> Verdict {
        let first = !self.subjects.contains_key(subject);
        let rounds = self.subjects.entry(subject.to_owned()).or_default();
        if !first || was_settled {
            rounds.put_back = rounds.put_back.saturating_add(1);
        }
        rounds.last = now;
        let beyond = rounds.put_back.saturating_sub(ROUNDS).min(DOUBLINGS);
        rounds.not_before = now.saturating_add(period.max(1).saturating_mul(2 << beyond));
        if rounds.put_back >= ROUNDS { Verdict::Hold(rounds.put_back, rounds.not_before) } else { Verdict::Write }
    }

    /// Whether writing `subject` now would be putting it back: it was settled, or it was written before.
    pub fn is_round(&self, subject: &str, was_settled: bool) -> bool {
        was_settled || self.subjects.contains_key(subject)
    }

    /// Notes a look that found everything as declared but for `differing`; what has been quiet for long is forgotten.
    pub fn looked(&mut self, differing: &[&str], now: i64, period: i64) {
        let quiet = QUIET_PERIODS.saturating_mul(period.max(1));
        self.subjects.retain(|subject, rounds| differing.contains(&subject.as_str()) || now - rounds.last <= quiet);
    }
}

/// Whether `type_` held for this generation when the status was written: what differs now was changed by somebody else.
pub fn was_settled(before: &[Condition], type_: &str, generation: Option<i64>) -> bool {
    conditions::get(before, type_).is_some_and(|condition| {
        condition.status == duo_api::ConditionStatus::True && condition.observed_generation == generation
    })
}

/// The condition of something that is fought about. `operation`: what would put it back, for people; `rounds` and
/// `not_before` (RFC 3339): from the verdict.
pub fn contested(type_: &'static str, operation: &str, rounds: u32, not_before: &str) -> Finding {
    Finding::fails(
        type_,
        "ContestedByAnother",
        format!(
            "another writer changes it again each time: put back {rounds} times, would {operation}; next try at \
             {not_before}. Stop the other writer, or declare what it writes, or set managementPolicy: Observe"
        ),
    )
    .by_person()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: i64 = 300;

    #[test]
    fn the_first_rounds_are_put_back_and_then_waits_grow() {
        let mut contest = Contest::default();
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..9 {
            if let Verdict::Hold(_, until) = contest.judge("url", now) {
                now = until;
            }
            assert_eq!(contest.judge("url", now), Verdict::Write);
            match contest.wrote("url", true, now, PERIOD) {
                Verdict::Hold(_, until) => waits.push(until - now),
                Verdict::Write => waits.push(0),
            }
            now += PERIOD;
        }
        assert_eq!(waits, [0, 0, 600, 1200, 2400, 2400, 2400, 2400, 2400]);
    }

    #[test]
    fn what_is_written_for_the_first_time_is_no_round() {
        for (was_settled, held_after) in [(false, 4), (true, 3)] {
            let mut contest = Contest::default();
            let writes = (1..).take_while(|_| contest.wrote("url", was_settled, 0, PERIOD) == Verdict::Write).count();
            assert_eq!(writes + 1, held_after, "{was_settled}");
        }
    }

    #[test]
    fn one_fight_stops_nothing_else() {
        let mut contest = Contest::default();
        for _ in 0..4 {
            contest.wrote("duo_chat", true, 0, PERIOD);
        }
        assert!(matches!(contest.judge("duo_chat", 1), Verdict::Hold(4, _)));
        assert_eq!(contest.judge("code_completions", 1), Verdict::Write);
    }

    #[test]
    fn a_fight_is_forgotten_after_a_quiet_time_only() {
        for (differing, later, forgotten) in [
            (&[][..], QUIET_PERIODS * PERIOD, false),
            (&[][..], QUIET_PERIODS * PERIOD + 1, true),
            (&["url"][..], QUIET_PERIODS * PERIOD + 1, false),
        ] {
            let mut contest = Contest::default();
            for _ in 0..6 {
                contest.wrote("url", true, 0, PERIOD);
            }
            contest.looked(differing, later, PERIOD);
            assert_eq!(contest == Contest::default(), forgotten, "{differing:?} {later}");
        }
    }

    #[test]
    fn only_what_held_for_this_generation_was_changed_by_somebody_else() {
        let merged = |finding: Finding| conditions::merge(&[], &[finding], Some(2), "t");
        let holds = merged(Finding::holds("Synced", "Synced", ""));
        let fails = merged(Finding::fails("Synced", "Drifted", ""));
        assert!(was_settled(&holds, "Synced", Some(2)));
        assert!(!was_settled(&holds, "Synced", Some(3)), "a new declaration is the user's own change");
        assert!(!was_settled(&fails, "Synced", Some(2)));
        assert!(!was_settled(&[], "Synced", Some(2)));
    }
}
