//! Whether a server-side apply would change anything: pure, over the JSON of both objects and `managedFields`.
//!
//! An apply is needed when a declared field is missing or different in the live object, when a declared field is not ours
//! in `managedFields` (somebody else would win the next conflict), or when we own a field that is declared no more (the
//! apply would prune it). Fields of others and defaults are none of our business.
//!
//! Which lists are keyed is not known from JSON; the owned set tells: `k:{…}` entries for keyed lists, `v:…` for sets,
//! nothing below for atomic ones. Inside atomic parts, additional live fields can be defaults or leftovers; a short list
//! of the API server's defaults is known, the rest counts as a difference (an apply settles it, see `apply`'s memo).

use serde_json::{Map, Value};

/// Why an apply is needed: the first field that is found, as a path, and what about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) path: String,
    pub(crate) what: &'static str,
}

/// What an apply of ours decides in a live object: the fields we own and their values.
pub(crate) fn owned_part(live: &Value, manager: &str) -> Value {
    let owned = owned_fields(live, manager).unwrap_or_default();
    let values = project(live, &owned);
    Value::from(vec![Value::Object(owned), values])
}

fn project(live: &Value, owned: &Map<String, Value>) -> Value {
    if owned.keys().all(|k| k == ".") {
        return live.clone();
    }
    let parts = owned.iter().filter(|(k, _)| *k != ".").map(|(entry, fields)| {
        let found = match entry.split_once(':') {
            Some(("f", field)) => live.get(field),
            Some(("k", json)) => {
                let keys = serde_json::from_str(json).ok();
                live.as_array().and_then(|items| items.iter().find(|item| belongs(item, item, keys.as_ref())))
            }
            _ => None,
        };
        let fields = fields.as_object().cloned().unwrap_or_default();
        (entry.clone(), found.map(|value| project(value, &fields)).unwrap_or_default())
    });
    Value::Object(parts.collect())
}

/// Fields the API server sets by default inside atomic parts of the kinds an operator applies.
const ATOMIC_DEFAULTS: &[(&str, &str)] = &[
    ("protocol", "\"TCP\""),
    ("apiVersion", "\"v1\""),
    ("defaultMode", "420"),
    ("expirationSeconds", "3600"),
    ("divisor", "\"0\""),
    ("pathType", "\"ImplementationSpecific\""),
];

/// Compares a declared object ([`declaration`]) with the live one under the field manager `manager`.
pub(crate) fn difference(desired: &Value, live: &Value, manager: &str) -> Option<Difference> {
    let Some(owned) = owned_fields(live, manager) else {
        return Some(Difference { path: String::new(), what: "never applied by this manager" });
    };
    let (Some(desired), Some(live)) = (desired.as_object(), live.as_object()) else {
        return Some(Difference { path: String::new(), what: "not an object" });
    };
    root(desired, live, &owned)
}

/// The set of fields that `manager` owns by apply, out of `metadata.managedFields`.
fn owned_fields(live: &Value, manager: &str) -> Option<Map<String, Value>> {
    let entries = live.pointer("/metadata/managedFields")?.as_array()?;
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let ours = entries.iter().find(|e| {
        text(e, "manager") == manager && text(e, "operation") == "Apply" && text(e, "subresource").is_empty()
    })?;
    ours.get("fieldsV1")?.as_object().cloned()
}

/// A declaration in the form to apply: without status, without empty metadata. An empty map of labels declares nothing, yet
/// the API server would note it as owned, where it cannot be told from an atomic map.
pub(crate) fn declaration(mut object: Value) -> Value {
    if let Some(root) = object.as_object_mut() {
        root.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, value| {
            let server_side = ["uid", "resourceVersion", "managedFields", "creationTimestamp", "generation"];
            !value.is_null() && !is_empty(value) && !server_side.contains(&key.as_str())
        });
    }
    object
}

fn root(desired: &Map<String, Value>, live: &Map<String, Value>, owned: &Map<String, Value>) -> Option<Difference> {
    let mut desired = desired.clone();
    // identity is not tracked in managedFields
    desired.remove("apiVersion");
    desired.remove("kind");
    if let Some(Value::Object(metadata)) = desired.get_mut("metadata") {
        metadata.remove("name");
        metadata.remove("namespace");
        if metadata.is_empty() {
            desired.remove("metadata");
        }
    }
    object(&desired, live, owned, "")
}

