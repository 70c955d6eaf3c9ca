//! Secrets and ConfigMaps that were read a moment ago: thirty resources of a gateway come up together and need the same.
//!
//! A value is kept for a second, and not even that long once the watch has told a change: whoever is woken by a change
//! reads what is there then.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use duo_core::inputs::Kind;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Resource};

/// How long a value is shared.
const SHARED: Duration = Duration::from_secs(1);

/// Values by key.
pub(crate) type Data = BTreeMap<String, Vec<u8>>;

/// An object as it was read.
pub(crate) struct Object {
    /// Its uid and resourceVersion.
    pub version: String,
    pub data: Data,
}

type Key = (Kind, String, String);

/// What one object's readers share.
#[derive(Default)]
struct Slot {
    /// Who holds it reads.
    last: tokio::sync::Mutex<Option<(Instant, Arc<Object>)>>,
    /// What began to be read before counts no more.
    void_before: Mutex<Option<Instant>>,
}

impl Slot {
    fn counts(&self, began: Instant, now: Instant) -> bool {
        let void = *self.void_before.lock().unwrap_or_else(PoisonError::into_inner);
        void.is_none_or(|void| began > void) && now.saturating_duration_since(began) < SHARED
    }
}

/// Reads and shares. A clone shares with it.
#[derive(Clone)]
pub(crate) struct Fresh {
    kube: kube::Client,
    slots: Arc<Mutex<HashMap<Key, Arc<Slot>>>>,
}

impl Fresh {
    pub(crate) fn new(kube: kube::Client) -> Self {
        Self { kube, slots: Arc::default() }
    }

    /// The object; `None` when it does not exist. One that is missing is looked for anew each time.
    pub(crate) async fn get(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Object>>, duo_runtime::Error> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        let slot = Arc::clone(self.slots().entry(key.clone()).or_default());
        let mut last = slot.last.lock().await;
        if let Some((began, object)) = last.as_ref()
            && slot.counts(*began, Instant::now())
        {
            return Ok(Some(Arc::clone(object)));
        }
        let began = Instant::now();
        // Before it is read: a read that fails, or is dropped on its way, leaves nothing either.
        self.forget_later(key, &slot);
        let found = read(&self.kube, kind, namespace, name).await?.map(Arc::new);
        *last = found.clone().map(|object| (began, object));
        Ok(found)
    }

    /// The watch tells that an object has changed.
    pub(crate) fn changed(&self, kind: Kind, namespace: &str, name: &str) {
        let slot = self.slots().get(&(kind, namespace.to_owned(), name.to_owned())).cloned();
        if let Some(slot) = slot {
            *slot.void_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// No value stays in memory for longer than it is shared.
    fn forget_later(&self, key: Key, slot: &Arc<Slot>) {
        let (slots, slot) = (Arc::clone(&self.slots), Arc::downgrade(slot));
        tokio::spawn(async move {
            tokio::time::sleep(SHARED).await;
            let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
            if slots.get(&key).is_some_and(|now| slot.ptr_eq(&Arc::downgrade(now))) {
                slots.remove(&key);
            }
        });
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(
    kube: &kube::Client,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<Option<Object>, duo_runtime::Error> {
    let what = format!("get {} {namespace}/{name}", kind.name());
    let version = |meta: &kube::core::ObjectMeta| {
        format!("{}/{}", meta.uid.clone().unwrap_or_default(), meta.resource_version.clone().unwrap_or_default())
    };
    Ok(match kind {
        Kind::Secret => {
            let api: Api<Secret> = Api::namespaced(kube.clone(), namespace);
            duo_runtime::call(what, api.get_opt(name)).await?.map(|secret| Object {
                version: version(secret.meta()),
                data: secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect(),
            })
        }
        Kind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(kube.clone(), namespace);
            duo_runtime::call(what, api.get_opt(name)).await?.map(|map| {
                let version = version(map.meta());
                let texts = map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
                let bytes = map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
                Object { version, data: texts.chain(bytes).collect() }
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

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
        assert!(fresh.slots().is_empty());
        assert_eq!(version(&fresh).await, "u/2");
    }

    #[tokio::test]
    async fn a_read_that_fails_or_is_dropped_leaves_nothing() {
        let (fresh, _) = cluster();
        assert!(fresh.get(Kind::Secret, "n", "refused").await.is_err());
        let dropped = tokio::time::timeout(Duration::from_millis(1), version(&fresh)).await;
        assert!(dropped.is_err());
        assert_eq!(fresh.slots().len(), 2);
        tokio::time::sleep(SHARED + SHARED / 2).await;
        assert!(fresh.slots().is_empty());
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
