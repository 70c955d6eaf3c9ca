//! Joins plain data with the engine: every resolver returns JSON, and this turns it into objects, lists, connections.
//!
//! `{"$model": id}` and `{"$feature": key}` stand for a stored model and a feature, looked up when a field is read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use apollo_compiler::Schema;
use apollo_compiler::ast::Type;
use apollo_compiler::resolvers::{AsyncObjectValue, AsyncResolvedValue, FieldError, ResolveInfo};
use apollo_compiler::response::JsonValue;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use serde_json::{Map, Value};

use super::{features, mutation, page, query, schema};
use crate::gitlab::rights::Caller;
use crate::gitlab::sim::Sim;

/// One request being executed.
pub struct Ctx {
    /// The server.
    pub sim: Arc<Sim>,
    /// Who asks.
    pub caller: Caller,
    /// The document's text: some resolvers search it.
    pub query: String,
    /// Set when GitLab's own code would have raised: the whole answer becomes HTTP 500.
    pub crashed: AtomicBool,
    /// Strings of the payloads' `errors`, for the journal.
    pub payload_errors: Mutex<Vec<String>>,
}

impl Ctx {
    /// What GitLab does when its code meets a record that is not there: HTTP 500.
    pub fn crash(&self) -> FieldError {
        self.crashed.store(true, Ordering::SeqCst);
        error("Internal server error")
    }

    /// Notes a payload's `errors` for the journal.
    pub fn note(&self, errors: &[String]) {
        self.payload_errors.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(errors);
    }
}

/// A top-level error at the field being resolved.
pub fn error(message: impl Into<String>) -> FieldError {
    FieldError { message: message.into() }
}

/// An object of the answer.
pub struct Node {
    ctx: Arc<Ctx>,
    type_name: String,
    source: Source,
}

enum Source {
    Query,
    Mutation,
    Model(u64),
    Feature(String),
    Map(Map<String, Value>),
}

impl Node {
    /// The root of an operation.
    pub fn root(ctx: Arc<Ctx>, mutation: bool) -> Self {
        let (type_name, source) = if mutation { ("Mutation", Source::Mutation) } else { ("Query", Source::Query) };
        Self { ctx, type_name: type_name.to_owned(), source }
    }
}

impl AsyncObjectValue for Node {
    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> BoxFuture<'a, Result<AsyncResolvedValue<'a>, FieldError>> {
        Box::pin(async move {
            let name = info.field_name();
            if name == schema::ABSENT {
                return Ok(AsyncResolvedValue::Leaf(JsonValue::Null));
            }
            let args = match serde_json::to_value(info.arguments()) {
                Ok(Value::Object(args)) => args,
                _ => Map::new(),
            };
            let value = match &self.source {
                Source::Query => query::resolve(&self.ctx, name, &args).await?,
                Source::Mutation => mutation::resolve(&self.ctx, name, &args).await?,
                Source::Model(id) => query::model_field(&self.ctx, *id, name),
                Source::Feature(key) => features::field(&self.ctx, key, name),
                Source::Map(map) => map.get(name).cloned().unwrap_or(Value::Null),
            };
            Ok(lift(&self.ctx, info.schema(), &info.field_definition().ty, value, &args))
        })
    }
}

fn lift<'a>(
    ctx: &Arc<Ctx>,
    schema: &Schema,
    ty: &Type,
    value: Value,
    args: &Map<String, Value>,
) -> AsyncResolvedValue<'a> {
    let type_name = ty.inner_named_type();
    let object = |source| {
        let node = Node { ctx: Arc::clone(ctx), type_name: type_name.to_string(), source };
        AsyncResolvedValue::Object(Box::new(node))
    };
    let composite = schema.get_object(type_name).is_some();
    match value {
        Value::Array(items) if ty.is_list() => {
            let items: Vec<_> =
                items.into_iter().map(|item| Ok(lift(ctx, schema, ty.item_type(), item, args))).collect();
            AsyncResolvedValue::List(futures::stream::iter(items).boxed())
        }
        Value::Array(items) if composite => object(Source::Map(page::page(items, args))),
        Value::Object(map) if composite => {
            if let Some(id) = map.get("$model").and_then(Value::as_u64) {
                object(Source::Model(id))
            } else if let Some(key) = map.get("$feature").and_then(Value::as_str) {
                object(Source::Feature(key.to_owned()))
            } else {
                object(Source::Map(map))
            }
        }
        leaf => AsyncResolvedValue::Leaf(serde_json::from_value(leaf).unwrap_or(JsonValue::Null)),
    }
}
