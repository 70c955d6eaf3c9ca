//! Every limit and every rule that `crds/*.yaml` puts on what a user declares.

use std::collections::BTreeSet;

use duo_e2e::programs;
use serde_json::Value;

/// One limit of the schema or one CEL rule: what a case names, as `SelfHostedModel spec.identifier maxLength`.
pub type Limit = String;

const KEYWORDS: [&str; 9] =
    ["minLength", "maxLength", "pattern", "enum", "minimum", "maximum", "minItems", "maxItems", "maxProperties"];

/// The three definitions as they stand on disk.
pub fn definitions() -> Vec<Value> {
    ["aigateways", "selfhostedmodels", "featureassignments"]
        .map(|plural| {
            let text = std::fs::read_to_string(programs::checkout(&format!("crds/{plural}.yaml"))).expect("a CRD");
            serde_yaml_ng::from_str(&text).expect("YAML")
        })
        .into()
}

/// All limits of a definition, but those of the status, which only the operator writes.
pub fn limits(definition: &Value) -> BTreeSet<Limit> {
    let kind = definition["spec"]["names"]["kind"].as_str().expect("a kind");
    let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut found = Vec::new();
    rules(root, "metadata.name", &mut found);
    for name in root["required"].as_array().into_iter().flatten() {
        found.push(format!("{} required", name.as_str().expect("a name")));
    }
    walk(&root["properties"]["spec"], "spec", &mut found);
    found.into_iter().map(|limit| format!("{kind} {limit}")).collect()
}

fn walk(schema: &Value, path: &str, found: &mut Vec<String>) {
    for keyword in KEYWORDS {
        if !schema[keyword].is_null() {
            found.push(format!("{path} {keyword}"));
        }
    }
    if matches!(schema["x-kubernetes-list-type"].as_str(), Some("set" | "map")) {
        found.push(format!("{path} duplicate"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        found.push(format!("{path}.{} required", name.as_str().expect("a name")));
    }
    rules(schema, path, found);
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        walk(child, &format!("{path}.{name}"), found);
    }
    if schema["items"].is_object() {
        walk(&schema["items"], &format!("{path}[]"), found);
    }
}

/// CEL rules are told apart by their messages; one without a message would leave the user with the expression.
fn rules(schema: &Value, path: &str, found: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().unwrap_or_else(|| panic!("{path}: a rule without message: {rule}"));
        found.push(format!("{path} rule: {message}"));
    }
}
