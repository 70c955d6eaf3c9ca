//! Conditions of one pass: findings are collected, then merged once into the previous status.
//!
//! The transition time changes only when the status flips, so an unchanged world gives an unchanged status.

use duo_api::condition::{Condition, ConditionStatus, READY, RECONCILING, STALLED};

/// Longest message that the schema admits.
const MAX_MESSAGE: usize = 4096;

/// Who can change a condition that is not True.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// It passes by itself or by another controller's work.
    Time,
    /// A person has to change something; sets `Stalled`.
    Person,
}

/// One condition found in this pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Condition type.
    pub type_: &'static str,
    /// Status.
    pub status: ConditionStatus,
    /// Bounded CamelCase word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// Who can change it.
    pub cure: Cure,
}

impl Finding {
    /// The condition holds.
    pub fn holds(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: ConditionStatus::True, reason, message: message.into(), cure: Cure::Time }
    }

    /// The condition does not hold; time or another controller cures it.
    pub fn fails(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: ConditionStatus::False, reason, message: message.into(), cure: Cure::Time }
    }

    /// What is needed to judge the condition is missing.
    pub fn unknown(type_: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_, status: ConditionStatus::Unknown, reason, message: message.into(), cure: Cure::Time }
    }

    /// Only a person can cure it.
    #[must_use]
    pub fn by_person(mut self) -> Self {
        self.cure = Cure::Person;
        self
    }
}

/// The finding of a type, if there is one.
pub fn find<'a>(findings: &'a [Finding], type_: &str) -> Option<&'a Finding> {
    findings.iter().find(|finding| finding.type_ == type_)
}

/// True when the previous conditions say that `type_` holds for this generation or an earlier one.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    conditions.iter().any(|condition| condition.type_ == type_ && condition.status == ConditionStatus::True)
}

/// The condition of a type.
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Findings of a pass plus what follows from them: `Ready`, and `Reconciling` or `Stalled` while they are True.
///
/// `must_hold` are the types that have to be True, `may_not_fail` those that only must not be False. The first that
/// stands in the way, in this order, gives `Ready` its reason and message; what only a person can cure goes first,
/// else pods that wait for the right URL would hide that it is wrong.
pub fn summarize(mut findings: Vec<Finding>, must_hold: &[&str], may_not_fail: &[&str]) -> Vec<Finding> {
    let failing = must_hold
        .iter()
        .chain(may_not_fail)
        .filter_map(|type_| find(&findings, type_))
        .find(|finding| finding.status == ConditionStatus::False);
    let pending = must_hold.iter().find_map(|type_| match find(&findings, type_) {
        Some(finding) if finding.status == ConditionStatus::True => None,
        Some(finding) => Some(finding.clone()),
        None => Some(Finding::unknown(READY, "NotObserved", format!("{type_} is not known yet"))),
    });
    // A person's cure is named even when another condition stands before it in the order.
    let stalled = must_hold
        .iter()
        .chain(may_not_fail)
        .filter_map(|type_| find(&findings, type_))
        .find(|finding| finding.status != ConditionStatus::True && finding.cure == Cure::Person)
        .filter(|_| failing.is_some() || pending.is_some())
        .cloned();
    let ready = match (&stalled, failing, &pending) {
        (Some(finding), Some(_), _) => Finding { type_: READY, status: ConditionStatus::False, ..finding.clone() },
        (Some(finding), None, _) | (None, Some(finding), _) | (None, None, Some(finding)) => {
            Finding { type_: READY, ..finding.clone() }
        }
        (None, None, None) => Finding::holds(READY, "Ready", ""),
    };
    if ready.status != ConditionStatus::True {
        match stalled {
            Some(finding) => {
                findings.push(Finding { type_: STALLED, status: ConditionStatus::True, ..finding });
            }
            None => findings.push(Finding { type_: RECONCILING, status: ConditionStatus::True, ..ready.clone() }),
        }
    }
    findings.push(ready);
    findings
}

