//! A fight with another writer: what we put back is changed again, each time. Writing backs off and a person is called;
//! else two controllers would write to one GitLab for ever, and its users would see a setting flap.
//!
//! Knows neither clock nor GitLab: times are given, in seconds; what is fought about is a name that the caller chooses.
//!
//! | what happens | what follows |
//! |---|---|
//! | found changed, up to [`ROUNDS`] times | put back at the next look |
//! | found changed again | contested: put back after 2, 4, 8, 8 … periods |
//! | as declared between two tries | still contested: what was just written says nothing of the other writer |
//! | as declared for [`QUIET_PERIODS`] | over and forgotten: the next change is a first one |

use crate::conditions::{self, Finding};
use duo_api::Interned;
use duo_api::condition::Condition;

/// Times that something is put back before it counts as a fight.
pub const ROUNDS: u32 = 3;
/// The wait between two tries doubles this many times after the first: the other may stop, and nothing tells when.
const DOUBLINGS: u32 = 2;
/// Periods without a change after which a fight is over.
pub const QUIET_PERIODS: i64 = 5;

/// The fights about one declaration: one generation of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contest {
    /// By name, in order: mostly one, and there is a contest for each object that was written.
    subjects: Vec<(Interned, Rounds)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rounds {
    put_back: u32,
    /// When it was written or found changed last.
    last: i64,
    /// When it was written last.
    wrote: i64,
    not_before: i64,
    /// What puts it back, for people; empty until it was put back.
    would: Interned,
}

/// What is fought about now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Times that the one that was put back most was put back.
    pub rounds: u32,
    /// When the next of them is tried.
    pub not_before: i64,
    /// What puts them back, for people.
    pub would: String,
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
    fn rounds(&self, subject: &str) -> Option<&Rounds> {
        self.subjects.iter().find(|(name, _)| name == subject).map(|(_, rounds)| rounds)
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// Whether `subject`, which is not as declared, may be put back at `now`.
    pub fn judge(&self, subject: &str, now: i64) -> Verdict {
        match self.rounds(subject) {
            // A clock that was set back must not keep it waiting for as long.
            Some(rounds) if rounds.contested() && (rounds.wrote..rounds.not_before).contains(&now) => {
                Verdict::Hold(rounds.put_back, rounds.not_before)
            }
            _ => Verdict::Write,
        }
    }

    /// Notes that `subject` was written. `was_settled`: it had been as declared before, so that somebody changed it;
    /// what is written for the first time is no round. `would`: what was written, for people. The verdict on it from now
    /// on.
    pub fn wrote(&mut self, subject: &str, would: &str, was_settled: bool, now: i64, period: i64) -> Verdict {
        let known = self.subjects.binary_search_by(|(name, _)| name.as_str().cmp(subject));
        let at = known.unwrap_or_else(|at| at);
        if known.is_err() {
            self.subjects.insert(at, (subject.into(), Rounds::default()));
        }
        let Some((_, rounds)) = self.subjects.get_mut(at) else { return Verdict::Write };
        if known.is_ok() || was_settled {
            rounds.put_back = rounds.put_back.saturating_add(1);
            rounds.would = would.into();
        }
        (rounds.last, rounds.wrote) = (now, now);
        let beyond = rounds.put_back.saturating_sub(ROUNDS).min(DOUBLINGS);
        rounds.not_before = now.saturating_add(period.max(1).saturating_mul(2 << beyond));
        if rounds.contested() { Verdict::Hold(rounds.put_back, rounds.not_before) } else { Verdict::Write }
    }

    /// Whether writing `subject` now would be putting it back: it was settled, or it was written before.
    pub fn is_round(&self, subject: &str, was_settled: bool) -> bool {
        was_settled || self.rounds(subject).is_some()
    }

    /// Notes a look that found everything as declared but for `differing`: names, and what would put them back. What
    /// has been quiet for long is forgotten.
    pub fn looked(&mut self, differing: &[(&str, &str)], now: i64, period: i64) {
        for (subject, would) in differing {
            if let Some((_, rounds)) = self.subjects.iter_mut().find(|(name, _)| name == subject) {
                rounds.last = now;
                rounds.would = (*would).into();
            }
        }
        let quiet = quiet_seconds(period);
        self.subjects.retain(|(_, rounds)| now.saturating_sub(rounds.last) <= quiet);
    }

    /// What is fought about, whether it is as declared at this moment or not.
    pub fn standing(&self) -> Option<Standing> {
        let fights: Vec<&Rounds> =
            self.subjects.iter().map(|(_, rounds)| rounds).filter(|rounds| rounds.contested()).collect();
        let rounds = fights.iter().map(|fight| fight.put_back).max()?;
        let not_before = fights.iter().map(|fight| fight.not_before).min()?;
        let mut would: Vec<&str> = Vec::new();
        for fight in &fights {
            if !would.contains(&fight.would.as_str()) {
                would.push(&fight.would);
            }
        }
        Some(Standing { rounds, not_before, would: would.join("; ") })
    }
}

