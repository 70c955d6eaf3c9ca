//! Which fields of a Kubernetes object change, as paths that a person reads in a dry run.
//!
//! Knows no kinds but Secret: its values are never shown, here or by whoever prints the result.

use serde_json::{Map, Value};

/// Longest value that is shown; the rest is cut.
const MOST_SHOWN: usize = 100;
/// Fields that the API server keeps for itself; none of them is a change that anybody asked for.
const SERVER_SIDE: [&str; 7] =
    ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink", "ownerReferences"];
/// Names by which items of a list are told apart, in the order in which they are tried.
const KEYS: [&str; 6] = ["name", "type", "containerPort", "port", "mountPath", "topologyKey"];

/// One field that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Such as `spec.template.spec.containers[gateway].image`.
    pub path: String,
    /// The value of before as one short line; `None`: there was none.
    pub from: Option<String>,
    /// The value of after; `None`: it goes.
    pub to: Option<String>,
}

/// The fields in which two versions of an object differ, without `status` and what the API server keeps. Of a Secret only
/// the names of its keys are told. Texts that hold YAML on both sides are compared field by field.
pub fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let kind = |value: &Value| value.get("kind").and_then(Value::as_str).map(ToOwned::to_owned);
    let secret = [kind(before), kind(after)].into_iter().flatten().any(|kind| kind == "Secret");
    let mut found = Found { secret, changes: Vec::new() };
    let (before, after) = (declared(before), declared(after));
    let names = keys(&before, &after);
    for name in names {
        found.compare(&name, before.get(&name), after.get(&name));
    }
    found.changes
}

