//! Which models and assignments belong to which gateway: asked in every reconcile, so it is not looked for among all.

use std::collections::{BTreeSet, HashMap};
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError, RwLock};

use duo_api::{FeatureAssignment, SelfHostedModel};
use kube::ResourceExt;

/// A kind that belongs to a gateway of its namespace.
pub(crate) trait Dependent: ResourceExt {
    /// The gateway's name.
    fn gateway(&self) -> &str;
}

impl Dependent for SelfHostedModel {
    fn gateway(&self) -> &str {
        &self.spec.gateway_ref.name
    }
}

impl Dependent for FeatureAssignment {
    fn gateway(&self) -> &str {
        &self.spec.gateway_ref.name
    }
}

/// Namespace and name.
type Key = (String, String);

/// Names by gateway. A clone shares it.
pub(crate) struct Index<K> {
    groups: Arc<RwLock<Groups>>,
    of: PhantomData<fn() -> K>,
}

/// Names of objects by gateway.
type Groups = HashMap<Key, BTreeSet<Box<str>>>;

impl<K> Clone for Index<K> {
    fn clone(&self) -> Self {
        Self { groups: Arc::clone(&self.groups), of: PhantomData }
    }
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self { groups: Arc::default(), of: PhantomData }
    }
}

impl<K: Dependent> Index<K> {
    /// Takes in an object that came, changed or went. `before`: as it was; one that was replaced unseen may have belonged to
    /// another gateway.
    pub(super) fn take(&self, object: &K, before: Option<&K>, deleted: bool) {
        let key = |object: &K| (object.namespace().unwrap_or_default(), object.gateway().to_owned());
        let name = object.name_any();
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let mut leave = |gateway: Key| {
            let left = groups.get_mut(&gateway).is_some_and(|names| {
                names.remove(name.as_str());
                names.is_empty()
            });
            if left {
                groups.remove(&gateway);
            }
        };
        if let Some(before) = before.filter(|before| deleted || before.gateway() != object.gateway()) {
            leave(key(before));
        }
        if deleted {
            leave(key(object));
        } else {
            groups.entry(key(object)).or_default().insert(name.into());
        }
    }

    /// Names of what belongs to a gateway.
    pub(crate) fn of(&self, namespace: &str, gateway: &str) -> Vec<String> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        let names = groups.get(&(namespace.to_owned(), gateway.to_owned()));
        names.map(|names| names.iter().map(|name| name.to_string()).collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn assignment(namespace: &str, name: &str, gateway: &str) -> FeatureAssignment {
        serde_json::from_value(json!({
            "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": "FeatureAssignment",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"gatewayRef": {"name": gateway}, "features": ["DuoChat"], "provider": "Disabled"},
        }))
        .unwrap()
    }

    #[test]
    fn objects_come_change_hands_and_go() {
        let index = Index::default();
        let (one, two) = (assignment("a", "one", "duo"), assignment("a", "two", "duo"));
        index.take(&one, None, false);
        index.take(&two, None, false);
        index.take(&assignment("b", "one", "duo"), None, false);
        index.take(&one, Some(&one), false);
        assert_eq!(index.of("a", "duo"), ["one", "two"]);
        assert_eq!(index.of("b", "duo"), ["one"]);
        // deleted and made anew for another gateway while the watch was interrupted
        let other = assignment("a", "one", "other");
        index.take(&other, Some(&one), false);
        assert_eq!((index.of("a", "duo"), index.of("a", "other")), (vec!["two".to_owned()], vec!["one".to_owned()]));
        // the same, and deleted before it was seen
        let last = assignment("a", "one", "third");
        index.take(&last, Some(&other), true);
        index.take(&two, Some(&two), true);
        index.take(&two, None, true);
        assert!(["duo", "other", "third"].iter().all(|gateway| index.of("a", gateway).is_empty()));
        assert_eq!(index.groups.read().unwrap().len(), 1, "nothing is kept of what is gone");
    }
}
