//! Every field of every request body, made from the description: left out, of each other type, at its limits and beyond.
//! The schema says which of these bodies are valid; the server has to agree.

use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use super::document::{Document, Operation};
use super::world::{everything, localised, saying, world};
use crate::support::World;

/// So many requests at a time.
const AT_ONCE: usize = 8;

/// A changed example.
struct Case {
    /// What was changed.
    name: String,
    body: Value,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_is_taken_within_its_limits_and_refused_beyond_them() {
    let document = Document::load();
    let (world, _folder) = world(saying()).await;
    let token = world.key.sign(&everything());
    let (mut faults, mut taken, mut refused) = (Vec::new(), 0, 0);
    for operation in document.operations() {
        let Some((at, example)) = &operation.body else { continue };
        let example = localised(&world, example);
        let schema = document.schema(at);
        assert!(schema.is_valid(&example), "{}: the example: {:?}", operation.id, schema.faults(&example));
        let cases = cases(&document, at, &example);
        let (world, token, operation) = (&world, &token, &operation);
        let answers: Vec<_> = futures::stream::iter(cases)
            .map(|case| async move {
                let (status, text) = ask(world, operation, token, &case.body).await;
                (case, status, text)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for (case, status, text) in answers {
            let valid = schema.is_valid(&case.body);
            let expected = exception(&case).unwrap_or(if valid { 200 } else { 422 });
            *(if status == 200 { &mut taken } else { &mut refused }) += 1;
            if status != expected {
                let text: String = text.chars().take(300).collect();
                faults.push(format!("{}: {}: {status} in place of {expected}: {text}", operation.id, case.name));
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    // the suite finds its fields in the document; a change of its shape must not leave it with none
    assert!(taken > 600 && refused > 1500, "{taken} bodies taken, {refused} refused");
}

/// What is valid by its form and answered otherwise, and why.
fn exception(case: &Case) -> Option<u16> {
    let name = case.name.as_str();
    if name.ends_with("endpoint = null") || name.ends_with("endpoint left out") {
        // the identifier of the examples names a server that needs one
        return Some(422);
    }
    if name.contains("/prompt_version = ") && case.body.get("inputs").is_some() {
        // a text that is no version, or one that fits nothing
        return matches!(case.body["prompt_version"], Value::String(_))
            .then(|| if name.contains("characters") && name.contains("256") { 422 } else { 400 });
    }
    // the scratchpad of the example stands on this message
    let role = "/messages/1/role = ";
    (name.starts_with(role)
        && case.body.pointer("/messages/1/role").is_some_and(|role| role == "user" || role == "system"))
    .then_some(400)
}

async fn ask(world: &World, operation: &Operation, token: &str, body: &Value) -> (u16, String) {
    let request = world.bare(Method::POST, &operation.path).bearer_auth(token).json(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn cases(document: &Document, schema: &str, example: &Value) -> Vec<Case> {
    let mut out = Vec::new();
    let mut fields = Vec::new();
    walk(document, schema, example, "", &mut fields);
    for (pointer, schemas) in &fields {
        let old = example.pointer(pointer).unwrap();
        if let Some((parent, key)) = pointer.rsplit_once('/')
            && example.pointer(parent).is_some_and(Value::is_object)
        {
            let mut body = example.clone();
            body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
            out.push(Case { name: format!("{pointer} left out"), body });
        }
        let mut set = |name: String, value: Value| {
            let mut body = example.clone();
            *body.pointer_mut(pointer).unwrap() = value;
            out.push(Case { name: format!("{pointer} = {name}"), body });
        };
        for value in [
            json!(null),
            json!(true),
            json!(12345),
            json!(-0.5),
            json!("text"),
            json!([]),
            json!({}),
            json!([1]),
            json!([{}]),
        ] {
            set(value.to_string(), value);
        }
        for schema in schemas {
            limits(document.value.pointer(schema).unwrap(), old, &mut set);
        }
    }
    out
}

/// Values at and beyond what one schema says.
fn limits(schema: &Value, old: &Value, set: &mut impl FnMut(String, Value)) {
    let number = |key: &str| schema.get(key).and_then(Value::as_u64).map(|number| usize::try_from(number).unwrap());
    if let Some(most) = number("maxLength") {
        // addresses stay addresses, and identifiers name their kind of server
        let start = old.as_str().filter(|old| old.contains('/')).unwrap_or_default();
        for length in [most, most + 1] {
            for (kind, filler) in [("ASCII", 'x'), ("wide", '日')] {
                let text: String = start.chars().chain(std::iter::repeat(filler)).take(length).collect();
                set(format!("{length} {kind} characters"), text.into());
            }
        }
    }
    if let (Some(most), Some(item)) = (number("maxItems"), old.get(0)) {
        set(format!("{most} items"), vec![item.clone(); most].into());
        set(format!("{} items", most + 1), vec![item.clone(); most + 1].into());
    }
    for (key, beyond) in [("minimum", -1.0), ("maximum", 1.0)] {
        if let Some(limit) = schema.get(key) {
            set(limit.to_string(), limit.clone());
            let number = limit.as_f64().unwrap();
            let integer = schema["type"].to_string().contains("integer");
            let value = if integer { json!((number + beyond) as i64) } else { json!(number + beyond / 1000.0) };
            set(value.to_string(), value);
        }
    }
    for value in schema.get("enum").and_then(Value::as_array).into_iter().flatten() {
        set(format!("{value} (listed)"), value.clone());
        if let Some(text) = value.as_str() {
            let value = format!("{text}s");
            set(value.clone(), value.into());
        }
    }
}

/// Every place of the example with the schemas that stand there.
fn walk(document: &Document, schema: &str, example: &Value, at: &str, out: &mut Vec<(String, Vec<String>)>) {
    let mut here = Vec::new();
    gather(document, schema, &mut here);
    match example {
        Value::Object(map) => {
            for (key, value) in map {
                let below = below(document, &here, &["properties", key]);
                descend(document, &below, value, &format!("{at}/{key}"), out);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                let prefix = below(document, &here, &["prefixItems", &index.to_string()]);
                let below = if prefix.is_empty() { below(document, &here, &["items"]) } else { prefix };
                descend(document, &below, value, &format!("{at}/{index}"), out);
            }
        }
        _ => {}
    }
}

fn descend(document: &Document, schemas: &[String], value: &Value, at: &str, out: &mut Vec<(String, Vec<String>)>) {
    let mut all = Vec::new();
    for schema in schemas {
        gather(document, schema, &mut all);
    }
    // what the description says nothing of is ignored
    if all.iter().any(|schema| document.value.pointer(schema).is_some_and(says_something)) {
        out.push((at.to_owned(), all.clone()));
    }
    for schema in schemas {
        let mut deeper = Vec::new();
        walk(document, schema, value, at, &mut deeper);
        for (pointer, schemas) in deeper {
            match out.iter_mut().find(|(known, _)| *known == pointer) {
                Some((_, known)) => known.extend(schemas),
                None => out.push((pointer, schemas)),
            }
        }
    }
}

fn says_something(schema: &Value) -> bool {
    schema
        .as_object()
        .is_some_and(|schema| schema.keys().any(|key| !["description", "default", "examples"].contains(&key.as_str())))
}

/// A schema and all that it is made of.
fn gather(document: &Document, schema: &str, out: &mut Vec<String>) {
    let value = document.value.pointer(schema).unwrap_or_else(|| panic!("{schema} is not in the document"));
    out.push(schema.to_owned());
    if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
        gather(document, reference.trim_start_matches('#'), out);
    }
    for key in ["allOf", "oneOf", "anyOf"] {
        for number in 0..value.get(key).and_then(Value::as_array).map_or(0, Vec::len) {
            gather(document, &format!("{schema}/{key}/{number}"), out);
        }
    }
}

fn below(document: &Document, schemas: &[String], steps: &[&str]) -> Vec<String> {
    let path = |schema: &String| {
        steps.iter().fold(schema.clone(), |path, step| format!("{path}/{}", step.replace('~', "~0").replace('/', "~1")))
    };
    schemas.iter().map(path).filter(|path| document.value.pointer(path).is_some()).collect()
}
