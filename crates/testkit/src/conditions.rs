//! What the status of every object must obey, whatever its kind: a pure check of an object's JSON, used as an oracle
//! after each step of a test.
//!
//! The rules are those that kstatus (Argo CD, Flux, `kubectl wait`-like tools) and Flux' own condition checks rely on,
//! with two differences: `Ready` may be Unknown beside `Reconciling` or `Stalled` (here missing input is Unknown, Flux
//! wants False: FAIL0003 and 4), and the root `observedGeneration` may move before the work is done (Flux moves it on
//! success only: FAIL0010). Of `github.com/fluxcd/pkg` `runtime/conditions/check`: FAIL0001 and 2 are `summary`; 5 and
//! WARN0001, 3, 4 `polarity`; 6 to 9 and WARN0005 `generations`; WARN0002 needs negative conditions other than these two.

use std::collections::HashSet;

use serde_json::Value;

/// How kstatus reads an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kstatus {
    /// Being deleted.
    Terminating,
    /// Not what is declared yet; tools wait. `Ready=False` alone is this, for ever.
    InProgress,
    /// `Stalled=True`: tools stop waiting and report a failure.
    Failed,
    /// As declared.
    Current,
}

/// How kstatus' generic rules read a custom resource (`github.com/fluxcd/cli-utils` v1.3.0, `pkg/kstatus`).
pub fn kstatus(object: &Value) -> Kstatus {
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return Kstatus::Terminating;
    }
    let generation = object["metadata"]["generation"].as_i64();
    let observed = object["status"]["observedGeneration"].as_i64();
    if observed.is_some() && observed != generation {
        return Kstatus::InProgress;
    }
    let conditions = Conditions::of(object);
    if conditions.is("Reconciling", "True") {
        return Kstatus::InProgress;
    }
    if conditions.is("Stalled", "True") {
        return Kstatus::Failed;
    }
    match conditions.get("Ready").map(|ready| text(ready, "status")) {
        Some("True") => Kstatus::Current,
        Some(_) => Kstatus::InProgress,
        // nothing to go by counts as done, which is why a status must have Ready from the first write on
        None => Kstatus::Current,
    }
}

/// Checks `status.conditions` (and `observedGeneration`) of an object as the API server returns it. Each entry of the
/// answer says which rule is broken and by what; empty is good.
///
/// An object without any status, or with the one that its definition gives to new objects, has not been looked at yet and
/// breaks nothing.
pub fn check_conditions(object: &Value) -> Vec<String> {
    let status = &object["status"];
    let unseen = status["observedGeneration"] == -1 && status["conditions"].as_array().is_none_or(Vec::is_empty);
    if unseen || status.is_null() || status.as_object().is_some_and(serde_json::Map::is_empty) {
        return vec![];
    }
    let conditions = Conditions::of(object);
    let mut broken = Vec::new();
    for check in [shape, summary, polarity, generations] {
        check(object, &conditions, &mut broken);
    }
    broken
}

/// Checks one write of a status against the status before it, both as a watch shows the object. A status is judged by
/// the generation that it speaks of: the spec may have changed while it was being written. `before` is null for an object
/// that is new.
///
/// Beside the rules of [`check_conditions`]: the observed generation never goes back, and `lastTransitionTime` stays
/// while the status of a condition stays and never goes back either.
pub fn check_step(before: &Value, after: &Value) -> Vec<String> {
    if before["status"] == after["status"] {
        return vec![];
    }
    let root = |object: &Value| object["status"]["observedGeneration"].as_i64();
    let mut judged = after.clone();
    if root(after) < after["metadata"]["generation"].as_i64()
        && let Some(observed) = root(after)
    {
        judged["metadata"]["generation"] = observed.into();
    }
    let mut broken = check_conditions(&judged);
    if before["metadata"]["uid"] != after["metadata"]["uid"] {
        return broken;
    }
    // A status that is lost is the one of a new object again.
    if let (Some(was), Some(is)) = (root(before), root(after).filter(|is| *is != -1))
        && is < was
    {
        broken.push(format!("observedGeneration went back from {was} to {is}"));
    }
    let (was, is) = (Conditions::of(before), Conditions::of(after));
    for new in &is.0 {
        let kind = text(new, "type");
        let Some(old) = was.get(kind) else { continue };
        let (then, now) = (text(old, "lastTransitionTime"), text(new, "lastTransitionTime"));
        if old["status"] == new["status"] && then != now {
            broken.push(format!("{kind}: lastTransitionTime moved from {then} to {now}, but the status stayed"));
        }
        // RFC 3339 in UTC and whole seconds sorts as text
        if now < then {
            broken.push(format!("{kind}: lastTransitionTime went back from {then} to {now}"));
        }
    }
    broken
}

struct Conditions<'a>(Vec<&'a Value>);

impl<'a> Conditions<'a> {
    fn of(object: &'a Value) -> Self {
        Self(object["status"]["conditions"].as_array().into_iter().flatten().collect())
    }