fn object(
    desired: &Map<String, Value>,
    live: &Map<String, Value>,
    owned: &Map<String, Value>,
    path: &str,
) -> Option<Difference> {
    for (key, want) in desired.iter().filter(|(_, v)| !v.is_null()) {
        let path = format!("{path}.{key}");
        let Some(have) = live.get(key) else {
            if is_empty(want) {
                // the API server drops empty containers
                continue;
            }
            return Some(Difference { path, what: "missing" });
        };
        let Some(field) = owned.get(&format!("f:{key}")).and_then(Value::as_object) else {
            if is_empty(want) && is_empty(have) {
                continue;
            }
            return Some(Difference { path, what: "not owned" });
        };
        if let Some(found) = value(want, have, field, &path) {
            return Some(found);
        }
    }
    let declared = |field: &str| desired.get(field).is_some_and(|v| !v.is_null());
    let left_over = owned.keys().filter_map(|k| k.strip_prefix("f:")).find(|field| !declared(field))?;
    Some(Difference { path: format!("{path}.{left_over}"), what: "owned but no longer declared" })
}

fn value(want: &Value, have: &Value, owned: &Map<String, Value>, path: &str) -> Option<Difference> {
    let atomic = owned.keys().all(|k| k == ".");
    match (want, have) {
        (Value::Object(want), Value::Object(have)) if !atomic => object(want, have, owned, path),
        (Value::Array(want), Value::Array(have)) if !atomic => list(want, have, owned, path),
        _ => (!same(want, have)).then(|| Difference { path: path.to_owned(), what: "different" }),
    }
}

/// A keyed list or a set.
fn list(want: &[Value], have: &[Value], owned: &Map<String, Value>, path: &str) -> Option<Difference> {
    let different = |what| Some(Difference { path: path.to_owned(), what });
    let mut matched = Vec::new();
    let mut last_position = None;
    for item in want {
        let Some((entry, keys)) = owned_entry(item, owned, &matched) else {
            return different("an item is not owned");
        };
        let Some(position) = have.iter().position(|live| belongs(live, item, keys.as_ref())) else {
            return different("an item is missing");
        };
        if last_position.is_some_and(|last| position < last) {
            return different("items are in another order");
        }
        last_position = Some(position);
        matched.push(entry.clone());
        // items of keyed lists can be atomic themselves (ownerReferences)
        let fields = owned.get(&entry).and_then(Value::as_object).filter(|_| keys.is_some());
        if let (Some(fields), Some(live)) = (fields, have.get(position))
            && let Some(found) = value(item, live, fields, &format!("{path}[{}]", &entry[2..]))
        {
            return Some(found);
        }
    }
    if owned.keys().any(|k| k != "." && !matched.contains(k)) {
        return different("an owned item is no longer declared");
    }
    None
}

/// The entry of the owned set that stands for a declared item: `v:<json>` of a set, or `k:<json of its keys>`.
/// A key that the item leaves out is one with a default (a port's protocol); items that state it are preferred.
fn owned_entry(
    item: &Value,
    owned: &Map<String, Value>,
    taken: &[String],
) -> Option<(String, Option<Map<String, Value>>)> {
    let mut with_default = None;
    for entry in owned.keys().filter(|k| !taken.contains(k)) {
        if let Some(json) = entry.strip_prefix("v:") {
            if serde_json::from_str::<Value>(json).is_ok_and(|v| same(item, &v)) {
                return Some((entry.clone(), None));
            }
        } else if let Some(json) = entry.strip_prefix("k:") {
            let Ok(Value::Object(keys)) = serde_json::from_str(json) else { continue };
            if keys.iter().all(|(k, v)| item.get(k) == Some(v)) {
                return Some((entry.clone(), Some(keys)));
            }
            if keys.iter().all(|(k, v)| item.get(k).is_none_or(|i| i == v)) && with_default.is_none() {
                with_default = Some((entry.clone(), Some(keys)));
            }
        }
    }
    with_default
}

fn belongs(live: &Value, item: &Value, keys: Option<&Map<String, Value>>) -> bool {
    match keys {
        Some(keys) => keys.iter().all(|(k, v)| live.get(k) == Some(v)),
        None => same(item, live),
    }
}

/// Equality inside atomic parts: declared fields are equal, additional ones are known defaults.
fn same(want: &Value, have: &Value) -> bool {
    match (want, have) {
        (Value::Object(want), Value::Object(have)) => {
            let declared = |key: &str| want.get(key).is_some_and(|v| !v.is_null());
            want.iter().filter(|(_, v)| !v.is_null()).all(|(key, want)| match have.get(key) {
                Some(have) => same(want, have),
                None => is_empty(want),
            }) && have.iter().filter(|(key, _)| !declared(key)).all(|(key, have)| is_default(key, have))
        }
        (Value::Array(want), Value::Array(have)) => {
            want.len() == have.len() && want.iter().zip(have).all(|(w, h)| same(w, h))
        }
        (Value::Number(want), Value::Number(have)) => want.as_f64() == have.as_f64(),
        _ => want == have,
    }
}

fn is_default(key: &str, value: &Value) -> bool {
    let text = value.to_string();
    ATOMIC_DEFAULTS.iter().any(|(k, v)| *k == key && *v == text)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