/// An object without what nobody declares.
fn declared(object: &Value) -> Map<String, Value> {
    let mut fields = object.as_object().cloned().unwrap_or_default();
    for name in ["status", "kind", "apiVersion"] {
        fields.remove(name);
    }
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !SERVER_SIDE.contains(&name.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    fields
}

fn keys(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<String> {
    let mut names: Vec<String> = before.keys().cloned().collect();
    names.extend(after.keys().filter(|name| !before.contains_key(*name)).cloned());
    names
}

struct Found {
    secret: bool,
    changes: Vec<Change>,
}

impl Found {
    fn compare(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        match (before.filter(|value| !nothing(value)), after.filter(|value| !nothing(value))) {
            (None, None) => {}
            (Some(Value::Object(before)), Some(Value::Object(after))) => {
                for name in keys(before, after) {
                    self.compare(&under(path, &name), before.get(&name), after.get(&name));
                }
            }
            (Some(Value::Array(before)), Some(Value::Array(after))) => self.lists(path, before, after),
            (Some(before), Some(after)) if before == after => {}
            (Some(Value::String(before)), Some(Value::String(after))) if !self.secret => {
                match (document(before), document(after)) {
                    (Some(before), Some(after)) if before != after => {
                        for name in keys(&before, &after) {
                            self.compare(&format!("{path}: {name}"), before.get(&name), after.get(&name));
                        }
                    }
                    _ => self.tell(path, Some(&Value::from(before.as_str())), Some(&Value::from(after.as_str()))),
                }
            }
            // what comes or goes as a whole is told by its leaves, so that each line can be read by itself
            (None, Some(Value::Object(after))) => {
                for (name, value) in after {
                    self.compare(&under(path, name), None, Some(value));
                }
            }
            (Some(Value::Object(before)), None) => {
                for (name, value) in before {
                    self.compare(&under(path, name), Some(value), None);
                }
            }
            (before, after) => self.tell(path, before, after),
        }
    }

    /// Items with names of their own are compared by name, others by place.
    fn lists(&mut self, path: &str, before: &[Value], after: &[Value]) {
        let by = KEYS.into_iter().find(|key| {
            let distinct = |items: &[Value]| {
                let names: Vec<String> = items.iter().filter_map(|item| name_of(item, key)).collect();
                let mut sorted = names.clone();
                sorted.sort();
                sorted.dedup();
                names.len() == items.len() && sorted.len() == names.len()
            };
            distinct(before) && distinct(after)
        });
        let Some(key) = by else {
            for index in 0..before.len().max(after.len()) {
                self.compare(&format!("{path}[{index}]"), before.get(index), after.get(index));
            }
            return;
        };
        let find = |items: &[Value], name: &str| {
            items.iter().find(|item| name_of(item, key).as_deref() == Some(name)).cloned()
        };
        let mut names: Vec<String> = before.iter().chain(after).filter_map(|item| name_of(item, key)).collect();
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        for name in names {
            let (before, after) = (find(before, &name), find(after, &name));
            self.compare(&format!("{path}[{name}]"), before.as_ref(), after.as_ref());
        }
    }

    fn tell(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        let hidden = self.secret && (path.starts_with("data") || path.starts_with("stringData"));
        let show = |value: &Value| if hidden { "(hidden)".to_owned() } else { shown(value) };
        self.changes.push(Change { path: path.to_owned(), from: before.map(show), to: after.map(show) });
    }
}

/// What the API server does not keep apart from a field that is not there.
fn nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn name_of(item: &Value, key: &str) -> Option<String> {
    match item.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A text of several lines that is a YAML mapping.
fn document(text: &str) -> Option<Map<String, Value>> {
    if !text.trim_end().contains('\n') {
        return None;
    }
    serde_yaml_ng::from_str(text).ok()
}

fn under(path: &str, name: &str) -> String {
    let plain =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if plain { format!("{path}.{name}") } else { format!("{path}[{name:?}]") }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MOST_SHOWN {
        return line;
    }
    format!("{}…", line.chars().take(MOST_SHOWN).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(before: Value, after: Value) -> Vec<String> {
        changes(&before, &after)
            .into_iter()
            .map(|change| {
                let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
                format!("{}: {} → {}", change.path, text(change.from), text(change.to))
            })
            .collect()
    }

    #[test]
    fn each_kind_of_difference_has_its_path() {
        let cases = [
            (json!({"spec": {"a": 1}}), json!({"spec": {"a": 2}}), vec!["spec.a: 1 → 2"]),
            (json!({"spec": {"a": 1}}), json!({"spec": {}}), vec!["spec.a: 1 → -"]),
            (json!({}), json!({"spec": {"a": {"b": true}}}), vec!["spec.a.b: - → true"]),
            (json!({"spec": {"a": {"b": true}}}), json!({}), vec!["spec.a.b: true → -"]),
            (json!({"spec": {"a": {}}}), json!({"spec": {"b": null, "c": []}}), vec![]),
            (
                json!({"spec": {"containers": [{"name": "x", "image": "a"}, {"name": "y"}]}}),
                json!({"spec": {"containers": [{"name": "y"}, {"name": "x", "image": "b"}]}}),
                vec!["spec.containers[x].image: a → b"],
            ),
            (
                json!({"spec": {"ports": [{"port": 1, "to": 2}]}}),
                json!({"spec": {"ports": [{"port": 1, "to": 3}, {"port": 9}]}}),
                vec!["spec.ports[1].to: 2 → 3", "spec.ports[9].port: - → 9"],
            ),
            (
                json!({"spec": {"args": ["a", "b"]}}),
                json!({"spec": {"args": ["a", "c", "d"]}}),
                vec!["spec.args[1]: b → c", "spec.args[2]: - → d"],
            ),
            (
                json!({"spec": {"l": [{"name": "x"}, {"name": "x"}]}}),
                json!({"spec": {"l": [{"name": "x"}, {"name": "z"}]}}),
                vec!["spec.l[1].name: x → z"],
            ),
            (
                json!({"metadata": {"annotations": {"a.b/c": "1"}}}),
                json!({"metadata": {"annotations": {"a.b/c": "2"}}}),
                vec!["metadata.annotations[\"a.b/c\"]: 1 → 2"],
            ),
            (json!({"spec": {"a": "x"}}), json!({"spec": {"a": ["x"]}}), vec!["spec.a: x → [\"x\"]"]),
            (json!({"spec": {"a": "x"}}), json!({"spec": {"a": {}}}), vec!["spec.a: x → -"]),
            (json!({"spec": {"a-b": 1, "a_b": 1}}), json!({}), vec!["spec.a-b: 1 → -", "spec.a_b: 1 → -"]),
        ];
        for (before, after, expected) in cases {
            assert_eq!(told(before.clone(), after.clone()), expected, "{before} {after}");
        }
    }

    #[test]
    fn what_the_api_server_keeps_for_itself_is_no_change() {
        let with = |version: i64| {
            json!({"apiVersion": "v1", "kind": "Service", "status": {"a": version}, "metadata": {
                "name": "x", "uid": version, "resourceVersion": version, "generation": version, "managedFields": [version],
                "creationTimestamp": version,
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": version}}})
        };
        assert!(changes(&with(1), &with(2)).is_empty());
    }

    #[test]
    fn a_mounted_configuration_is_compared_field_by_field() {
        let config =
            |models: &str| json!({"kind": "ConfigMap", "data": {"gateway.yaml": format!("a: 1\nmodels:\n{models}")}});
        assert_eq!(
            told(config("- name: x\n  weight: 1\n"), config("- name: x\n  weight: 2\n- name: y\n")),
            ["data[\"gateway.yaml\"]: models[x].weight: 1 → 2", "data[\"gateway.yaml\"]: models[y].name: - → y"]
        );
        // another text with the same fields is a change all the same: pods are rolled for it
        assert_eq!(
            told(config("- name: x # one\n"), config("- name: x # two\n")),
            ["data[\"gateway.yaml\"]: a: 1 models: - name: x # one → a: 1 models: - name: x # two"]
        );
        let text = |text: &str| json!({"kind": "ConfigMap", "data": {"ca": text}});
        assert_eq!(told(text("one\ntwo"), text("one\nthree")), ["data.ca: one two → one three"]);
    }

    #[test]
    fn a_secrets_values_are_never_shown() {
        let secret =
            |value: &str| json!({"kind": "Secret", "type": "Opaque", "data": {"token": value, "same": "s3cret"}});
        assert_eq!(told(secret("aGVsbG8="), secret("d29ybGQ=")), ["data.token: (hidden) → (hidden)"]);
        let made = told(Value::Null, secret("aGVsbG8="));
        assert!(!made.concat().contains("aGVsbG8") && !made.concat().contains("s3cret"), "{made:?}");
        assert!(made.contains(&"data.token: - → (hidden)".to_owned()), "{made:?}");
        let yaml = |value: &str| json!({"kind": "Secret", "stringData": {"file": format!("a: {value}\nb: 1\n")}});
        assert_eq!(told(yaml("hush"), yaml("hush2")), ["stringData.file: (hidden) → (hidden)"]);
    }

    #[test]
    fn long_values_are_cut() {
        let told = told(json!({"spec": {"a": "é".repeat(500)}}), json!({"spec": {"a": "b\nc"}}));
        assert_eq!(told, [format!("spec.a: {}… → b c", "é".repeat(MOST_SHOWN))]);
    }
}
