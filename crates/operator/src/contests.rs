//! Fights with other writers, remembered for each object while this process runs. The rules are `core::contest`'s.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use duo_core::conditions::Finding;
use duo_core::contest::{self, Contest, Verdict};
use duo_core::plan::Operation;
use duo_runtime::Uid;
use kube::Resource;

use crate::context::Context;

/// What is remembered of one generation of an object.
#[derive(Default)]
struct OfObject {
    generation: Option<i64>,
    /// One for each condition.
    contests: Vec<(&'static str, Contest)>,
    told: Vec<Told>,
}

/// What was put back, in words for people, and the condition that tells it.
struct Told {
    type_: &'static str,
    at: Instant,
    text: String,
}

/// One contest for each condition of each object, begun anew with each generation of it.
#[derive(Default)]
pub(crate) struct Contests(Mutex<HashMap<Uid, OfObject>>);

impl Contests {
    fn with<K: Resource, T>(&self, object: &K, type_: &'static str, ask: impl FnOnce(&mut Contest) -> T) -> T {
        self.with_all(object, |all| {
            let known = all.contests.iter().position(|(of, _)| *of == type_).map(|at| all.contests.swap_remove(at).1);
            let mut contest = known.unwrap_or_default();
            let answer = ask(&mut contest);
            if !contest.is_empty() {
                all.contests.push((type_, contest));
                all.contests.shrink_to_fit();
            }
            answer
        })
    }

    fn with_all<K: Resource, T>(&self, object: &K, ask: impl FnOnce(&mut OfObject) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (uid, generation) = (Uid::of(object), object.meta().generation);
        let known = all.remove(&uid).filter(|known| known.generation == generation);
        let mut of_object = known.unwrap_or(OfObject { generation, ..OfObject::default() });
        let answer = ask(&mut of_object);
        // There are thousands of objects, and most are fought about by nobody.
        if !(of_object.contests.is_empty() && of_object.told.is_empty()) {
            all.insert(uid, of_object);
        }
        answer
    }

    /// Forgets all but these objects.
    pub(crate) fn keep(&self, uids: &HashSet<Uid>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| uids.contains(uid));
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget<K: Resource>(&self, object: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&Uid::of(object));
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
        let told: Vec<(Vec<&str>, String)> =
            operations.iter().map(|operation| (operation.subjects(), operation.to_string())).collect();
        let differing: Vec<(&str, &str)> = told
            .iter()
            .flat_map(|(subjects, would)| subjects.iter().map(|subject| (*subject, would.as_str())))
            .collect();
        self.ctx.contests.with(self.object, self.type_, |contest| contest.looked(&differing, seconds(), self.period()));
    }

    /// The operation without what is contested now.
    pub(crate) fn judge(&self, operation: Operation) -> Option<Operation> {
        let held: Vec<String> = self.ctx.contests.with(self.object, self.type_, |contest| {
            let held = |subject: &&str| contest.judge(subject, seconds()) != Verdict::Write;
            operation.subjects().into_iter().filter(held).map(ToOwned::to_owned).collect()
        });
        let held: Vec<&str> = held.iter().map(String::as_str).collect();
        if held.is_empty() { Some(operation) } else { operation.without(&held) }
    }

    /// Whether writing this would put back what somebody else changed.
    pub(crate) fn is_drift(&self, operation: &Operation) -> bool {
        self.ctx.contests.with(self.object, self.type_, |contest| {
            operation.subjects().iter().any(|subject| contest.is_round(subject, self.was_settled))
        })
    }

    /// Notes that this was written. Whether it is contested by now.
    pub(crate) fn wrote(&self, operation: &Operation) -> bool {
        let would = operation.to_string();
        self.ctx.contests.with(self.object, self.type_, |contest| {
            let mut wrote = |of| contest.wrote(of, &would, self.was_settled, seconds(), self.period());
            operation.subjects().into_iter().fold(false, |contested, of| contested | (wrote(of) != Verdict::Write))
        })
    }

    /// What somebody changed and this pass put back, in words for people.
    pub(crate) fn tell(&self, text: &str) {
        let told = Told { type_: self.type_, at: Instant::now(), text: text.to_owned() };
        self.ctx.contests.with_all(self.object, |all| all.told.push(told));
    }

    /// The finding with what was put back in this period: whoever looks learns it, not only who looks at that moment.
    pub(crate) fn with_told(&self, mut finding: Finding) -> Finding {
        self.ctx.contests.with_all(self.object, |all| {
            all.told.retain(|told| told.at.elapsed() < self.ctx.resync);
            for told in all.told.iter().filter(|told| told.type_ == self.type_) {
                finding.message.push_str("; ");
                finding.message.push_str(&told.text);
            }
        });
        finding
    }

    /// What is said of the object while anything of it is fought about. Asked last: own writes count.
    pub(crate) fn standing(&self) -> Option<Finding> {
        let standing = self.ctx.contests.with(self.object, self.type_, |contest| contest.standing())?;
        let not_before = jiff::Timestamp::from_second(standing.not_before).unwrap_or_default().to_string();
        Some(contest::contested(self.type_, &standing, &not_before, self.period()))
    }
}

fn seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}