    fn get(&self, kind: &str) -> Option<&'a Value> {
        self.0.iter().find(|condition| condition["type"] == kind).copied()
    }

    fn is(&self, kind: &str, status: &str) -> bool {
        self.get(kind).is_some_and(|condition| condition["status"] == status)
    }
}

fn text<'a>(condition: &'a Value, field: &str) -> &'a str {
    condition[field].as_str().unwrap_or_default()
}

/// Each condition by itself, as `metav1.Condition` wants it.
fn shape(_: &Value, conditions: &Conditions<'_>, broken: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for condition in &conditions.0 {
        let kind = text(condition, "type");
        if kind.is_empty() {
            broken.push("a condition has no type".into());
        }
        if !seen.insert(kind) {
            broken.push(format!("{kind} is there twice"));
        }
        let status = text(condition, "status");
        if !matches!(status, "True" | "False" | "Unknown") {
            broken.push(format!("{kind}: status {status:?} is none of True, False, Unknown"));
        }
        let reason = text(condition, "reason");
        if !is_reason(reason) {
            broken.push(format!("{kind}: reason {reason:?} is not one CamelCase word"));
        }
        if status != "True" && text(condition, "message").trim().is_empty() {
            broken.push(format!("{kind}={status}: the message is empty, nobody learns why"));
        }
        let time = text(condition, "lastTransitionTime");
        if !is_time(time) {
            broken.push(format!("{kind}: lastTransitionTime {time:?} is not RFC 3339 in UTC and whole seconds"));
        }
    }
}

/// `Ready` is always there and says what the others lead to.
fn summary(_: &Value, conditions: &Conditions<'_>, broken: &mut Vec<String>) {
    let Some(ready) = conditions.get("Ready") else {
        broken.push("Ready is missing: without it kstatus takes the object for done".into());
        return;
    };
    for kind in ["Reconciling", "Stalled"] {
        if conditions.get(kind).is_some() && ready["status"] == "True" {
            broken.push(format!("Ready is True beside {kind}"));
        }
    }
}

/// `Reconciling` and `Stalled` are abnormal: there while True, gone otherwise, never both.
fn polarity(_: &Value, conditions: &Conditions<'_>, broken: &mut Vec<String>) {
    for kind in ["Reconciling", "Stalled"] {
        if let Some(condition) = conditions.get(kind)
            && condition["status"] != "True"
        {
            broken.push(format!("{kind} is {}: it must be absent unless True", condition["status"]));
        }
    }
    if conditions.get("Reconciling").is_some() && conditions.get("Stalled").is_some() {
        broken.push("Reconciling and Stalled are both there: it cannot go on and be stuck".into());
    }
}

/// Nothing claims to speak of a spec that it has not seen.
fn generations(object: &Value, conditions: &Conditions<'_>, broken: &mut Vec<String>) {
    let Some(generation) = object["metadata"]["generation"].as_i64() else { return };
    let root = object["status"]["observedGeneration"].as_i64();
    let ready = conditions.is("Ready", "True");
    if let Some(root) = root {
        if root > generation {
            broken.push(format!("observedGeneration {root} is ahead of the object's generation {generation}"));
        }
        if ready && root != generation {
            broken.push(format!("Ready is True for generation {root}, but the object's is {generation}"));
        }
    } else {
        broken.push("status.observedGeneration is missing".into());
    }
    for condition in &conditions.0 {
        let kind = text(condition, "type");
        match condition["observedGeneration"].as_i64() {
            None | Some(..1) => broken.push(format!("{kind}: observedGeneration is missing")),
            Some(observed) if observed > generation => {
                broken.push(format!("{kind}: observedGeneration {observed} is ahead of generation {generation}"));
            }
            Some(observed) if ready && (observed < generation || root.is_some_and(|root| root != observed)) => {
                broken.push(format!("Ready is True, but {kind} speaks of generation {observed}"));
            }
            Some(_) => {}
        }
    }
}