impl Rounds {
    fn contested(&self) -> bool {
        self.put_back >= ROUNDS
    }
}

/// How long nothing may change until a fight is over.
pub fn quiet_seconds(period: i64) -> i64 {
    QUIET_PERIODS.saturating_mul(period.max(1))
}

/// The reason of what is fought about.
pub const CONTESTED: &str = "ContestedByAnother";

/// Whether `type_` held for this generation when the status was written, or was fought about: what differs now was
/// changed by somebody else.
pub fn was_settled(before: &[Condition], type_: &str, generation: Option<i64>) -> bool {
    conditions::get(before, type_).is_some_and(|condition| {
        (condition.status == duo_api::ConditionStatus::True || condition.reason == CONTESTED)
            && condition.observed_generation == generation
    })
}

/// The condition of something that is fought about. `not_before`: the next try's time (RFC 3339).
pub fn contested(type_: &'static str, standing: &Standing, not_before: &str, period: i64) -> Finding {
    let Standing { rounds, would, .. } = standing;
    let quiet = quiet_seconds(period);
    Finding::fails(
        type_,
        CONTESTED,
        format!(
            "another writer changes it again each time: put back {rounds} times, would {would}; next try not before \
             {not_before}, over when nobody changes it for {quiet} s. Stop the other writer, or declare what it writes, \
             or set managementPolicy: Observe"
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
            match contest.wrote("url", "", true, now, PERIOD) {
                Verdict::Hold(_, until) => waits.push(until - now),
                Verdict::Write => waits.push(0),
            }
            now += PERIOD;
        }
        assert_eq!(waits, [0, 0, 600, 1200, 2400, 2400, 2400, 2400, 2400]);
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up() {
        let mut contest = Contest::default();
        for _ in 0..3 {
            contest.wrote("url", "", true, 1_000_000, PERIOD);
        }
        let held = Verdict::Hold(3, 1_000_000 + 2 * PERIOD);
        for (now, verdict) in [
            (1_000_000, held),
            (1_000_000 + 2 * PERIOD - 1, held),
            (1_000_000 + 2 * PERIOD, Verdict::Write),
            (999_999, Verdict::Write),
            (5, Verdict::Write),
        ] {
            assert_eq!(contest.judge("url", now), verdict, "{now}");
        }
    }

    #[test]
    fn what_is_written_for_the_first_time_is_no_round() {
        for (was_settled, held_after) in [(false, 4), (true, 3)] {
            let mut contest = Contest::default();
            let writes =
                (1..).take_while(|_| contest.wrote("url", "", was_settled, 0, PERIOD) == Verdict::Write).count();
            assert_eq!(writes + 1, held_after, "{was_settled}");
        }
    }

    #[test]
    fn what_was_settled_or_written_before_is_put_back() {
        let mut contest = Contest::default();
        assert!(contest.is_round("url", true));
        assert!(!contest.is_round("url", false), "written for the first time");
        contest.wrote("url", "set it", false, 0, PERIOD);
        assert!(contest.is_round("url", false) && !contest.is_round("timeout", false));
    }

    #[test]
    fn one_fight_stops_nothing_else() {
        let mut contest = Contest::default();
        for _ in 0..4 {
            contest.wrote("duo_chat", "", true, 0, PERIOD);
        }
        assert!(matches!(contest.judge("duo_chat", 1), Verdict::Hold(4, _)));
        assert_eq!(contest.judge("code_completions", 1), Verdict::Write);
    }

    fn fight(subject: &str) -> Contest {
        let mut contest = Contest::default();
        for _ in 0..ROUNDS {
            contest.wrote(subject, "set it", true, 0, PERIOD);
        }
        contest
    }

    #[test]
    fn a_fight_stands_until_nothing_has_changed_for_a_quiet_time() {
        // at each moment (in periods): whether it was found changed; whether the fight stands then
        for moments in [
            &[(0, false, true), (1, false, true), (5, false, true), (6, false, false)][..],
            &[(1, true, true), (4, true, true), (9, false, true), (10, false, false)],
            &[(4, true, true), (40, true, true), (45, false, true), (46, false, false)],
            &[(6, true, true), (7, false, true), (11, false, true), (12, false, false)],
        ] {
            let mut contest = fight("url");
            for (at, changed, stands) in moments {
                let differing = if *changed { vec![("url", "set it")] } else { Vec::new() };
                contest.looked(&differing, at * PERIOD, PERIOD);
                assert_eq!(contest.standing().is_some(), *stands, "{moments:?} at {at}");
            }
            assert_eq!(contest, Contest::default(), "forgotten");
        }
    }

    #[test]
    fn what_is_told_of_a_fight_stays_the_same_between_two_tries() {
        let mut contest = fight("url");
        let told = contest.standing().unwrap();
        assert_eq!((told.rounds, told.would.as_str()), (ROUNDS, "set it"));
        for now in [1, PERIOD, 2 * PERIOD] {
            contest.looked(&[], now, PERIOD);
            assert_eq!(contest.standing().as_ref(), Some(&told), "as declared at {now}");
            contest.looked(&[("url", "set it")], now, PERIOD);
            assert_eq!(contest.standing().as_ref(), Some(&told), "changed at {now}");
        }
        contest.wrote("url", "set it", true, told.not_before, PERIOD);
        let next = contest.standing().unwrap();
        assert_eq!((next.rounds, next.not_before), (ROUNDS + 1, told.not_before + 4 * PERIOD));
    }

    #[test]
    fn several_fights_of_one_object_are_told_together_and_the_rest_is_none() {
        let mut contest = fight("chat");
        contest.wrote("code", "set code", true, 0, PERIOD);
        assert_eq!(contest.standing().unwrap().would, "set it");
        for _ in 1..5 {
            contest.wrote("code", "set code", true, 9, PERIOD);
        }
        let told = contest.standing().unwrap();
        assert_eq!((told.rounds, told.not_before, told.would.as_str()), (5, 2 * PERIOD, "set it; set code"));
        assert_eq!(Contest::default().standing(), None);
    }

    #[test]
    fn only_what_held_for_this_generation_was_changed_by_somebody_else() {
        let merged = |finding: Finding| conditions::merge(&[], &[finding], Some(2), "t");
        let holds = merged(Finding::holds("Synced", "Synced", ""));
        let fails = merged(Finding::fails("Synced", "Drifted", ""));
        let fought = merged(Finding::fails("Synced", CONTESTED, ""));
        assert!(was_settled(&fought, "Synced", Some(2)));
        assert!(!was_settled(&fought, "Synced", Some(3)));
        assert!(was_settled(&holds, "Synced", Some(2)));
        assert!(!was_settled(&holds, "Synced", Some(3)), "a new declaration is the user's own change");
        assert!(!was_settled(&fails, "Synced", Some(2)));
        assert!(!was_settled(&[], "Synced", Some(2)));
    }
}
