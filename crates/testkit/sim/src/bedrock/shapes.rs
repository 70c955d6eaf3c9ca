//! Checks a Converse request against the shapes of AWS's own service model, so that a member that Converse does not
//! have, a wrong type or a missing member is refused.
//!
//! `converse-shapes.json` holds the shapes that ConverseRequest and ConverseStreamRequest reach in the service model
//! `bedrock-runtime` 2023-09-30 (Apache-2.0, as shipped with botocore 1.44.5), without documentation and patterns. It
//! must not know what a model makes of a request.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    members: BTreeMap<String, String>,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default)]
    union: bool,
    #[serde(default)]
    document: bool,
    member: Option<String>,
    key: Option<String>,
    value: Option<String>,
    #[serde(default, rename = "enum")]
    values: Vec<String>,
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Structure,
    List,
    Map,
    String,
    Blob,
    Integer,
    Float,
    Boolean,
}

static SHAPES: LazyLock<BTreeMap<String, Shape>> =
    // a file of this crate: a test reads it, so it cannot be wrong here
    LazyLock::new(|| serde_json::from_str(include_str!("converse-shapes.json")).unwrap_or_default());

/// Checks a body against `ConverseRequest` or `ConverseStreamRequest`. The error is AWS's kind of sentence, with the
/// path of the offending member.
pub fn check(shape: &str, body: &Value) -> Result<(), String> {
    let mut problems = Vec::new();
    walk(shape, body, "", &mut problems);
    match problems.len() {
        0 => Ok(()),
        1 => Err(format!("1 validation error detected: {}", problems[0])),
        count => Err(format!("{count} validation errors detected: {}", problems.join("; "))),
    }
}

fn walk(name: &str, value: &Value, path: &str, problems: &mut Vec<String>) {
    let Some(shape) = SHAPES.get(name) else {
        problems.push(format!("shape {name} is not known to the simulator"));
        return;
    };
    if shape.document {
        return;
    }
    let at = if path.is_empty() { "the request" } else { path };
    match (shape.kind, value) {
        (Kind::Structure, Value::Object(members)) => structure(shape, members, path, problems),
        (Kind::List, Value::Array(items)) => {
            bounds(shape, items.len() as f64, at, "length", problems);
            for (index, item) in items.iter().enumerate() {
                walk(shape.member.as_deref().unwrap_or_default(), item, &format!("{path}.{index}"), problems);
            }
        }
        (Kind::Map, Value::Object(entries)) => {
            bounds(shape, entries.len() as f64, at, "length", problems);
            for (key, item) in entries {
                let path = format!("{path}.{key}");
                walk(shape.key.as_deref().unwrap_or_default(), &Value::String(key.clone()), &path, problems);
                walk(shape.value.as_deref().unwrap_or_default(), item, &path, problems);
            }
        }
        (Kind::String, Value::String(text)) => {
            bounds(shape, text.chars().count() as f64, at, "length", problems);
            if !shape.values.is_empty() && !shape.values.contains(text) {
                problems.push(format!(
                    "Value '{text}' at '{at}' failed to satisfy constraint: Member must satisfy enum value set: [{}]",
                    shape.values.join(", ")
                ));
            }
        }
        (Kind::Integer, Value::Number(number)) if number.is_i64() || number.is_u64() => {
            bounds(shape, number.as_f64().unwrap_or_default(), at, "value", problems);
        }
        (Kind::Float, Value::Number(number)) => {
            bounds(shape, number.as_f64().unwrap_or_default(), at, "value", problems);
        }
        (Kind::Blob, Value::String(_)) | (Kind::Boolean, Value::Bool(_)) => {}
        _ => problems.push(format!("Value at '{at}' is of the wrong type: expected {}", shape.kind.words())),
    }
}

fn structure(shape: &Shape, members: &Map<String, Value>, path: &str, problems: &mut Vec<String>) {
    let join = |member: &str| if path.is_empty() { member.to_owned() } else { format!("{path}.{member}") };
    // AWS's serialisers leave a member out instead of sending null, and readers take null as left out
    let given: Vec<_> = members.iter().filter(|(_, value)| !value.is_null()).collect();
    for (member, value) in &given {
        match shape.members.get(*member) {
            Some(inner) => walk(inner, value, &join(member), problems),
            None => problems.push(format!("extraneous key [{member}] is not permitted at '{}'", join(member))),
        }
    }
    for member in &shape.required {
        if !given.iter().any(|(name, _)| *name == member) {
            problems.push(format!(
                "Value null at '{}' failed to satisfy constraint: Member must not be null",
                join(member)
            ));
        }
    }
    if shape.union && given.len() != 1 {
        problems.push(format!("Value at '{path}' is a union: exactly one member must be set, got {}", given.len()));
    }
}

