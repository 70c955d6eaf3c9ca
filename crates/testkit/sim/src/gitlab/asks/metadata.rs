//! How Rails describes a self-hosted model to the gateway.

use serde_json::{Map, Value, json};

use crate::gitlab::state::Model;

/// `model_metadata`: the provider is `openai` for every self-hosted model, Bedrock and Azure included; the
/// identifier's prefix alone decides.
pub fn of(model: &Model) -> Value {
    json!({
        "provider": "openai",
        "name": model.family,
        "endpoint": model.endpoint,
        "api_key": model.api_token,
        "identifier": model.identifier,
    })
}

/// The same five as flat fields of `/v2/code/completions`; blank ones are absent.
pub fn flat(model: &Model) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("model_provider".to_owned(), json!("litellm"));
    fields.insert("model_name".to_owned(), json!(model.family));
    let optional = [
        ("model_endpoint", model.endpoint.as_deref()),
        ("model_api_key", model.api_token.as_deref()),
        ("model_identifier", Some(model.identifier.as_str())),
    ];
    for (name, value) in optional {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            fields.insert(name.to_owned(), json!(value));
        }
    }
    fields
}
