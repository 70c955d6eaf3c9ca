//! Secrets, ConfigMaps and lists of pods that were read a moment ago, shared by those who need them together.

use std::collections::BTreeMap;
use std::sync::Arc;

use duo_core::inputs::Kind;
use duo_core::labels;
use duo_gateway_config::{CONFIG_FILE, GatewayConfig};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::ListParams;
use kube::core::ObjectMeta;
use kube::{Api, Resource};

use crate::shared::Shared;

/// Values by key.
pub(crate) type Data = BTreeMap<String, Vec<u8>>;

/// An object as it was read.
pub(crate) struct Object {
    /// Its uid and resourceVersion.
    pub version: String,
    pub annotations: BTreeMap<String, String>,
    pub data: Data,
}

impl Object {
    /// The gateway's configuration in its ConfigMap; `None` where it cannot be read.
    pub(crate) fn gateway_config(&self) -> Option<GatewayConfig> {
        let text = std::str::from_utf8(self.data.get(CONFIG_FILE)?).ok()?;
        GatewayConfig::from_yaml(text).ok()
    }
}

/// Reads and shares. A clone shares with it.
#[derive(Clone)]
pub(crate) struct Fresh {
    kube: kube::Client,
    shared: Shared<(Kind, String, String), Object>,
    /// By the gateway's namespace and name.
    pods: Shared<(String, String), Vec<Pod>>,
}

impl Fresh {
    pub(crate) fn new(kube: kube::Client) -> Self {
        Self { kube, shared: Shared::default(), pods: Shared::default() }
    }

    /// The object; `None` when it does not exist. One that is missing is looked for anew each time.
    pub(crate) async fn get(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Object>>, duo_runtime::Error> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        self.shared.get(key, read(&self.kube, kind, namespace, name)).await
    }

    /// The pods of a gateway that are not on their way out.
    pub(crate) async fn pods(&self, namespace: &str, gateway: &str) -> Result<Arc<Vec<Pod>>, duo_runtime::Error> {
        let listed = self.pods.get((namespace.to_owned(), gateway.to_owned()), async {
            let api: Api<Pod> = Api::namespaced(self.kube.clone(), namespace);
            let labels = ListParams::default().labels(&labels::selector_text(gateway));
            let mut pods =
                duo_runtime::call(format!("list Pods of {namespace}/{gateway}"), api.list(&labels)).await?.items;
            pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
            Ok::<_, duo_runtime::Error>(Some(pods))
        });
        Ok(listed.await?.unwrap_or_default())
    }

    /// The watch tells that a pod of this gateway came, changed or went.
    pub(crate) fn pods_changed(&self, namespace: &str, gateway: &str) {
        self.pods.changed(&(namespace.to_owned(), gateway.to_owned()));
    }

    /// The watch tells that an object has changed, or this process has changed it.
    pub(crate) fn changed(&self, kind: Kind, namespace: &str, name: &str) {
        self.shared.changed(&(kind, namespace.to_owned(), name.to_owned()));
    }
}