fn is_reason(reason: &str) -> bool {
    reason.starts_with(|c: char| c.is_ascii_uppercase())
        && reason.len() <= 128
        && reason.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_time(time: &str) -> bool {
    time.len() == "2026-01-01T00:00:00Z".len()
        && time.ends_with('Z')
        && time.parse::<k8s_openapi::jiff::Timestamp>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(kind: &str, status: &str) -> Value {
        json!({
            "type": kind, "status": status, "reason": "Because", "message": "why",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 2,
        })
    }

    fn object(conditions: &[Value]) -> Value {
        json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 2, "conditions": conditions}})
    }

    #[test]
    fn good_statuses_break_nothing_and_read_as_they_should() {
        for (conditions, expected) in [
            (vec![condition("Ready", "True"), condition("Synced", "True")], Kstatus::Current),
            (vec![condition("Ready", "False"), condition("Reconciling", "True")], Kstatus::InProgress),
            (vec![condition("Ready", "Unknown"), condition("Reconciling", "True")], Kstatus::InProgress),
            (vec![condition("Ready", "False"), condition("Stalled", "True")], Kstatus::Failed),
        ] {
            let object = object(&conditions);
            assert_eq!(check_conditions(&object), Vec::<String>::new(), "{conditions:?}");
            assert_eq!(kstatus(&object), expected, "{conditions:?}");
        }
        assert_eq!(check_conditions(&json!({"metadata": {"generation": 1}})), Vec::<String>::new());
    }

    #[test]
    fn ready_false_alone_reads_as_in_progress_for_ever() {
        let object = object(&[condition("Ready", "False")]);
        assert_eq!(kstatus(&object), Kstatus::InProgress);
        assert_eq!(check_conditions(&object), Vec::<String>::new());
    }

    #[test]
    fn each_broken_rule_is_named() {
        let with = |kind: &str, status: &str, field: &str, value: Value| {
            let mut condition = condition(kind, status);
            condition[field] = value;
            condition
        };
        let ready = || condition("Ready", "True");
        let not_ready = || condition("Ready", "False");
        for (conditions, expected) in [
            (vec![condition("Synced", "True")], "Ready is missing"),
            (vec![ready(), ready()], "there twice"),
            (vec![ready(), condition("Reconciling", "True")], "Ready is True beside Reconciling"),
            (vec![ready(), condition("Stalled", "True")], "Ready is True beside Stalled"),
            (vec![not_ready(), condition("Stalled", "False")], "must be absent unless True"),
            (vec![not_ready(), condition("Reconciling", "Unknown")], "must be absent unless True"),
            (
                vec![not_ready(), condition("Stalled", "True"), condition("Reconciling", "True")],
                "Reconciling and Stalled are both there",
            ),
            (vec![with("Ready", "True", "status", json!("yes"))], "none of True, False, Unknown"),
            (vec![with("Ready", "True", "reason", json!("it works"))], "not one CamelCase word"),
            (vec![with("Ready", "True", "reason", json!(""))], "not one CamelCase word"),
            (vec![with("Ready", "False", "message", json!(" "))], "the message is empty"),
            (vec![with("Ready", "True", "lastTransitionTime", json!("2026-01-01T00:00:00.5Z"))], "whole seconds"),
            (vec![with("Ready", "True", "lastTransitionTime", json!("2026-99-99T99:99:99Z"))], "whole seconds"),
            (vec![with("Ready", "True", "observedGeneration", json!(null))], "observedGeneration is missing"),
            (vec![with("Ready", "True", "observedGeneration", json!(3))], "ahead of generation 2"),
            (vec![ready(), with("Synced", "True", "observedGeneration", json!(1))], "Synced speaks of generation 1"),
        ] {
            let broken = check_conditions(&object(&conditions));
            assert!(broken.iter().any(|text| text.contains(expected)), "{expected}: {broken:?}");
        }
    }

    #[test]
    fn a_step_keeps_times_while_statuses_stay() {
        let at = |status: &str, time: &str, observed: i64| {
            let mut object = object(&[condition("Ready", status)]);
            object["status"]["conditions"][0]["lastTransitionTime"] = json!(time);
            object["status"]["conditions"][0]["observedGeneration"] = json!(observed);
            object["status"]["observedGeneration"] = json!(observed);
            object["metadata"]["uid"] = json!("u");
            object
        };
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z");
        let cases = [
            (Value::Null, at("True", early, 2), ""),
            (at("True", early, 2), at("True", early, 2), ""),
            (at("True", early, 2), at("False", late, 2), ""),
            (at("True", early, 1), at("True", late, 2), "the status stayed"),
            (at("True", late, 2), at("False", early, 2), "went back from 2026"),
            (at("False", early, 2), at("True", early, 1), "observedGeneration went back from 2 to 1"),
        ];
        for (before, after, expected) in cases {
            let broken = check_step(&before, &after).join("; ");
            assert!(broken.contains(expected) && broken.is_empty() == expected.is_empty(), "{expected}: {broken}");
        }
        // an answer to the spec of before, written when there was a new one already
        assert_eq!(check_step(&Value::Null, &at("True", early, 1)), Vec::<String>::new());
        assert_eq!(check_step(&Value::Null, &at("True", early, 3)).len(), 3);
    }

    #[test]
    fn a_status_of_an_older_spec_is_not_ready() {
        let mut object = object(&[condition("Ready", "True")]);
        object["metadata"]["generation"] = json!(3);
        let broken = check_conditions(&object);
        assert!(broken.iter().any(|text| text.starts_with("Ready is True for generation 2")), "{broken:?}");
        assert_eq!(kstatus(&object), Kstatus::InProgress);
        object["metadata"]["generation"] = json!(1);
        assert!(check_conditions(&object).iter().any(|text| text.contains("is ahead of the object's generation 1")));
        object["status"].as_object_mut().unwrap().remove("observedGeneration");
        assert!(check_conditions(&object).iter().any(|text| text == "status.observedGeneration is missing"));
    }
}
