//! Which copies of the cache show this process's own last write: the others are read anew before they are judged.
//!
//! A copy that somebody else's write is missing from is a moment old, and the next event wakes its reconciler again. One
//! that misses our own would make us do again what we did.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use duo_api::annotations::FINALIZER;
use duo_runtime::metadata::{self, Changed};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::error::Error;

/// Objects remembered; an operator has far fewer.
const MOST: usize = 100_000;

/// By uid: the resource version that our last write made. A clone shares it.
#[derive(Clone, Default)]
pub(crate) struct OwnWrites {
    versions: Arc<Mutex<HashMap<String, String>>>,
    /// Uids of objects that have waited once.
    waited: Arc<Mutex<HashSet<String>>>,
}

impl OwnWrites {
    /// Notes what became of an object by a write of ours.
    pub(crate) fn note<K: Resource>(&self, object: &K) {
        if let (Some(uid), Some(version)) = (object.uid(), object.resource_version()) {
            let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
            if versions.len() >= MOST {
                versions.clear();
            }
            versions.insert(uid, version);
        }
    }

    /// Whether a copy shows our last write.
    fn shown_by<K: Resource>(&self, copy: &K) -> bool {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = copy.uid().and_then(|uid| versions.get(&uid).cloned());
        ours.is_none() || ours == copy.resource_version()
    }

    /// True once for each object: who has waited once waits no more.
    pub(crate) fn waits_first<K: Resource>(&self, object: &K) -> bool {
        let mut waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        if waited.len() >= MOST {
            waited.clear();
        }
        waited.insert(object.uid().unwrap_or_default())
    }

    /// The object with our finalizer on it, not older than our last write; `None` when it is gone.
    pub(crate) async fn live<K>(&self, api: &Api<K>, copy: &K) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
    {
        let ours = copy.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
        if ours && self.shown_by(copy) {
            return Ok(Some(copy.clone()));
        }
        Ok(match metadata::add_finalizer(api, copy, FINALIZER).await? {
            Changed::Now(live) => {
                self.note(&live);
                Some(live)
            }
            // The cache has caught up, perhaps with somebody else's later write.
            Changed::Already(live) => {
                if live.resource_version() == copy.resource_version() {
                    self.note(&live);
                }
                Some(live)
            }
            Changed::Gone => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use duo_api::FeatureAssignment;
    use serde_json::json;

    use super::*;

    fn object(uid: &str, version: &str) -> FeatureAssignment {
        serde_json::from_value(json!({
            "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": "FeatureAssignment",
            "metadata": {"name": "a", "namespace": "n", "uid": uid, "resourceVersion": version},
            "spec": {"gatewayRef": {"name": "duo"}, "features": ["DuoChat"], "provider": "Disabled"},
        }))
        .unwrap()
    }

    #[test]
    fn a_copy_is_good_until_we_write_and_again_when_it_shows_the_write() {
        let own = OwnWrites::default();
        assert!(own.shown_by(&object("u", "1")), "nothing was written");
        own.note(&object("u", "5"));
        assert!(!own.shown_by(&object("u", "1")));
        assert!(own.shown_by(&object("u", "5")));
        assert!(!own.shown_by(&object("u", "6")), "somebody wrote later: one look tells that ours is in it");
        assert!(own.shown_by(&object("other", "1")));
    }

    #[test]
    fn each_object_waits_once() {
        let own = OwnWrites::default();
        assert!(own.waits_first(&object("u", "1")));
        assert!(!own.waits_first(&object("u", "2")));
        assert!(own.waits_first(&object("v", "1")));
    }
}
