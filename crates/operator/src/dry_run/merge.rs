//! What becomes of an object in memory: merge patches, declared fields over live ones, pods that are taken to come up.

use serde_json::{Map, Value, json};

/// What an apply would make of an object, without defaults, where the API server may not be asked.
pub(super) fn unjudged(before: Option<&Value>, declared: &Value) -> Value {
    let mut object = before.cloned().unwrap_or_else(|| json!({}));
    overlay(&mut object, declared);
    if object["metadata"]["uid"].is_null() {
        object["metadata"]["uid"] = "not-created".into();
    }
    object
}

/// Lays declared fields over an object; items of lists are found by name.
fn overlay(object: &mut Value, declared: &Value) {
    match (object, declared) {
        (Value::Object(fields), Value::Object(declared)) => {
            for (name, value) in declared.iter().filter(|(_, value)| !value.is_null()) {
                overlay(fields.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(items), Value::Array(declared)) => {
            let old = std::mem::take(items);
            for (index, item) in declared.iter().enumerate() {
                let name = item.get("name").filter(|name| name.is_string());
                let found = match name {
                    Some(name) => old.iter().find(|old| old.get("name") == Some(name)),
                    None => old.get(index).filter(|old| old.is_object() && old.get("name").is_none()),
                };
                let mut merged = found.cloned().unwrap_or_default();
                overlay(&mut merged, item);
                items.push(merged);
            }
        }
        (object, declared) => *object = declared.clone(),
    }
}

/// Pods of a changed Deployment are taken to come up: what follows from it is what people ask a plan for.
pub(super) fn assume_available(before: Option<&Value>, object: &mut Value) {
    let spec = |object: &Value| object["spec"].clone();
    if before.is_some_and(|before| spec(before) == spec(object)) {
        return;
    }
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or(1);
    object["status"] = json!({
        "observedGeneration": object["metadata"]["generation"],
        "replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas,
    });
}

/// A JSON merge patch (RFC 7386).
pub(super) fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Some(fields) = object.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_patches_change_set_and_remove() {
        let mut object = json!({"metadata": {"a": 1, "b": {"c": 2}}, "l": [1]});
        merge(&mut object, &json!({"metadata": {"a": null, "b": {"d": 3}}, "l": [2], "n": {"x": null, "y": 1}}));
        assert_eq!(object, json!({"metadata": {"b": {"c": 2, "d": 3}}, "l": [2], "n": {"y": 1}}));
    }

    #[test]
    fn declared_fields_are_laid_over_what_is_there() {
        let live =
            json!({"spec": {"replicas": 1, "c": [{"name": "x", "image": "a", "pull": "Always"}], "args": ["a", "b"]}});
        let declared =
            json!({"spec": {"replicas": 2, "c": [{"name": "x", "image": "b"}], "args": ["c"], "none": null}});
        assert_eq!(
            unjudged(Some(&live), &declared)["spec"],
            json!({"replicas": 2, "c": [{"name": "x", "image": "b", "pull": "Always"}], "args": ["c"]})
        );
    }

    #[test]
    fn only_pods_that_change_are_taken_to_come_up() {
        let live = json!({"metadata": {"generation": 1}, "spec": {"replicas": 2}, "status": {"availableReplicas": 0}});
        let mut same = live.clone();
        assume_available(Some(&live), &mut same);
        assert_eq!(same["status"]["availableReplicas"], 0);
        let mut changed = json!({"metadata": {"generation": 2}, "spec": {"replicas": 3}, "status": {}});
        assume_available(Some(&live), &mut changed);
        assert_eq!(changed["status"]["availableReplicas"], 3);
    }
}
