//! What people see of a pass: status, events, log lines.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use duo_api::condition::{Condition, ConditionStatus, READY, RECONCILING, STALLED};
use duo_core::conditions::{self, Finding};
use duo_runtime::events::{Notice, Publisher, Severity};
use duo_runtime::status;
use kube::core::object::HasStatus;
use kube::{Api, Resource, ResourceExt};
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Next};
use crate::grace::Grace;
use crate::own_writes::OwnWrites;

/// How far something is goes into its status so often at most.
const IN_PASSING: Duration = Duration::from_secs(3);

/// Something that happened, for people.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    severity: Severity,
    reason: &'static str,
    message: String,
}

impl Event {
    /// Something was done.
    pub(crate) fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Normal, reason, message: message.into() }
    }

    /// Somebody should look at it.
    pub(crate) fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, reason, message: message.into() }
    }

    /// What happened.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

/// Writes statuses and publishes events.
pub(crate) struct Reporter {
    publisher: Publisher,
    own: OwnWrites,
    left_behind: Counter,
    /// For what tells only how far something is.
    passing: Grace,
}

/// What a pass found out about an object.
pub(crate) struct Report<'a, S> {
    /// The conditions of before.
    pub before: &'a [Condition],
    /// What the new ones come from.
    pub findings: &'a [Finding],
    /// The new status.
    pub status: &'a S,
    /// What was done.
    pub events: &'a [Event],
}

impl Reporter {
    pub(crate) fn new(publisher: Publisher, own: OwnWrites, metrics: &duo_runtime::metrics::Metrics) -> Self {
        let left_behind = Counter::default();
        metrics.register(
            "left_behind",
            "Objects that a deletion left in GitLab because it could not be reached or was told to let go",
            left_behind.clone(),
        );
        Self { publisher, own, left_behind, passing: Grace::new(IN_PASSING) }
    }

    /// Publishes one event.
    pub(crate) async fn event<K: Resource<DynamicType = ()>>(&self, about: &K, event: &Event) {
        let notice = Notice {
            severity: event.severity,
            reason: event.reason.to_owned(),
            action: "Reconcile".to_owned(),
            message: event.message.clone(),
        };
        self.publisher.publish(&about.object_ref(&()), notice).await;
    }

