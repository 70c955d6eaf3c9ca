//! Which copies of the cache show this process's own last write: the others are read anew before they are judged.
//!
//! A copy that somebody else's write is missing from is a moment old, and the next event wakes its reconciler again. One
//! that misses our own would make us do again what we did.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use duo_api::annotations::FINALIZER;
use duo_runtime::metadata::{self, Changed};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::grace::Grace;

/// Objects remembered; an operator has far fewer.
const MOST: usize = 100_000;
/// How long something new may be silent while what it rests on is as new and about to say something: else each of them
/// would tell each step of the other in its own status.
const SILENCE: Duration = Duration::from_secs(8);

/// By uid: the resource version that our last write made. A clone shares it.
#[derive(Clone)]
pub(crate) struct OwnWrites {
    versions: Arc<Mutex<HashMap<String, String>>>,
    /// For new objects.
    silent: Arc<Grace>,
}

impl Default for OwnWrites {
    fn default() -> Self {
        Self { versions: Arc::default(), silent: Arc::new(Grace::new(SILENCE)) }
    }
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

    /// For how long a new object may still be silent; `None`: no longer.
    pub(crate) fn may_be_silent<K: Resource>(&self, object: &K, now: Instant) -> Option<Duration> {
        self.silent.left(object, now)
    }

    /// An object that has spoken, or is gone.
    pub(crate) fn speaks<K: Resource>(&self, object: &K) {
        self.silent.end(object);
    }

    /// The object, not older than our last write; `None` when it is gone. One that `holds` something outside of the cluster
    /// has our finalizer then; the others get it with the first mark.
    pub(crate) async fn live<K>(&self, api: &Api<K>, copy: &K, holds: bool) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
    {
        let marked = copy.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
        let shown = self.shown_by(copy);
        if shown && (marked || !holds) {
            return Ok(Some(copy.clone()));
        }
        let changed = if marked || !holds {
            match metadata::read(api, copy).await? {
                Some(live) => Changed::Already(live),
                None => Changed::Gone,
            }
        } else {
            metadata::add_finalizer(api, copy, FINALIZER).await?
        };
        Ok(match changed {
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
    fn a_new_object_is_silent_for_a_while_however_often_it_is_asked() {
        let (own, now) = (OwnWrites::default(), Instant::now());
        assert_eq!(own.may_be_silent(&object("u", "1"), now), Some(SILENCE));
        let later = now + SILENCE / 4;
        assert_eq!(own.may_be_silent(&object("u", "2"), later), Some(SILENCE - SILENCE / 4));
        assert_eq!(own.may_be_silent(&object("v", "1"), later), Some(SILENCE), "each for itself");
        assert_eq!(own.may_be_silent(&object("u", "2"), now + SILENCE), None);
        own.speaks(&object("u", "2"));
        assert!(own.silent.waiting() == 1, "nothing is kept of those who speak");
    }
}
