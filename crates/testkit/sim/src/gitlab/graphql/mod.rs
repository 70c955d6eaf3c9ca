//! `/api/graphql`: one request from its text to its answer, validated and executed by an independent engine.
//!
//! Knows nothing of HTTP beyond the status it asks for.

pub mod features;
pub mod introduced;
pub mod limits;
pub mod models;
pub mod mutation;
pub mod page;
pub mod query;
pub mod resolve;
pub mod schema;
pub mod settings;
pub mod variables;
pub mod wording;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use apollo_compiler::ExecutableDocument;
use apollo_compiler::ast;
use apollo_compiler::request::coerce_variable_values;
use apollo_compiler::resolvers::Execution;
use apollo_compiler::response::JsonMap;
use apollo_compiler::validation::Valid;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::rights::Caller;
use super::sim::Sim;

/// What the engine puts before the message of a resolver.
const ENGINE_PREFIX: &str = "resolver error: ";

/// A GraphQL request as it came.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The document.
    pub query: String,
    /// `operationName`, if sent and not empty.
    pub operation_name: Option<String>,
    /// `variables`: an object, or anything else (refused).
    pub variables: Value,
    /// Names of the root fields of the chosen operation; empty when the document does not parse.
    pub fields: Vec<String>,
    /// Whether the chosen operation is a mutation.
    pub mutation: bool,
}

impl Request {
    /// Reads a JSON body; `None` for anything without a `query`.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let query = body.get("query")?.as_str()?.to_owned();
        let operation_name =
            body.get("operationName").and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned);
        let variables = match body.get("variables") {
            None | Some(Value::Null) => json!({}),
            // GitLab also takes variables as a string of JSON
            Some(Value::String(text)) if text.is_empty() => json!({}),
            Some(Value::String(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
            Some(value) => value.clone(),
        };
        let (fields, mutation) = root_fields(&query, operation_name.as_deref());
        Some(Self { query, operation_name, variables, fields, mutation })
    }
}

/// An answer: HTTP status, JSON, and the messages of all errors in it.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: Bytes,
    /// Messages of top-level and payload errors.
    pub errors: Vec<String>,
}

impl Answer {
    fn json(status: u16, body: &Value, mut errors: Vec<String>) -> Self {
        if let Some(listed) = body.get("errors").and_then(Value::as_array) {
            errors.extend(listed.iter().filter_map(|error| error["message"].as_str()).map(str::to_owned));
        }
        Self { status, body: Bytes::from(body.to_string()), errors }
    }

    fn refused(status: u16, message: &str) -> Self {
        Self::json(status, &json!({"errors": [{"message": message}]}), Vec::new())
    }
}

/// Answers a request.
pub async fn handle(sim: &Arc<Sim>, caller: Caller, request: &Request) -> Answer {
    if request.query.chars().count() > limits::MAX_QUERY_CHARS {
        return Answer::refused(422, "Query too large");
    }
    let Value::Object(values) = &request.variables else {
        return Answer::refused(422, "Unexpected variables: expected a JSON object");
    };
    let (version, introspection_on) = sim.read(|state| (state.instance.version, state.instance.introspection));
    let schemas = match sim.schemas(version) {
        Ok(schemas) => schemas,
        Err(message) => return Answer::refused(500, &message),
    };
    if request.fields.iter().any(|field| matches!(field.as_str(), "__schema" | "__type")) {
        return introspect(request, introspection_on, &schemas.introspection);
    }

    let filtered = introduced::filter(&request.query, version);
    let text = filtered.as_ref().map_or(request.query.as_str(), |filtered| filtered.executed.as_str());
    let recorded = filtered.as_ref().map_or(text, |filtered| &filtered.recorded).to_owned();
    let operation_name = request.operation_name.as_deref();
    let refused = |errors: Vec<Value>, by_engine: bool| {
        // a release between the documented lines refuses what its line has: no verdict for a second engine
        if by_engine && schemas.whole {
            sim.record(schemas.line, &recorded, operation_name, &request.variables, false);
        }
        Answer::json(200, &json!({"errors": errors}), Vec::new())
    };
    let document = match ExecutableDocument::parse_and_validate(&schemas.executed, text, "query.graphql") {
        Ok(document) => document,
        Err(invalid) => {
            return refused(wording::document_errors(&invalid.errors), true);
        }
    };
    let operation = match document.operations.get(request.operation_name.as_deref()) {
        Ok(operation) => operation,
        Err(_) => {
            let message = match &request.operation_name {
                Some(name) => format!("No operation named \"{name}\""),
                None => "An operation name is required".to_owned(),
            };
            return Answer::refused(200, &message);
        }
    };
    let engine_values = serde_json::from_value(request.variables.clone()).unwrap_or_default();
    let coerced = coerce_variable_values(&schemas.executed, operation, &engine_values);
    let verdict = coerced.as_ref().err().map(|error| error.message().to_string());
    let errors = variables::errors(&schemas.executed, operation, values, verdict.as_deref());
    let coerced = match coerced {
        Ok(coerced) if errors.is_empty() => coerced,
        _ => return refused(errors, verdict.is_some()),
    };
    if let Some(message) = limits::exceeded(&document, operation, &caller) {
        return Answer::refused(200, &message);
    }
    sim.record(schemas.line, &recorded, operation_name, &request.variables, true);

    let ctx = Arc::new(resolve::Ctx {
        sim: Arc::clone(sim),
        caller,
        query: request.query.clone(),
        crashed: AtomicBool::new(false),
        payload_errors: Mutex::new(Vec::new()),
    });
    let name = request.operation_name.clone();
    // the engine's future cannot move between threads, so it gets one
    let runtime = tokio::runtime::Handle::current();
    let executed = tokio::task::spawn_blocking(move || {
        runtime.block_on(execute(&schemas, &document, name.as_deref(), &coerced, ctx))
    });
    executed.await.unwrap_or_else(|error| Answer::refused(500, &format!("Internal server error: {error}")))
}

