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

/// Labels by which the agent platform's pods are selected; they never change, and the gateway's Service does not see
/// these pods.
pub fn agent_platform_selector(gateway: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), "duo-agent-platform".to_owned()),
        (GATEWAY_LABEL.to_owned(), gateway.to_owned()),
    ])
}

/// Labels of the gateway's child objects.
pub fn common(gateway: &str) -> BTreeMap<String, String> {
    with_purpose(selector(gateway), "ai-gateway")
}

/// Labels of the agent platform's child objects.
pub fn agent_platform(gateway: &str) -> BTreeMap<String, String> {
    with_purpose(agent_platform_selector(gateway), "agent-platform")
}

fn with_purpose(mut labels: BTreeMap<String, String>, component: &str) -> BTreeMap<String, String> {
    labels.insert("app.kubernetes.io/component".to_owned(), component.to_owned());
    labels.insert("app.kubernetes.io/part-of".to_owned(), "gitlab-duo".to_owned());
    labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned());
    labels
}

/// Selector of all child objects of a gateway, whatever they are for.
pub fn children_text(gateway: &str) -> String {
    format!("{GATEWAY_LABEL}={gateway},app.kubernetes.io/managed-by={MANAGED_BY}")
}

/// The selector in the form of the scale subresource.
pub fn selector_text(gateway: &str) -> String {
    selector(gateway).iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// Name of the operator-owned Secret with all keys of the gateway.
pub fn credentials_secret(gateway: &str) -> String {
    format!("{gateway}-credentials")
}

/// Name of the agent platform's Deployment and Service.
pub fn agent_platform_name(gateway: &str) -> String {
    format!("{gateway}-agent-platform")
}

/// Name of the ConfigMap with the rendered configuration.
pub fn config_map(gateway: &str) -> String {
    format!("{gateway}-config")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_as_text_are_what_the_objects_carry() {
        let pods = "app.kubernetes.io/name=duo-gateway,duo.selfhosted.dev/aigateway=duo";
        assert_eq!(selector_text("duo"), pods);
        assert_eq!(children_text("duo"), "duo.selfhosted.dev/aigateway=duo,app.kubernetes.io/managed-by=duo-operator");
        let carried = agent_platform("duo");
        for part in children_text("duo").split(',') {
            let (key, value) = part.split_once('=').unwrap();
            assert_eq!(carried.get(key).map(String::as_str), Some(value));
        }
    }
}
