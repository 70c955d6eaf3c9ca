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

#[derive(Default)]
struct Groups {
    /// By gateway.
    names: HashMap<Key, BTreeSet<String>>,
    /// By object: its gateway. One that was replaced unseen may belong to another.
    gateways: HashMap<Key, String>,
}

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
    /// Takes in an object that came, changed or went.
    pub(super) fn take(&self, object: &K, deleted: bool) {
        let namespace = object.namespace().unwrap_or_default();
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.clone(), object.name_any());
        let before = groups.gateways.remove(&key);
        if let Some(before) = before.filter(|before| deleted || before != object.gateway()) {
            let gateway = (namespace.clone(), before);
            let left = groups.names.get_mut(&gateway).is_some_and(|names| {
                names.remove(&key.1);
                names.is_empty()
            });
            if left {
                groups.names.remove(&gateway);
            }
        }
        if !deleted {
            groups.names.entry((namespace, object.gateway().to_owned())).or_default().insert(key.1.clone());
            groups.gateways.insert(key, object.gateway().to_owned());
        }
    }

    /// Names of what belongs to a gateway.
    pub(crate) fn of(&self, namespace: &str, gateway: &str) -> Vec<String> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        let names = groups.names.get(&(namespace.to_owned(), gateway.to_owned()));
        names.map(|names| names.iter().cloned().collect()).unwrap_or_default()
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
        index.take(&assignment("a", "one", "duo"), false);
        index.take(&assignment("a", "two", "duo"), false);
        index.take(&assignment("b", "one", "duo"), false);
        index.take(&assignment("a", "one", "duo"), false);
        assert_eq!(index.of("a", "duo"), ["one", "two"]);
        assert_eq!(index.of("b", "duo"), ["one"]);
        // deleted and made anew for another gateway while the watch was interrupted
        index.take(&assignment("a", "one", "other"), false);
        assert_eq!((index.of("a", "duo"), index.of("a", "other")), (vec!["two".to_owned()], vec!["one".to_owned()]));
        index.take(&assignment("a", "two", "duo"), true);
        index.take(&assignment("a", "two", "duo"), true);
        assert!(index.of("a", "duo").is_empty());
        assert_eq!(index.groups.read().unwrap().names.len(), 2, "nothing is kept of what is gone");
    }
}