async fn execute(
    schemas: &schema::Schemas,
    document: &Valid<ExecutableDocument>,
    name: Option<&str>,
    variables: &Valid<JsonMap>,
    ctx: Arc<resolve::Ctx>,
) -> Answer {
    let Ok(operation) = document.operations.get(name) else {
        return Answer::refused(500, "Internal server error");
    };
    let root = resolve::Node::root(Arc::clone(&ctx), operation.operation_type.is_mutation());
    let executed = Execution::new(&schemas.executed, document)
        .operation(operation)
        .coerced_variable_values(variables)
        .execute_async(&root)
        .await;
    if ctx.crashed.load(Ordering::SeqCst) {
        return Answer::refused(500, "Internal server error");
    }
    let noted = ctx.payload_errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match executed {
        Ok(response) => {
            let mut errors = serde_json::to_value(&response.errors).unwrap_or_default();
            for error in errors.as_array_mut().into_iter().flatten() {
                if let Some(plain) = error["message"].as_str().and_then(|text| text.strip_prefix(ENGINE_PREFIX)) {
                    error["message"] = json!(plain);
                }
            }
            let mut body = Map::new();
            body.insert("data".to_owned(), serde_json::to_value(&response.data).unwrap_or_default());
            if !response.errors.is_empty() {
                body.insert("errors".to_owned(), errors);
            }
            Answer::json(200, &Value::Object(body), noted)
        }
        Err(error) => Answer::refused(200, &error.message().to_string()),
    }
}

/// Every introspection query gets the whole stored schema, whatever it selects; another operation name is refused.
fn introspect(request: &Request, on: bool, stored: &Bytes) -> Answer {
    if !on {
        let field = request.fields.first().map_or("__schema", String::as_str);
        return Answer::refused(200, &format!("Field '{field}' doesn't exist on type 'Query'"));
    }
    if request.operation_name.as_deref().is_some_and(|name| name != "IntrospectionQuery") {
        return Answer::refused(422, "Introspection queries must be named IntrospectionQuery");
    }
    Answer { status: 200, body: stored.clone(), errors: Vec::new() }
}

/// Root fields and kind of the operation that a name chooses (the first when none is given), by syntax alone.
fn root_fields(query: &str, name: Option<&str>) -> (Vec<String>, bool) {
    let Ok(document) = ast::Document::parse(query, "query.graphql") else { return (Vec::new(), false) };
    let operations = document.definitions.iter().filter_map(|definition| definition.as_operation_definition());
    let mut chosen = operations
        .filter(|operation| name.is_none_or(|name| operation.name.as_ref().is_some_and(|own| own.as_str() == name)));
    let Some(operation) = chosen.next() else { return (Vec::new(), false) };
    let fields = operation.selection_set.iter().filter_map(|selection| match selection {
        ast::Selection::Field(field) => Some(field.name.to_string()),
        _ => None,
    });
    (fields.collect(), operation.operation_type.is_mutation())
}