async fn read(
    kube: &kube::Client,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<Option<Object>, duo_runtime::Error> {
    let what = format!("get {} {namespace}/{name}", kind.name());
    let version = |meta: &ObjectMeta| {
        format!("{}/{}", meta.uid.clone().unwrap_or_default(), meta.resource_version.clone().unwrap_or_default())
    };
    let annotations = |meta: &ObjectMeta| meta.annotations.clone().unwrap_or_default();
    Ok(match kind {
        Kind::Secret => {
            let api: Api<Secret> = Api::namespaced(kube.clone(), namespace);
            duo_runtime::call(what, api.get_opt(name)).await?.map(|secret| Object {
                version: version(secret.meta()),
                annotations: annotations(secret.meta()),
                data: secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect(),
            })
        }
        Kind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(kube.clone(), namespace);
            duo_runtime::call(what, api.get_opt(name)).await?.map(|map| {
                let (version, annotations) = (version(map.meta()), annotations(map.meta()));
                let texts = map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
                let bytes = map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
                Object { version, annotations, data: texts.chain(bytes).collect() }
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};
    use std::time::Duration;

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::shared::SHARED;

    /// A cluster in which each read of the one Secret gives another value, after a moment; `missing` does not exist, `refused` may
    /// not be read.
    fn cluster() -> (Fresh, Arc<AtomicUsize>) {
        let reads = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&reads);
        (Fresh::new(kube::Client::new(Cluster(counted), "n")), reads)
    }

    #[derive(Clone)]
    struct Cluster(Arc<AtomicUsize>);

    impl tower_service::Service<Request<Body>> for Cluster {
        type Response = Response<Body>;
        type Error = http::Error;
        type Future = futures::future::BoxFuture<'static, Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Body>) -> Self::Future {
            let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let refused = request.uri().path().ends_with("refused");
                let (code, body) = if refused {
                    let why = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden",
                        "code": 403, "message": "no"});
                    (403, why)
                } else if request.uri().path().ends_with("missing") {
                    let why = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
                        "code": 404, "message": "none"});
                    (404, why)
                } else {
                    let meta =
                        json!({"name": "s", "namespace": "n", "uid": "u", "resourceVersion": number.to_string()});
                    (200, json!({"kind": "Secret", "apiVersion": "v1", "metadata": meta, "data": {"k": "dg=="}}))
                };
                Response::builder().status(code).body(Body::from(body.to_string().into_bytes()))
            })
        }
    }

    async fn version(fresh: &Fresh) -> String {
        fresh.get(Kind::Secret, "n", "s").await.unwrap().unwrap().version.clone()
    }

    #[tokio::test]
    async fn those_who_come_together_share_one_read_and_nothing_is_kept() {
        let (fresh, reads) = cluster();
        let all = futures::future::join_all((0..30).map(|_| version(&fresh))).await;
        assert!(all.iter().all(|version| version == "u/1"), "{all:?}");
        assert_eq!(reads.load(Ordering::SeqCst), 1);
        tokio::time::sleep(SHARED + SHARED / 2).await;
        assert_eq!(fresh.shared.kept(), 0);
        assert_eq!(version(&fresh).await, "u/2");
    }

    #[tokio::test]
    async fn a_read_that_fails_or_is_dropped_leaves_nothing() {
        let (fresh, _) = cluster();
        assert!(fresh.get(Kind::Secret, "n", "refused").await.is_err());
        let dropped = tokio::time::timeout(Duration::from_millis(1), version(&fresh)).await;
        assert!(dropped.is_err());
        assert_eq!(fresh.shared.kept(), 2);
        tokio::time::sleep(SHARED + SHARED / 2).await;
        assert_eq!(fresh.shared.kept(), 0);
    }

    #[tokio::test]
    async fn nobody_gets_what_was_read_before_a_change_was_told() {
        let (fresh, _) = cluster();
        assert_eq!(version(&fresh).await, "u/1");
        fresh.changed(Kind::Secret, "n", "s");
        assert_eq!(version(&fresh).await, "u/2");
        // told while a read is under way: it may have seen the one or the other
        let under_way = tokio::spawn({
            let fresh = fresh.clone();
            async move {
                fresh.changed(Kind::Secret, "n", "s");
                version(&fresh).await
            }
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        fresh.changed(Kind::Secret, "n", "s");
        assert_eq!(version(&fresh).await, "u/4");
        assert_eq!(under_way.await.unwrap(), "u/3");
    }

    #[tokio::test]
    async fn what_is_missing_is_looked_for_again() {
        let (fresh, reads) = cluster();
        for number in 1..3 {
            assert!(fresh.get(Kind::Secret, "n", "missing").await.unwrap().is_none());
            assert_eq!(reads.load(Ordering::SeqCst), number);
        }
    }
}
