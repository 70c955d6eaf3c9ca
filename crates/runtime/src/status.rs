//! Writes a status only when it differs, as the smallest merge patch, guarded by the resource version it was computed from.

use std::fmt::Debug;

use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result, call};

/// Brings the status subresource of `live` to `status`. `None` when nothing differs: then nothing is sent.
///
/// Lists of objects with a `type`, `name` or `feature` (conditions, features) are compared without regard to order. A live
/// object that is older than the API server's gives a conflict, which is a reason to come back, not a failure.
pub async fn patch_if_changed<K>(api: &Api<K>, live: &K, status: &impl Serialize) -> Result<Option<K>>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
{
    let name = live.name_any();
    let what = format!("patch status of {} {name}", K::kind(&()));
    let json = |e: serde_json::Error| Error::Object { what: what.clone(), why: e.to_string() };
    let wanted = serde_json::to_value(status).map_err(json)?;
    let current = serde_json::to_value(live).map_err(json)?.get("status").cloned().unwrap_or_default();
    let Some(change) = merge_patch(&current, &wanted) else {
        return Ok(None);
    };
    let mut patch = json!({ "status": change });
    if let Some(version) = live.resource_version() {
        patch["metadata"] = json!({ "resourceVersion": version });
    }
    let patched = call(what.clone(), api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch))).await?;
    Ok(Some(patched))
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
