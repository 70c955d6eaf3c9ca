//! Variables that do not fit their type, answered as GitLab's GraphQL library does.
//!
//! A trap lives here on purpose: the answer's `extensions.value` echoes the whole variable, an `apiToken` in it
//! included.

use apollo_compiler::Schema;
use apollo_compiler::ast::Type;
use apollo_compiler::executable::Operation;
use apollo_compiler::schema::ExtendedType;
use serde_json::{Map, Value, json};

/// The errors for variables that do not fit; empty when all do.
///
/// `engine` is the independent engine's verdict, used when it refuses what nothing here explains.
pub fn errors(schema: &Schema, operation: &Operation, values: &Map<String, Value>, engine: Option<&str>) -> Vec<Value> {
    let mut errors = Vec::new();
    for variable in &operation.variables {
        let name = variable.name.as_str();
        let mut problems = Vec::new();
        match values.get(name) {
            None if variable.default_value.is_some() || !variable.ty.is_non_null() => {}
            value => check(schema, &variable.ty, value.unwrap_or(&Value::Null), &mut Vec::new(), &mut problems),
        }
        if !problems.is_empty() {
            errors.push(refused(name, &variable.ty, values.get(name), &problems));
        }
    }
    if errors.is_empty()
        && let Some(verdict) = engine
    {
        errors.push(json!({"message": verdict}));
    }
    errors
}

struct Problem {
    path: Vec<Value>,
    explanation: String,
}

fn refused(name: &str, ty: &Type, value: Option<&Value>, problems: &[Problem]) -> Value {
    let listed: Vec<String> = problems
        .iter()
        .map(|problem| {
            let path: Vec<String> =
                problem.path.iter().map(|step| step.as_str().map_or(step.to_string(), str::to_owned)).collect();
            if path.is_empty() {
                format!(" ({})", problem.explanation)
            } else {
                format!(" for {} ({})", path.join("."), problem.explanation)
            }
        })
        .collect();
    let message = format!("Variable ${name} of type {ty} was provided invalid value{}", listed.join(","));
    let problems: Vec<Value> =
        problems.iter().map(|problem| json!({"path": problem.path, "explanation": problem.explanation})).collect();
    json!({"message": message, "locations": [{"line": 1, "column": 1}],
           "extensions": {"value": value, "problems": problems}})
}

fn check(schema: &Schema, ty: &Type, value: &Value, path: &mut Vec<Value>, problems: &mut Vec<Problem>) {
    let mut refuse = |path: &[Value], explanation: String| problems.push(Problem { path: path.to_vec(), explanation });
    if value.is_null() {
        if ty.is_non_null() {
            refuse(path, "Expected value to not be null".to_owned());
        }
        return;
    }
    if ty.is_list() {
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(json!(index));
                    check(schema, ty.item_type(), item, path, problems);
                    path.pop();
                }
            }
            single => check(schema, ty.item_type(), single, path, problems),
        }
        return;
    }
    let name = ty.inner_named_type();
    match schema.types.get(name) {
        Some(ExtendedType::Enum(values)) => {
            let known = value.as_str().is_some_and(|text| values.values.contains_key(text));
            if !known {
                let all: Vec<&str> = values.values.keys().map(|key| key.as_str()).collect();
                refuse(path, format!("Expected {value} to be one of: {}", all.join(", ")));
            }
        }
        Some(ExtendedType::InputObject(input)) => {
            let Value::Object(map) = value else {
                refuse(path, format!("Expected {value} to be a key-value object"));
                return;
            };
            for key in map.keys().filter(|key| !input.fields.contains_key(key.as_str())) {
                path.push(json!(key));
                refuse(path, format!("Field is not defined on {name}"));
                path.pop();
            }
            for (field, definition) in &input.fields {
                let given = map.get(field.as_str());
                if given.is_none() && !definition.is_required() {
                    continue;
                }
                path.push(json!(field.as_str()));
                check(schema, &definition.ty, given.unwrap_or(&Value::Null), path, problems);
                path.pop();
            }
        }
        _ => {
            let explanation = match name.as_str() {
                "String" if !value.is_string() => Some(format!("Could not coerce value {value} to String")),
                "Int" if value.as_i64().is_none_or(|number| i32::try_from(number).is_err()) => {
                    Some(format!("Could not coerce value {value} to Int"))
                }
                "Boolean" if !value.is_boolean() => Some(format!("Could not coerce value {value} to Boolean")),
                "AiSelfHostedModelID" => model_id(value).err(),
                _ => None,
            };
            if let Some(explanation) = explanation {
                refuse(path, explanation);
            }
        }
    }
}

/// The number in a model's global id.
///
/// # Errors
/// GitLab's words for an ill-formed id, and for the id of something else.
pub fn model_id(value: &Value) -> Result<u64, String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let Some(rest) = text.strip_prefix("gid://gitlab/") else {
        return Err(format!("\"{text}\" is not a valid GitLab ID."));
    };
    let (class, id) = rest.split_once('/').unwrap_or((rest, ""));
    let number = id.parse::<u64>().map_err(|_| format!("\"{text}\" is not a valid GitLab ID."))?;
    if class == "Ai::SelfHostedModel" {
        Ok(number)
    } else {
        Err(format!("\"{text}\" does not represent an instance of Ai::SelfHostedModel"))
    }
}