fn bounds(shape: &Shape, size: f64, at: &str, what: &str, problems: &mut Vec<String>) {
    if shape.min.is_some_and(|min| size < min) {
        let min = shape.min.unwrap_or_default();
        problems.push(format!(
            "Value at '{at}' failed to satisfy constraint: Member must have {what} greater than or equal to {min}"
        ));
    }
    if shape.max.is_some_and(|max| size > max) {
        let max = shape.max.unwrap_or_default();
        problems.push(format!(
            "Value at '{at}' failed to satisfy constraint: Member must have {what} less than or equal to {max}"
        ));
    }
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Structure | Self::Map => "an object",
            Self::List => "a list",
            Self::String => "a string",
            Self::Blob => "a base64 string",
            Self::Integer => "an integer",
            Self::Float => "a number",
            Self::Boolean => "a boolean",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problem(body: Value) -> String {
        check("ConverseRequest", &body).err().unwrap_or_default()
    }

    #[test]
    fn every_shape_that_is_named_exists() {
        assert!(SHAPES.contains_key("ConverseRequest") && SHAPES.contains_key("ConverseStreamRequest"));
        for shape in SHAPES.values() {
            for name in shape.members.values().chain(&shape.member).chain(&shape.key).chain(&shape.value) {
                assert!(SHAPES.contains_key(name), "{name}");
            }
        }
    }

    #[test]
    fn what_converse_defines_passes() {
        let body = json!({
            "messages": [
                {"role": "user", "content": [{"text": "hi"}, {"cachePoint": {"type": "default"}}]},
                {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t", "name": "n", "input": {"any": [1]}}}]},
            ],
            "system": [{"text": "be kind"}],
            "inferenceConfig": {"maxTokens": 10, "temperature": 0.5, "topP": 1, "stopSequences": ["x"]},
            "toolConfig": {"tools": [{"toolSpec": {"name": "n", "inputSchema": {"json": {"type": "object"}}}}],
                           "toolChoice": {"auto": {}}},
            "additionalModelRequestFields": {"top_k": 3},
            "requestMetadata": {"team": "a"},
            "guardrailConfig": null,
        });
        assert_eq!(problem(body), "");
    }

    #[test]
    fn what_converse_does_not_define_is_refused_with_its_path() {
        for (body, part) in [
            (json!({"max_tokens": 1}), "extraneous key [max_tokens]"),
            (json!({"messages": [{"role": "user", "content": "hi"}]}), "'messages.0.content' is of the wrong type"),
            (json!({"messages": [{"role": "tool", "content": []}]}), "enum value set: [user, assistant, system]"),
            (json!({"messages": [{"content": []}]}), "null at 'messages.0.role'"),
            (
                json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}),
                "extraneous key [type]",
            ),
            (json!({"messages": [{"role": "user", "content": [{}]}]}), "exactly one member must be set, got 0"),
            (json!({"inferenceConfig": {"maxTokens": 0}}), "greater than or equal to 1"),
            (json!({"inferenceConfig": {"maxTokens": 1.5}}), "expected an integer"),
            (json!({"inferenceConfig": {"temperature": 1.5}}), "less than or equal to 1"),
            (json!({"inferenceConfig": {"stopSequences": [""]}}), "'inferenceConfig.stopSequences.0'"),
            (json!({"system": [{"text": ""}]}), "'system.0.text'"),
            (json!({"guardrailConfig": {"streamProcessingMode": "sync"}}), "extraneous key [streamProcessingMode]"),
            (json!([]), "'the request' is of the wrong type: expected an object"),
        ] {
            let got = problem(body.clone());
            assert!(got.contains(part), "{body} -> {got}");
        }
    }

    #[test]
    fn a_streamed_request_may_name_the_guardrails_processing_mode() {
        let body = json!({"guardrailConfig": {"streamProcessingMode": "sync"}});
        assert_eq!(check("ConverseStreamRequest", &body), Ok(()));
    }
}
