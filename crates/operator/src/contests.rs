//! Fights with other writers, remembered for each object while this process runs. The rules are `core::contest`'s.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use duo_core::conditions::Finding;
use duo_core::contest::{self, Contest, Verdict};
use duo_core::plan::Operation;
use kube::{Resource, ResourceExt};

use crate::context::Context;

/// One contest for each object, begun anew with each generation of it.
#[derive(Default)]
pub(crate) struct Contests(Mutex<HashMap<String, (Option<i64>, Contest)>>);

impl Contests {
    fn with<K: Resource, T>(&self, object: &K, ask: impl FnOnce(&mut Contest) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = object.meta().generation;
        let entry = all.entry(object.uid().unwrap_or_default()).or_default();
        if entry.0 != generation {
            *entry = (generation, Contest::default());
        }
        ask(&mut entry.1)
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget<K: Resource>(&self, object: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&object.uid().unwrap_or_default());
    }
}

/// One object's side of the fights.
pub(crate) struct Fights<'a, K> {
    ctx: &'a Context,
    object: &'a K,
    type_: &'static str,
    was_settled: bool,
}

impl<'a, K: Resource> Fights<'a, K> {
    /// `type_`: the condition that says whether the object is as declared, `before` the conditions of the last pass.
    pub(crate) fn new(ctx: &'a Context, object: &'a K, type_: &'static str, before: &[duo_api::Condition]) -> Self {
        let was_settled = contest::was_settled(before, type_, object.meta().generation);
        Self { ctx, object, type_, was_settled }
    }

    fn period(&self) -> i64 {
        i64::try_from(self.ctx.resync.as_secs()).unwrap_or(i64::MAX)
    }

    /// Notes what this look found to differ.
    pub(crate) fn looked(&self, operations: &[Operation]) {
        let differing: Vec<&str> = operations.iter().flat_map(Operation::subjects).collect();
        self.ctx.contests.with(self.object, |contest| contest.looked(&differing, seconds(), self.period()));
    }

    /// The operation without what is contested now, and what is said of that.
    pub(crate) fn judge(&self, operation: Operation) -> (Option<Operation>, Option<Finding>) {
        let held: Vec<(String, u32, i64)> = self.ctx.contests.with(self.object, |contest| {
            operation
                .subjects()
                .into_iter()
                .filter_map(|subject| match contest.judge(subject, seconds()) {
                    Verdict::Write => None,
                    Verdict::Hold(rounds, until) => Some((subject.to_owned(), rounds, until)),
                })
                .collect()
        });
        let finding = held.first().map(|(_, rounds, until)| self.contested(&operation, *rounds, *until));
        let subjects: Vec<&str> = held.iter().map(|(subject, ..)| subject.as_str()).collect();
        if subjects.is_empty() { (Some(operation), None) } else { (operation.without(&subjects), finding) }
    }

    /// Whether writing this would put back what somebody else changed.
    pub(crate) fn is_drift(&self, operation: &Operation) -> bool {
        self.ctx.contests.with(self.object, |contest| {
            operation.subjects().iter().any(|subject| contest.is_round(subject, self.was_settled))
        })
    }

    /// Notes that this was written; what is said of it if it is contested by now.
    pub(crate) fn wrote(&self, operation: &Operation) -> Option<Finding> {
        let verdicts: Vec<Verdict> = self.ctx.contests.with(self.object, |contest| {
            let subjects = operation.subjects();
            subjects.iter().map(|of| contest.wrote(of, self.was_settled, seconds(), self.period())).collect()
        });
        verdicts.into_iter().find_map(|verdict| match verdict {
            Verdict::Write => None,
            Verdict::Hold(rounds, until) => Some(self.contested(operation, rounds, until)),
        })
    }

    fn contested(&self, operation: &Operation, rounds: u32, until: i64) -> Finding {
        let until = jiff::Timestamp::from_second(until).unwrap_or_default().to_string();
        contest::contested(self.type_, &operation.to_string(), rounds, &until)
    }
}

fn seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}
