//! Schema fragments that schemars has no attribute for: list types of Kubernetes.

use crate::condition::Condition;
use schemars::{Schema, SchemaGenerator, json_schema};

/// `conditions`: a list that is a map keyed by `type`, so that two writers can own one condition each.
pub(crate) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let item = generator.subschema_for::<Condition>();
    json_schema!({
        "type": "array",
        "items": item,
        "maxItems": 32,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

/// Most sentences of `status.plan`: more than any object has writes (an assignment has one for each feature).
pub const MOST_SENTENCES: usize = 64;
/// Most characters of one sentence.
pub const LONGEST_SENTENCE: usize = 1024;

/// `plan`: sentences for people, written as a whole.
pub(crate) fn plan(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "string", "maxLength": LONGEST_SENTENCE},
        "maxItems": MOST_SENTENCES,
        "x-kubernetes-list-type": "atomic",
    })
}
