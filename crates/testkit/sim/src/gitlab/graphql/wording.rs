//! Turns the engine's validation errors into the words and codes that GitLab's GraphQL library uses.
//!
//! The verdict is the engine's; only the wording is ours.

use apollo_compiler::validation::DiagnosticList;
use serde_json::{Value, json};

/// Top-level errors for a document that does not fit the schema.
pub fn document_errors(errors: &DiagnosticList) -> Vec<Value> {
    errors
        .iter()
        .map(|diagnostic| {
            let plain = diagnostic.error.to_string();
            let named: Vec<&str> = plain.split('`').skip(1).step_by(2).collect();
            let first = named.first().copied().unwrap_or_default();
            let second = named.get(1).copied().unwrap_or_default();
            let (owner, member) = first.split_once('.').unwrap_or((first, second));
            let (message, code) = match diagnostic.error.unstable_error_name() {
                Some("UndefinedField") => (undefined_field(&named), "undefinedField"),
                Some("UndefinedArgument") => {
                    (format!("Field '{}' doesn't accept argument '{first}'", member_of(second)), "argumentNotAccepted")
                }
                Some("UndefinedInputValue") => {
                    (format!("InputObject '{second}' doesn't accept argument '{first}'"), "argumentNotAccepted")
                }
                Some("UndefinedEnumValue") => (
                    format!("Argument has an invalid value ({first}). Expected type '{second}'."),
                    "argumentLiteralsIncompatible",
                ),
                Some("RequiredField") => (
                    format!("Argument '{member}' on InputObject '{owner}' is required."),
                    "missingRequiredInputObjectAttribute",
                ),
                Some("UndefinedDirective") => (format!("Directive {first} is not defined"), "undefinedDirective"),
                Some("UnusedVariable") => (format!("Variable {first} is declared but not used"), "variableNotUsed"),
                _ => (plain.clone(), "invalid"),
            };
            let located = serde_json::to_value(diagnostic.to_json()).unwrap_or_default();
            json!({
                "message": message,
                "locations": located.get("locations").cloned().unwrap_or_else(|| json!([])),
                "extensions": {"code": code},
            })
        })
        .collect()
}

/// `type X does not have a field y`, in either order of the engine's words.
fn undefined_field(named: &[&str]) -> String {
    match named {
        [coordinate, ..] if coordinate.contains('.') => {
            let (owner, field) = coordinate.split_once('.').unwrap_or((coordinate, ""));
            format!("Field '{field}' doesn't exist on type '{owner}'")
        }
        [owner, field, ..] => format!("Field '{field}' doesn't exist on type '{owner}'"),
        _ => "Field doesn't exist".to_owned(),
    }
}

fn member_of(coordinate: &str) -> &str {
    coordinate.rsplit('.').next().unwrap_or(coordinate)
}
