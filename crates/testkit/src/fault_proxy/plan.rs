//! Counts, armed faults, and the journal of calls. No I/O.

use std::collections::HashMap;

use super::answers::Answer;
use super::{Fault, Named};

/// One call or watch event.
#[derive(Clone, Debug)]
pub struct Call {
    /// What was called; for an event `event TYPE RESOURCE`.
    pub named: Named,
    /// Its number among those of its name, from 1.
    pub nth: u32,
    /// Whether it is a watch event.
    pub event: bool,
    /// The fault that was played.
    pub fault: Option<Fault>,
    /// HTTP status of the upstream's or the fault's answer; none before it and after a cut.
    pub status: Option<u16>,
}

/// Different answers to one question that are kept, the newest last.
const ANSWERS: usize = 2;
/// Questions whose answers are kept; more are not remembered.
const QUESTIONS: usize = 500;

/// See the module.
#[derive(Default)]
pub(super) struct Plan {
    counts: HashMap<String, u32>,
    armed: HashMap<(String, u32), Fault>,
    calls: Vec<Call>,
    /// Calls of before the last `begin`.
    before: u64,
    answers: HashMap<String, Vec<Answer>>,
}

impl Plan {
    pub(super) fn begin(&mut self) {
        self.before += self.calls.len() as u64;
        self.counts.clear();
        self.armed.clear();
        self.calls.clear();
    }

    pub(super) fn forget_answers(&mut self) {
        self.answers.clear();
    }

    pub(super) fn arm(&mut self, name: &str, nth: u32, fault: Fault) {
        self.armed.insert((name.to_owned(), nth), fault);
    }

    pub(super) fn armed(&self) -> usize {
        self.armed.len()
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.clone()
    }

    pub(super) fn mark(&self) -> u64 {
        self.before + self.calls.len() as u64
    }

    pub(super) fn writes_since(&self, mark: u64) -> Vec<String> {
        let from = usize::try_from(mark.saturating_sub(self.before)).unwrap_or(usize::MAX);
        let calls = self.calls.iter().skip(from);
        calls.filter(|call| call.named.write).map(|call| format!("{} #{}", call.named.name, call.nth)).collect()
    }

    /// Takes note of a call or event; its mark and the fault that meets it.
    pub(super) fn meet(&mut self, named: Named, event: bool) -> (u64, Option<Fault>) {
        let count = self.counts.entry(named.name.clone()).or_default();
        *count += 1;
        let nth = *count;
        let key = (named.name.clone(), nth);
        let fault = self.armed.remove(&key);
        self.calls.push(Call { named, nth, event, fault, status: None });
        (self.mark() - 1, fault)
    }

    pub(super) fn amend(&mut self, mark: u64, change: impl FnOnce(&mut Call)) {
        let at = mark.checked_sub(self.before).and_then(|at| usize::try_from(at).ok());
        if let Some(call) = at.and_then(|at| self.calls.get_mut(at)) {
            change(call);
        }
    }

    /// Keeps an answer if it differs from the last one to this question.
    pub(super) fn keep(&mut self, question: &str, answer: &Answer) {
        if self.answers.len() >= QUESTIONS && !self.answers.contains_key(question) {
            return;
        }
        let kept = self.answers.entry(question.to_owned()).or_default();
        if kept.last().is_none_or(|last| last.body != answer.body) {
            kept.push(answer.clone());
            if kept.len() > ANSWERS {
                kept.remove(0);
            }
        }
    }

    /// The newest answer that differs from the present one.
    pub(super) fn stale(&self, question: &str, now: &Answer) -> Option<Answer> {
        self.answers.get(question)?.iter().rev().find(|answer| answer.body != now.body).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Named {
        Named { name: name.to_owned(), write: name.starts_with("patch"), list: true, watch: None }
    }

    #[test]
    fn a_fault_meets_the_call_it_was_armed_for_and_only_once() {
        let mut plan = Plan::default();
        plan.arm("get a", 2, Fault::CutAfter);
        let met: Vec<_> = ["get a", "get b", "get b", "get a", "get a"]
            .map(|name| plan.meet(named(name), false).1)
            .into_iter()
            .collect();
        assert_eq!(met, [None, None, None, Some(Fault::CutAfter), None]);
        assert_eq!(plan.armed(), 0);
        plan.begin();
        plan.arm("get a", 1, Fault::Gone);
        assert_eq!(plan.meet(named("get a"), false).1, Some(Fault::Gone));
    }

    #[test]
    fn marks_outlive_a_new_stretch() {
        let mut plan = Plan::default();
        plan.meet(named("patch a"), false);
        let mark = plan.mark();
        plan.meet(named("patch b"), false);
        assert_eq!(plan.writes_since(mark), ["patch b #1"]);
        plan.begin();
        let mark = plan.mark();
        plan.meet(named("get a"), false);
        let (at, _) = plan.meet(named("patch a"), false);
        plan.amend(at, |call| call.status = Some(200));
        assert_eq!(plan.writes_since(mark), ["patch a #1"]);
        assert_eq!(plan.calls()[1].status, Some(200));
    }

    #[test]
    fn a_stale_answer_is_the_newest_that_differs() {
        let answer = |text: &str| Answer::new(200, "text/plain", text);
        let mut plan = Plan::default();
        assert!(plan.stale("q", &answer("a")).is_none());
        for text in ["a", "a", "b", "b", "c"] {
            plan.keep("q", &answer(text));
        }
        assert_eq!(plan.stale("q", &answer("c")).unwrap().body, "b");
        assert_eq!(plan.stale("q", &answer("d")).unwrap().body, "c");
    }
}
