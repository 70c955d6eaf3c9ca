//! Looks for secret values where none may be.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::World;
use crate::manifests::{ADMIN_TOKEN, AWS_SECRET, VLLM_KEY};

impl World {
    /// Searches logs, events, statuses and child objects for every secret value of the suites: those of the manifests,
    /// `more`, and all that stand in a Secret of the namespace now, the generated signing keys included.
    ///
    /// # Panics
    /// When one is found, with the place and not the value.
    pub async fn no_secret_is_told(&self, more: &[String]) {
        let mut secrets: Vec<String> = [ADMIN_TOKEN, AWS_SECRET, VLLM_KEY].map(str::to_owned).to_vec();
        secrets.extend(more.iter().cloned());
        secrets.extend(self.secret_values().await);
        let mut places = vec![("the operator's log".to_owned(), self.operator_log())];
        places.extend(self.gateway_logs());
        for kind in ["AIGateway", "SelfHostedModel", "FeatureAssignment"] {
            for object in self.api(kind).list(&ListParams::default()).await.expect("a list") {
                places.push((format!("{kind} {}", object.name_any()), serde_json::to_string(&object).expect("JSON")));
            }
        }
        places.extend(self.texts::<Event>().await);
        places.extend(self.texts::<ConfigMap>().await);
        places.extend(self.texts::<Pod>().await);
        places.extend(self.texts::<Service>().await);
        places.extend(self.texts::<ServiceAccount>().await);
        places.extend(self.texts::<k8s_openapi::api::apps::v1::Deployment>().await);
        for (place, text) in places {
            for (at, secret) in secrets.iter().enumerate() {
                assert!(!text.contains(secret.as_str()), "secret number {at} stands in {place}");
            }
        }
    }

    async fn secret_values(&self) -> Vec<String> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let list = api.list(&ListParams::default()).await.expect("a list");
        let data = list.items.into_iter().flat_map(|secret| secret.data.unwrap_or_default());
        // Key ids and certificates are no secrets.
        data.filter(|(key, _)| key != "AWS_ACCESS_KEY_ID" && !key.ends_with(".crt"))
            .filter_map(|(_, value)| String::from_utf8(value.0).ok())
            // Of a key in PEM any line will do; logs would hold it in one.
            .filter_map(|text| text.lines().find(|line| !line.starts_with("-----")).map(str::to_owned))
            .filter(|text| text.len() >= 8)
            .collect()
    }

    async fn texts<K>(&self) -> Vec<(String, String)>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Serialize,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        let list = api.list(&ListParams::default()).await.expect("a list");
        list.iter()
            .map(|object| {
                (format!("{} {}", K::kind(&()), object.name_any()), serde_json::to_string(object).expect("JSON"))
            })
            .collect()
    }
}