/// Adds the types that this pass could not look at, as Unknown: missing input is Unknown, not silence.
pub fn complete(mut findings: Vec<Finding>, types: &[&'static str]) -> Vec<Finding> {
    let why = match find(&findings, READY) {
        Some(ready) if ready.status != ConditionStatus::True => format!("Not looked at: {}", ready.message),
        _ => "Not looked at".to_owned(),
    };
    for type_ in types {
        if find(&findings, type_).is_none() {
            findings.push(Finding::unknown(type_, "NotObserved", why.clone()));
        }
    }
    findings
}

/// Merges a pass into the previous conditions. `now` is RFC 3339 in whole seconds.
///
/// Types that this pass did not find are dropped; `Ready` stands first, the others in alphabetical order.
pub fn merge(previous: &[Condition], findings: &[Finding], generation: Option<i64>, now: &str) -> Vec<Condition> {
    let mut merged: Vec<Condition> = findings
        .iter()
        .map(|finding| {
            let last_transition_time = get(previous, finding.type_)
                .filter(|old| old.status == finding.status)
                .map_or_else(|| now.into(), |old| old.last_transition_time.clone());
            Condition {
                type_: finding.type_.into(),
                status: finding.status,
                reason: finding.reason.into(),
                message: clip(&finding.message).into(),
                last_transition_time,
                observed_generation: generation,
            }
        })
        .collect();
    merged.sort_by(|a, b| (a.type_ != READY, &a.type_).cmp(&(b.type_ != READY, &b.type_)));
    merged
}

fn clip(message: &str) -> String {
    if message.len() <= MAX_MESSAGE {
        return message.to_owned();
    }
    let end = (0..=MAX_MESSAGE - 4).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    format!("{} …", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "TokenValid";
    const B: &str = "GatewayReachable";

    fn ready(findings: Vec<Finding>) -> (ConditionStatus, &'static str, bool, bool) {
        let all = summarize(findings, &[A], &[B]);
        let ready = find(&all, READY).unwrap();
        (ready.status, ready.reason, find(&all, STALLED).is_some(), find(&all, RECONCILING).is_some())
    }

    #[test]
    fn ready_follows_the_first_condition_that_stands_in_the_way() {
        use ConditionStatus::{False, True, Unknown};
        let cases = [
            (vec![Finding::holds(A, "X", ""), Finding::holds(B, "X", "")], (True, "Ready", false, false)),
            (vec![Finding::holds(A, "X", ""), Finding::unknown(B, "Later", "")], (True, "Ready", false, false)),
            (vec![Finding::holds(A, "X", ""), Finding::fails(B, "Down", "")], (False, "Down", false, true)),
            (vec![Finding::fails(A, "Bad", "").by_person()], (False, "Bad", true, false)),
            (vec![Finding::unknown(A, "Soon", "")], (Unknown, "Soon", false, true)),
            (vec![Finding::unknown(A, "SecretNotFound", "").by_person()], (Unknown, "SecretNotFound", true, false)),
            (vec![Finding::unknown(A, "Soon", ""), Finding::fails(B, "Down", "")], (False, "Down", false, true)),
            (
                vec![Finding::fails(A, "Pods", ""), Finding::fails(B, "Bad", "").by_person()],
                (False, "Bad", true, false),
            ),
            (
                vec![Finding::unknown(A, "NoSecret", "").by_person(), Finding::fails(B, "Pods", "")],
                (False, "NoSecret", true, false),
            ),
            (
                vec![Finding::holds(A, "X", ""), Finding::unknown(B, "Odd", "").by_person()],
                (True, "Ready", false, false),
            ),
            (vec![], (Unknown, "NotObserved", false, true)),
        ];
        for (findings, expected) in cases {
            assert_eq!(ready(findings.clone()), expected, "{findings:?}");
        }
    }

    #[test]
    fn what_was_not_looked_at_is_unknown_and_changes_nothing_else() {
        let pass = summarize(vec![Finding::fails(A, "Bad", "no token").by_person()], &[A, B], &[]);
        let all = complete(pass.clone(), &[A, B]);
        assert_eq!(all[..pass.len()], pass);
        let added = &all[pass.len()..];
        assert_eq!(added, [Finding::unknown(B, "NotObserved", "Not looked at: no token")]);
    }

    #[test]
    fn what_stands_in_the_way_is_told_by_stalled_or_reconciling_and_both_are_true_while_they_are_there() {
        for (finding, type_) in [
            (Finding::unknown(A, "NoSecret", "create it").by_person(), STALLED),
            (Finding::unknown(A, "Soon", "wait"), RECONCILING),
        ] {
            let all = summarize(vec![finding.clone()], &[A], &[]);
            assert_eq!(find(&all, type_), Some(&Finding { type_, status: ConditionStatus::True, ..finding }));
        }
    }

    #[test]
    fn a_ready_object_gives_no_reason_for_what_was_not_looked_at() {
        let all = complete(summarize(vec![Finding::holds(A, "X", "")], &[A], &[]), &[A, B]);
        assert_eq!(find(&all, B).unwrap().message, "Not looked at");
    }

    #[test]
    fn a_condition_holds_only_if_it_is_there_and_true() {
        let merged = merge(&[], &[Finding::holds(A, "X", ""), Finding::fails(B, "Y", "")], None, "t");
        assert_eq!([is_true(&merged, A), is_true(&merged, B), is_true(&merged, READY)], [true, false, false]);
        assert!(!is_true(&[], A));
    }

    #[test]
    fn ready_stands_first_and_the_others_by_name() {
        let types = |order: [&'static str; 3]| {
            let findings: Vec<Finding> = order.into_iter().map(|type_| Finding::holds(type_, "X", "")).collect();
            merge(&[], &findings, None, "t").into_iter().map(|condition| condition.type_).collect::<Vec<_>>()
        };
        for order in [[A, B, READY], [READY, B, A], [B, READY, A]] {
            assert_eq!(types(order), [READY, B, A], "{order:?}");
        }
    }

    #[test]
    fn transition_time_moves_only_on_a_flip() {
        let first = merge(&[], &[Finding::fails(A, "R1", "m")], Some(1), "t1");
        let same = merge(&first, &[Finding::fails(A, "R2", "n")], Some(2), "t2");
        assert_eq!(same[0].last_transition_time, "t1");
        assert_eq!(same[0].reason, "R2");
        let flipped = merge(&same, &[Finding::holds(A, "R3", "n")], Some(2), "t3");
        assert_eq!(flipped[0].last_transition_time, "t3");
    }

    #[test]
    fn long_messages_are_cut_on_a_character() {
        let merged = |message: &str| merge(&[], &[Finding::fails(A, "R", message)], None, "t").remove(0).message;
        for letter in ["ü", "a", "€", "🦀"] {
            let cut = merged(&letter.repeat(5000));
            let whole = letter.repeat((MAX_MESSAGE - 4) / letter.len());
            assert_eq!(cut, format!("{whole} …"), "{letter}");
            assert!(cut.len() <= MAX_MESSAGE);
        }
        let longest = "a".repeat(MAX_MESSAGE);
        assert_eq!([merged(&longest), merged("short"), merged("")], [longest, "short".into(), String::new()]);
    }
}
