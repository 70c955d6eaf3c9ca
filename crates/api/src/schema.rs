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
