//! Schema fragments that schemars has no attribute for: list types of Kubernetes.

use crate::condition::{Condition, UNSEEN};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::json;

/// Gives a new object the status "nobody has looked at it": without one kstatus (Flux, `kubectl wait`-like tools) takes an
/// object for done. Flux' own kinds do the same.
pub(crate) fn unseen(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let schemas =
        crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut());
    for status in schemas.filter_map(|schema| schema.properties.as_mut()?.get_mut("status")) {
        status.default = Some(JSON(json!({ "observedGeneration": UNSEEN })));
    }
    crd
}

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
