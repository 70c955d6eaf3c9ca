//! Which copies of the cache show this process's own last write: in place of the others stands what was written, or they
//! are read anew.
//!
//! A copy that somebody else's write is missing from is a moment old, and the next event wakes its reconciler again. One
//! that misses our own would make us do again what we did.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use duo_api::annotations::FINALIZER;
use duo_runtime::Uid;
use duo_runtime::metadata::{self, Changed};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::grace::Grace;

/// Objects remembered; an operator has far fewer.
const MOST: usize = 100_000;
/// Versions of one object that are remembered as older, while the cache shows none newer.
const MOST_UNSEEN: usize = 8;
/// How long something new may be silent while what it rests on is as new and about to say something: else each of them
/// would tell each step of the other in its own status.
const SILENCE: Duration = Duration::from_secs(8);

/// By uid: our last write. A clone shares it.
#[derive(Clone)]
pub(crate) struct OwnWrites {
    written: Arc<Mutex<HashMap<Uid, Written>>>,
    /// For new objects.
    silent: Arc<Grace>,
}

/// What our last write made of an object.
struct Written {
    version: Box<str>,
    /// `None` once the cache has shown it.
    unseen: Option<Box<Unseen>>,
}

/// What the cache does not show yet.
struct Unseen {
    /// Resource versions that are older for certain: each was written from.
    before: Vec<String>,
    object: Arc<dyn Any + Send + Sync>,
}

/// What is known of a copy.
enum Copy<K> {
    /// It shows our last write, or there was none.
    Shows,
    /// It is older; this is newer.
    Older(Arc<K>),
    /// Somebody else has written too, before ours or after it.
    Unclear,
}

impl Default for OwnWrites {
    fn default() -> Self {
        Self { written: Arc::default(), silent: Arc::new(Grace::new(SILENCE)) }
    }
}

impl OwnWrites {
    /// Notes what became of an object by a write of ours. `from`: the resource version that it was made from.
    pub(crate) fn note<K: Resource + Clone + Send + Sync + 'static>(&self, from: Option<&str>, object: &K) {
        let (Some(_), Some(version)) = (&object.meta().uid, object.resource_version()) else { return };
        let uid = Uid::of(object);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() >= MOST {
            written.clear();
        }
        let last = written.remove(&uid);
        if last.as_ref().is_some_and(|last| *last.version == version) {
            // Nothing was written.
            written.extend(last.map(|last| (uid, last)));
            return;
        }
        let mut before = last.and_then(|last| last.unseen).map(|unseen| unseen.before).unwrap_or_default();
        before.extend(from.map(str::to_owned));
        before.dedup();
        before.retain(|before| *before != version);
        before.drain(..before.len().saturating_sub(MOST_UNSEEN));
        let unseen = (!before.is_empty()).then(|| {
            let mut object = object.clone();
            object.meta_mut().managed_fields = None;
            Box::new(Unseen { before, object: Arc::new(object) })
        });
        written.insert(uid, Written { version: version.into(), unseen });
    }

    /// The cache shows this now: what was written is kept no longer, unless it is newer for certain.
    pub(crate) fn shown<K: Resource>(&self, copy: &K) {
        let Some(version) = &copy.meta().resource_version else { return };
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = written.get_mut(&Uid::of(copy)) {
            last.unseen.take_if(|unseen| !unseen.before.contains(version));
        }
    }

    fn look<K: Resource + Send + Sync + 'static>(&self, copy: &K) -> Copy<K> {
        let Some(version) = copy.resource_version() else { return Copy::Shows };
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = written.get_mut(&Uid::of(copy)) else { return Copy::Shows };
        if *last.version == version {
            return Copy::Shows;
        }
        let newer = last.unseen.as_ref().filter(|unseen| unseen.before.contains(&version));
        match newer.and_then(|unseen| Arc::downcast(Arc::clone(&unseen.object)).ok()) {
            Some(object) => Copy::Older(object),
            None => Copy::Unclear,
        }
    }

    /// For how long a new object may still be silent; `None`: no longer.
    pub(crate) fn may_be_silent<K: Resource>(&self, object: &K, now: Instant) -> Option<Duration> {
        self.silent.left(object, now)
    }

    /// Forgets all but these objects.
    pub(crate) fn keep(&self, uids: &HashSet<Uid>) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, _| uids.contains(uid));
        self.silent.keep(uids);
    }

    /// An object that has spoken, or is gone.
    pub(crate) fn speaks<K: Resource>(&self, object: &K) {
        self.silent.end(object);
    }

    /// The object, not older than our last write; `None` when it is gone. One that `holds` something outside of the cluster
    /// has our finalizer then; the others get it with the first mark.
    pub(crate) async fn live<K>(&self, api: &Api<K>, copy: &K, holds: bool) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
    {
        let (known, newer) = match self.look(copy) {
            Copy::Shows => (true, None),
            Copy::Older(written) => (true, Some(written)),
            Copy::Unclear => (false, None),
        };
        let copy = newer.as_deref().unwrap_or(copy);
        let marked = copy.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
        if known && (marked || !holds) {
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
                self.note(copy.meta().resource_version.as_deref(), &live);
                Some(live)
            }
            // The cache has caught up, perhaps with somebody else's later write.
            Changed::Already(live) => {
                if live.resource_version() == copy.resource_version() {
                    self.note(None, &live);
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
        let known = |version: &str| match own.look(&object("u", version)) {
            Copy::Shows => version.to_owned(),
            Copy::Older(written) => written.resource_version().unwrap(),
            Copy::Unclear => "?".to_owned(),
        };
        assert_eq!(known("1"), "1", "nothing was written");
        own.note(Some("1"), &object("u", "5"));
        assert_eq!(known("1"), "5");
        assert_eq!(known("3"), "?", "somebody wrote too, and who was first is not known");
        own.note(Some("5"), &object("u", "7"));
        own.note(Some("5"), &object("u", "7"));
        assert_eq!((known("1"), known("5")), ("7".to_owned(), "7".to_owned()));
        own.shown(&object("u", "5"));
        assert_eq!((known("5"), known("7")), ("7".to_owned(), "7".to_owned()));
        own.shown(&object("u", "7"));
        assert_eq!(known("7"), "7");
        assert_eq!(known("5"), "?", "a list of before: what was written is kept only until the cache has shown it");
        assert_eq!(known("8"), "?", "somebody wrote later: one look tells that ours is in it");
        assert!(matches!(own.look(&object("other", "1")), Copy::Shows));
    }

    #[test]
    fn only_so_many_versions_are_kept_of_an_object_whose_watch_is_silent() {
        let own = OwnWrites::default();
        for version in 1..100 {
            own.note(Some(&version.to_string()), &object("u", &(version + 1).to_string()));
        }
        assert!(matches!(own.look(&object("u", "99")), Copy::Older(_)));
        assert!(matches!(own.look(&object("u", "91")), Copy::Unclear));
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
