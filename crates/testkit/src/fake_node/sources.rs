//! What pods take their files and variables from: Secrets, ConfigMaps, the pod's own fields, service account tokens.
//!
//! Failures are texts in kubelet's words; they end up in the container's waiting message.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, ObjectFieldSelector, Pod, Secret, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};

/// Keys and their content.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

/// Reads what one pod refers to, fresh from the API server.
pub(super) struct Sources {
    client: Client,
    namespace: String,
}

impl Sources {
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    pub async fn secret(&self, name: &str, optional: bool) -> Result<Option<Data>, String> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = api.get_opt(name).await.map_err(|error| error.to_string())?;
        let data = found
            .map(|secret| secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect());
        required(data, optional, || format!("secret \"{name}\" not found"))
    }

    pub async fn config_map(&self, name: &str, optional: bool) -> Result<Option<Data>, String> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = api.get_opt(name).await.map_err(|error| error.to_string())?;
        let data = found.map(|map| {
            let texts = map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
            let bytes = map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
            texts.chain(bytes).collect()
        });
        required(data, optional, || format!("configmap \"{name}\" not found"))
    }

    /// A token of the pod's service account for an audience.
    pub async fn token(&self, pod: &Pod, audience: Option<&str>) -> Result<String, String> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audience.map(|audience| vec![audience.to_owned()]).unwrap_or_default(),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let answer = api.create_token_request(account, &PostParams::default(), &request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        Ok(answer.status.map(|status| status.token).unwrap_or_default())
    }
}

fn required(data: Option<Data>, optional: bool, missing: impl FnOnce() -> String) -> Result<Option<Data>, String> {
    if data.is_none() && !optional { Err(missing()) } else { Ok(data) }
}

/// The pod's field that a `fieldRef` names; the paths that environment variables may name.
pub(super) fn field(pod: &Pod, address: &str, selector: &ObjectFieldSelector) -> Result<String, String> {
    let spec = pod.spec.as_ref();
    let path = selector.field_path.as_str();
    Ok(match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        "status.podIP" | "status.podIPs" => address.to_owned(),
        "status.hostIP" | "status.hostIPs" => "127.0.0.1".to_owned(),
        _ => {
            let subscript = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']");
            if let Some(key) = subscript("metadata.labels['") {
                pod.labels().get(key).cloned().unwrap_or_default()
            } else if let Some(key) = subscript("metadata.annotations['") {
                pod.annotations().get(key).cloned().unwrap_or_default()
            } else {
                return Err(format!("field path {path} is not one that a fake node knows"));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn field_paths_are_resolved_as_kubelet_does() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a/b": "c"}},
            "spec": {"containers": [], "nodeName": "node"},
        }))
        .unwrap();
        let value =
            |path: &str| field(&pod, "127.64.0.1", &ObjectFieldSelector { field_path: path.into(), api_version: None });
        for (path, expected) in [
            ("metadata.name", "p"),
            ("metadata.namespace", "n"),
            ("metadata.labels['a/b']", "c"),
            ("metadata.annotations['none']", ""),
            ("spec.nodeName", "node"),
            ("status.podIP", "127.64.0.1"),
        ] {
            assert_eq!(value(path).as_deref(), Ok(expected), "{path}");
        }
        assert!(value("spec.containers").is_err());
    }
}
