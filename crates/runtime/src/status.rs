//! Writes a status only when it differs, as the smallest merge patch, guarded by the resource version it was computed from;
//! tells changes that can wait from those that cannot.

use std::fmt::Debug;

use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result, call};

/// What turns one status into another.
#[derive(Debug, Clone)]
pub struct Change {
    patch: Value,
    in_passing: bool,
}

impl Change {
    /// `None` when nothing differs. Lists of objects with a `type`, `name` or `feature` (conditions, features) are compared
    /// without regard to order.
    pub fn between(current: Option<&impl Serialize>, wanted: &impl Serialize) -> Result<Option<Self>> {
        let json = |e: serde_json::Error| Error::Object { what: "compare a status".into(), why: e.to_string() };
        let current = current.map(serde_json::to_value).transpose().map_err(json)?.unwrap_or_default();
        let wanted = serde_json::to_value(wanted).map_err(json)?;
        Ok(merge_patch(&current, &wanted).map(|patch| Self { in_passing: is_in_passing(&current, &patch), patch }))
    }

    /// Whether it tells only how far something is: numbers, and the words of what does not hold. Nobody but people who look
    /// needs it, and none of them looks twice a second.
    pub fn is_in_passing(&self) -> bool {
        self.in_passing
    }

    /// Writes it to the status subresource of `live`. A live object that is older than the API server's gives a conflict,
    /// which is a reason to come back, not a failure.
    pub async fn write<K>(self, api: &Api<K>, live: &K) -> Result<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
    {
        let name = live.name_any();
        let mut patch = json!({ "status": self.patch });
        if let Some(version) = live.resource_version() {
            patch["metadata"] = json!({ "resourceVersion": version });
        }
        let what = format!("patch status of {} {name}", K::kind(&()));
        call(what, api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch))).await
    }
}

/// Numbers at the top, and in the conditions messages of what is not True and reasons of what is Unknown.
fn is_in_passing(current: &Value, patch: &Value) -> bool {
    let same_but_words = |now: &Value| {
        let list = current["conditions"].as_array();
        let before = list.into_iter().flatten().find(|before| before["type"] == now["type"]);
        before.is_some_and(|before| {
            let same = |field: &str| before[field] == now[field];
            let words_may_differ = now["status"] != "True";
            let reasons_may_differ = now["status"] == "Unknown";
            same("status")
                && same("observedGeneration")
                && (same("reason") || reasons_may_differ || is_summary(now))
                && (same("message") || words_may_differ || is_summary(now))
        })
    };
    let length = |value: &Value| value.as_array().map(Vec::len);
    let passing = |(key, now): (&String, &Value)| match key.as_str() {
        "conditions" => {
            length(now) == length(&current["conditions"]) && now.as_array().into_iter().flatten().all(same_but_words)
        }
        "observedGeneration" => false,
        _ => now.is_number() && current[key].is_number(),
    };
    current.is_object() && patch.as_object().is_some_and(|patch| patch.iter().all(passing))
}

/// `Reconciling` is True while it repeats the words of what does not hold.
fn is_summary(condition: &Value) -> bool {
    condition["type"] == "Reconciling"
}