    /// Publishes what was done, writes the status where it differs, and tells the edges as events. A change that tells only
    /// how far something is waits some seconds for others; then the answer says when to come back.
    pub(crate) async fn write<K>(&self, api: &Api<K>, live: &K, report: &Report<'_, K::Status>) -> Result<Next, Error>
    where
        K: Resource<DynamicType = ()>
            + HasStatus<Status: Serialize>
            + DeserializeOwned
            + Clone
            + Debug
            + Send
            + Sync
            + 'static,
    {
        let Report { before, findings, status, events } = *report;
        for event in events {
            self.event(live, event).await;
        }
        let Some(change) = status::Change::between(live.status(), status)? else { return Ok(Next::OnChange) };
        let leaves = live.meta().deletion_timestamp.is_some();
        if change.is_in_passing()
            && !leaves
            && events.is_empty()
            && let Some(wait) = self.passing.left(live, Instant::now())
        {
            return Ok(Next::After(wait));
        }
        match change.write(api, live).await {
            Ok(written) => self.own.note(live.meta().resource_version.as_deref(), &written),
            Err(error) if error.is_not_found() => return Ok(Next::OnChange),
            Err(error) => return Err(error.into()),
        }
        self.own.speaks(live);
        self.passing.end(live);
        // Who was told that it was made need not be told that it is there.
        let made = events.iter().any(|event| event.severity == Severity::Normal);
        for finding in edges(before, findings) {
            let holds = finding.status == ConditionStatus::True;
            let severity = if holds { Severity::Normal } else { Severity::Warning };
            let message = format!("{}: {}", finding.type_, finding.message);
            tracing::info!(
                kind = %K::kind(&()),
                namespace = live.namespace().unwrap_or_default(),
                name = live.name_any(),
                condition = finding.type_,
                status = ?finding.status,
                reason = finding.reason,
                message = finding.message,
                "condition changed"
            );
            if !(made && holds && finding.type_ == READY) {
                self.event(live, &Event { severity, reason: finding.reason, message }).await;
            }
        }
        Ok(Next::OnChange)
    }

    /// Tells what a deletion leaves in GitLab.
    pub(crate) async fn left_behind<K: Resource<DynamicType = ()>>(&self, about: &K, what: &str, why: &str) {
        self.left_behind.inc();
        tracing::warn!(
            kind = %K::kind(&()),
            namespace = about.namespace().unwrap_or_default(),
            name = about.name_any(),
            left = what,
            why,
            "let go of something in GitLab"
        );
        self.event(about, &Event::warning("LeftBehind", format!("{what} stays in GitLab: {why}"))).await;
    }
}

/// Conditions that turned True or False. Unknown is on the way somewhere, and `Reconciling` and `Stalled` repeat others.
fn edges<'a>(before: &[Condition], findings: &'a [Finding]) -> Vec<&'a Finding> {
    let mut told: Vec<&Finding> = findings
        .iter()
        .filter(|finding| {
            ![RECONCILING, STALLED].contains(&finding.type_) && finding.status != ConditionStatus::Unknown
        })
        .filter(|finding| {
            let old = conditions::get(before, finding.type_);
            let changed = old.is_none_or(|old| {
                // Another drift than the one that was told is news.
                let drift = finding.reason == "Drifted" && old.message != finding.message;
                old.status != finding.status || old.reason != finding.reason || drift
            });
            // While an object comes up, what holds and what does not hold yet is no news, only whether it is Ready.
            let first = old.is_none_or(|old| old.status == ConditionStatus::Unknown);
            let worth = !first || finding.type_ == READY;
            changed && worth
        })
        .collect();
    // Ready repeats the condition that stands in its way.
    let repeats = |ready: &Finding| {
        let same = |other: &&&Finding| {
            other.type_ != READY && (other.reason, &other.message) == (ready.reason, &ready.message)
        };
        ready.type_ == READY && told.iter().find(same).is_some()
    };
    let repeated = told.iter().position(|finding| repeats(finding));
    if let Some(at) = repeated {
        told.remove(at);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_edges_are_told() {
        let holds = Finding::holds("TokenValid", "TokenValid", "");
        let fails = Finding::fails("TokenValid", "TokenInvalid", "");
        let merged = |finding: &Finding| conditions::merge(&[], std::slice::from_ref(finding), None, "t");
        assert_eq!(edges(&[], std::slice::from_ref(&holds)).len(), 0);
        assert_eq!(edges(&[], &[Finding { type_: READY, ..holds.clone() }]).len(), 1);
        assert_eq!(edges(&merged(&fails), std::slice::from_ref(&holds)).len(), 1);
        assert_eq!(edges(&merged(&holds), std::slice::from_ref(&holds)).len(), 0);
        assert_eq!(edges(&merged(&holds), std::slice::from_ref(&fails)).len(), 1);
        assert_eq!(edges(&[], std::slice::from_ref(&fails)).len(), 0);
        assert_eq!(edges(&[], &[Finding::unknown("TokenValid", "X", "")]).len(), 0);
        let drifted = |text| Finding::fails("Synced", "Drifted", text);
        assert_eq!(edges(&merged(&drifted("a")), &[drifted("a")]).len(), 0);
        assert_eq!(edges(&merged(&drifted("a")), &[drifted("b")]).len(), 1, "another drift");
        let ready = |finding: Finding| Finding { type_: READY, ..finding };
        let both = [ready(drifted("b")), drifted("b")];
        assert_eq!(edges(&merged(&drifted("a")), &both).iter().map(|f| f.type_).collect::<Vec<_>>(), ["Synced"]);
        let stalled = Finding { type_: STALLED, status: ConditionStatus::True, ..fails };
        assert_eq!(edges(&[], &[stalled]).len(), 0);
    }
}
