//! Names and labels of the objects that belong to an AIGateway.

use std::collections::BTreeMap;

use duo_api::annotations::{GATEWAY_LABEL, MANAGED_BY};

/// Labels by which the gateway's pods are selected; they never change.
pub fn selector(gateway: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), "duo-gateway".to_owned()),
        (GATEWAY_LABEL.to_owned(), gateway.to_owned()),
    ])
}

/// Labels of every child object.
pub fn common(gateway: &str) -> BTreeMap<String, String> {
    let mut labels = selector(gateway);
    labels.insert("app.kubernetes.io/component".to_owned(), "ai-gateway".to_owned());
    labels.insert("app.kubernetes.io/part-of".to_owned(), "gitlab-duo".to_owned());
    labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned());
    labels
}

/// The selector in the form of the scale subresource.
pub fn selector_text(gateway: &str) -> String {
    selector(gateway).iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// Name of the operator-owned Secret with all keys of the gateway.
pub fn credentials_secret(gateway: &str) -> String {
    format!("{gateway}-credentials")
}

/// Name of the ConfigMap with the rendered configuration.
pub fn config_map(gateway: &str) -> String {
    format!("{gateway}-config")
}