/// The JSON merge patch (RFC 7386) that turns `current` into `wanted`; `None` when they mean the same. Null and missing
/// mean the same.
pub(crate) fn merge_patch(current: &Value, wanted: &Value) -> Option<Value> {
    match (current, wanted) {
        (Value::Object(current), Value::Object(wanted)) => {
            let mut patch = Map::new();
            for (key, want) in wanted.iter().filter(|(_, v)| !v.is_null()) {
                match current.get(key).filter(|v| !v.is_null()) {
                    Some(have) => {
                        if let Some(change) = merge_patch(have, want) {
                            patch.insert(key.clone(), change);
                        }
                    }
                    None => {
                        patch.insert(key.clone(), want.clone());
                    }
                }
            }
            let gone = |key: &String| wanted.get(key).is_none_or(Value::is_null);
            for (key, _) in current.iter().filter(|(k, v)| !v.is_null() && gone(k)) {
                patch.insert(key.clone(), Value::Null);
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        (Value::Array(current), Value::Array(wanted)) => {
            (!same_list(current, wanted)).then(|| Value::Array(wanted.clone()))
        }
        (Value::Null, Value::Null) => None,
        _ => (current != wanted).then(|| wanted.clone()),
    }
}

fn same_list(current: &[Value], wanted: &[Value]) -> bool {
    if current.len() != wanted.len() {
        return false;
    }
    let key = |v: &Value| ["type", "feature", "name"].iter().find_map(|k| v.get(k)?.as_str().map(str::to_owned));
    let keys: Option<Vec<String>> = wanted.iter().map(key).collect();
    match keys {
        Some(keys) => wanted.iter().zip(keys).all(|(want, k)| {
            current
                .iter()
                .find(|have| key(have).as_ref() == Some(&k))
                .is_some_and(|have| merge_patch(have, want).is_none())
        }),
        None => current.iter().zip(wanted).all(|(have, want)| merge_patch(have, want).is_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_something_is_can_wait_and_what_became_of_it_cannot() {
        let condition = |type_: &str, status: &str, reason: &str, message: &str| json!({"type": type_, "status": status, "reason": reason, "message": message, "observedGeneration": 1});
        let status = |models: i32, hash: &str, conditions: &[Value]| json!({"observedGeneration": 1, "models": models, "hash": hash, "conditions": conditions});
        let unknown = condition("Ready", "Unknown", "Waiting", "0 of 2");
        let holds = condition("Ready", "True", "Ready", "");
        let before = status(1, "a", &[unknown.clone(), condition("Reconciling", "True", "Waiting", "0 of 2")]);
        for (now, waits) in [
            (status(2, "a", &[unknown.clone(), condition("Reconciling", "True", "Waiting", "0 of 2")]), true),
            (
                status(
                    2,
                    "a",
                    &[condition("Ready", "Unknown", "W", "1 of 2"), condition("Reconciling", "True", "W", "1 of 2")],
                ),
                true,
            ),
            (status(1, "b", &[unknown.clone(), condition("Reconciling", "True", "Waiting", "0 of 2")]), false),
            (status(1, "a", std::slice::from_ref(&holds)), false),
            (status(1, "a", &[unknown.clone(), condition("Stalled", "True", "Waiting", "0 of 2")]), false),
            (
                status(
                    1,
                    "a",
                    &[
                        condition("Ready", "False", "Waiting", "0 of 2"),
                        condition("Reconciling", "True", "Waiting", "0 of 2"),
                    ],
                ),
                false,
            ),
        ] {
            let change = Change::between(Some(&before), &now).unwrap().unwrap();
            assert_eq!(change.is_in_passing(), waits, "{now}");
        }
        let other_words = status(1, "a", &[condition("Ready", "True", "Ready", "verified")]);
        let change = Change::between(Some(&status(1, "a", &[holds])), &other_words).unwrap().unwrap();
        assert!(!change.is_in_passing(), "what holds is told at once");
        let failing = |reason: &str| status(1, "a", &[condition("Synced", "False", reason, "")]);
        let change = Change::between(Some(&failing("Timeout")), &failing("NameTaken")).unwrap().unwrap();
        assert!(!change.is_in_passing(), "so is why something fails");
        assert!(!Change::between(None::<&Value>, &failing("Timeout")).unwrap().unwrap().is_in_passing());
    }

    #[test]
    fn only_differences_are_sent_and_order_of_conditions_is_none() {
        let condition = |t: &str, s: &str| json!({"type": t, "status": s});
        let cases = [
            (json!({"a": 1}), json!({"a": 1}), None),
            (json!({"a": 1}), json!({"a": 1, "b": null}), None),
            (json!({"a": 1, "b": null}), json!({"a": 1}), None),
            (json!(null), json!({"a": 1}), Some(json!({"a": 1}))),
            (json!({"a": 1, "b": 2}), json!({"a": 3}), Some(json!({"a": 3, "b": null}))),
            (json!({"n": {"a": 1, "b": 2}}), json!({"n": {"a": 1, "b": 3}}), Some(json!({"n": {"b": 3}}))),
            (
                json!({"conditions": [condition("A", "True"), condition("B", "False")]}),
                json!({"conditions": [condition("B", "False"), condition("A", "True")]}),
                None,
            ),
            (
                json!({"conditions": [condition("A", "True")]}),
                json!({"conditions": [condition("A", "False")]}),
                Some(json!({"conditions": [condition("A", "False")]})),
            ),
            (json!({"l": ["a", "b"]}), json!({"l": ["b", "a"]}), Some(json!({"l": ["b", "a"]}))),
            (json!({"l": [1]}), json!({"l": [1, 2]}), Some(json!({"l": [1, 2]}))),
        ];
        for (current, wanted, patch) in cases {
            assert_eq!(merge_patch(&current, &wanted), patch, "{current} -> {wanted}");
        }
    }
}
