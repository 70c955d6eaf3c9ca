//! The cache of one kind, filled by the watches of one or several namespaces. Knows nothing of who is woken.
//!
//! The reflector's own store takes a list as the whole world; here each list is the world of its namespace only. So a
//! list that is repeated touches no other namespace, and what disappeared while its watch was interrupted is a
//! deletion like any other.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use kube::Resource;
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;

/// An object that came, changed or went.
pub(super) struct Change<K> {
    pub(super) object: Arc<K>,
    /// As it was before: whom it concerned then, its change concerns too.
    pub(super) before: Option<Arc<K>>,
    pub(super) deleted: bool,
}

impl<K> Change<K> {
    fn new(object: Arc<K>, deleted: bool) -> Self {
        Self { object, before: None, deleted }
    }
}

/// A cache and how far its watches are.
pub(super) struct Cache<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + 'static,
{
    writer: Writer<K>,
    store: Store<K>,
    watches: Vec<Watch<K>>,
    kind: &'static str,
    filled: bool,
    opened: bool,
}

struct Watch<K: Resource<DynamicType = ()>> {
    /// `None`: all.
    namespace: Option<String>,
    listed: bool,
    /// The list that is arriving; `None` for an object that is there but cannot be read.
    list: HashMap<ObjectRef<K>, Option<K>>,
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + 'static,
{
    /// An empty cache for watches of these namespaces, by their order.
    pub(super) fn new(writer: Writer<K>, namespaces: Vec<Option<String>>, kind: &'static str) -> Self {
        let watch = |namespace| Watch { namespace, listed: false, list: HashMap::new() };
        let store = writer.as_reader();
        Self { writer, store, watches: namespaces.into_iter().map(watch).collect(), kind, filled: false, opened: false }
    }

    /// Takes in what a watch says. Nothing is told before the lists of all namespaces are complete; then everything is.
    pub(super) fn take(&mut self, watch: usize, event: Event<DeserializeGuard<K>>) -> Vec<Change<K>> {
        let mut changes = self.changes(watch, event);
        for change in &mut changes {
            change.before = self.store.get(&ObjectRef::from_obj(change.object.as_ref()));
            let object = change.object.as_ref().clone();
            let event = if change.deleted { Event::Delete(object) } else { Event::Apply(object) };
            self.writer.apply_watcher_event(&event);
        }
        if self.filled {
            return changes;
        }
        if !self.watches.iter().all(|watch| watch.listed) {
            return Vec::new();
        }
        self.filled = true;
        self.store.state().into_iter().map(|object| Change::new(object, false)).collect()
    }

    /// Lets the readers begin, once everything is listed and has been told. True the first time.
    pub(super) fn open(&mut self) -> bool {
        if !self.filled || std::mem::replace(&mut self.opened, true) {
            return false;
        }
        let state = self.store.state();
        self.writer.apply_watcher_event(&Event::Init);
        for object in &state {
            self.writer.apply_watcher_event(&Event::InitApply(object.as_ref().clone()));
        }
        self.writer.apply_watcher_event(&Event::InitDone);
        true
    }

    fn changes(&mut self, at: usize, event: Event<DeserializeGuard<K>>) -> Vec<Change<K>> {
        let kind = self.kind;
        let Some(watch) = self.watches.get_mut(at) else { return Vec::new() };
        match event {
            Event::Init => {
                watch.list.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                let (key, object) = read(object, kind);
                watch.list.insert(key, object);
                Vec::new()
            }
            Event::InitDone => {
                watch.listed = true;
                let list = std::mem::take(&mut watch.list);
                let namespace = watch.namespace.as_deref();
                let gone = self
                    .store
                    .state()
                    .into_iter()
                    .filter(|object| namespace.is_none() || object.meta().namespace.as_deref() == namespace)
                    .filter(|object| !list.contains_key(&ObjectRef::from_obj(object.as_ref())))
                    .map(|object| Change::new(object, true))
                    .collect::<Vec<_>>();
                let there = list.into_values().flatten().map(|object| Change::new(object.into(), false));
                there.chain(gone).collect()
            }
            Event::Apply(object) => {
                read(object, kind).1.map(|object| Change::new(object.into(), false)).into_iter().collect()
            }
            Event::Delete(object) => {
                let (key, object) = read(object, kind);
                // One that could not be read at last is gone all the same.
                let object = object.map(Arc::new).or_else(|| self.store.get(&key));
                object.map(|object| Change::new(object, true)).into_iter().collect()
            }
        }
    }
}

/// An object by its name; one that cannot be read is named in the log.
fn read<K>(object: DeserializeGuard<K>, kind: &str) -> (ObjectRef<K>, Option<K>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match object.0 {
        Ok(object) => (ObjectRef::from_obj(&object), Some(object)),
        Err(invalid) => {
            let namespace = invalid.metadata.namespace.as_deref().unwrap_or_default();
            let name = invalid.metadata.name.as_deref().unwrap_or_default();
            tracing::error!(
                kind,
                namespace,
                name,
                error = invalid.error,
                "object cannot be read and is left out; apply it again in the form of the installed CRD"
            );
            (ObjectRef::new(name).within(namespace), None)
        }
    }
}

#[cfg(test)]
mod tests {
    use duo_api::FeatureAssignment;
    use kube::ResourceExt;
    use kube::core::error_boundary::InvalidObject;
    use kube::runtime::reflector;
    use serde_json::json;

    use super::*;

    type Guarded = DeserializeGuard<FeatureAssignment>;

    fn object(namespace: &str, name: &str) -> Guarded {
        let object = json!({
            "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": "FeatureAssignment",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"gatewayRef": {"name": "duo"}, "features": ["DuoChat"], "provider": "Disabled"},
        });
        DeserializeGuard(Ok(serde_json::from_value(object).unwrap()))
    }

    fn unreadable(namespace: &str, name: &str) -> Guarded {
        let metadata = object(namespace, name).0.unwrap().metadata;
        DeserializeGuard(Err(InvalidObject { error: "unknown variant".to_owned(), metadata }))
    }

    fn cache(namespaces: &[Option<&str>]) -> (Store<FeatureAssignment>, Cache<FeatureAssignment>) {
        let (store, writer) = reflector::store();
        let namespaces = namespaces.iter().map(|namespace| namespace.map(ToOwned::to_owned)).collect();
        (store, Cache::new(writer, namespaces, "FeatureAssignment"))
    }

    fn list(cache: &mut Cache<FeatureAssignment>, watch: usize, objects: Vec<Guarded>) -> Vec<String> {
        assert!(cache.take(watch, Event::Init).is_empty());
        for object in objects {
            assert!(cache.take(watch, Event::InitApply(object)).is_empty());
        }
        told(cache.take(watch, Event::InitDone))
    }

    fn told(changes: Vec<Change<FeatureAssignment>>) -> Vec<String> {
        let sign = |deleted| if deleted { '-' } else { '+' };
        let mut told: Vec<_> = changes.iter().map(|c| format!("{}{}", sign(c.deleted), c.object.name_any())).collect();
        told.sort();
        told
    }

    fn names(store: &Store<FeatureAssignment>) -> Vec<String> {
        let mut names: Vec<_> = store.state().iter().map(|object| object.name_any()).collect();
        names.sort();
        names
    }

    fn ready(store: &Store<FeatureAssignment>) -> bool {
        use futures::FutureExt;
        store.wait_until_ready().now_or_never().is_some()
    }

    #[test]
    fn nobody_is_told_before_all_namespaces_are_listed() {
        let (store, mut cache) = cache(&[Some("a"), Some("b")]);
        assert!(list(&mut cache, 1, vec![object("b", "b1")]).is_empty());
        assert!(!ready(&store));
        assert_eq!(list(&mut cache, 0, vec![object("a", "a1")]), ["+a1", "+b1"]);
        assert!(!ready(&store), "who belongs to whom is noted first");
        assert!(cache.open() && !cache.open());
        assert!(ready(&store));
        assert_eq!(names(&store), ["a1", "b1"]);
    }

    #[test]
    fn changes_in_one_namespace_while_another_is_still_being_listed_are_kept() {
        let (store, mut cache) = cache(&[Some("a"), Some("b")]);
        list(&mut cache, 1, vec![object("b", "b1"), object("b", "b2")]);
        cache.take(1, Event::Apply(object("b", "b3")));
        cache.take(1, Event::Delete(object("b", "b1")));
        // The first list of the other namespace failed and begins again.
        cache.take(0, Event::Init);
        assert_eq!(list(&mut cache, 0, vec![object("a", "a1")]), ["+a1", "+b2", "+b3"]);
        assert_eq!(names(&store), ["a1", "b2", "b3"]);
    }

    #[test]
    fn a_list_that_begins_again_does_not_lose_the_other_namespaces_list_under_way() {
        let (store, mut cache) = cache(&[Some("a"), Some("b")]);
        cache.take(0, Event::Init);
        cache.take(1, Event::Init);
        cache.take(1, Event::InitApply(object("b", "b1")));
        assert!(list(&mut cache, 0, vec![object("a", "a1")]).is_empty());
        assert_eq!(told(cache.take(1, Event::InitDone)), ["+a1", "+b1"]);
        assert_eq!(names(&store), ["a1", "b1"]);
    }

    #[test]
    fn what_was_deleted_while_a_watch_was_interrupted_is_told_as_deleted() {
        for namespaces in [vec![None], vec![Some("a"), Some("b")]] {
            let (store, mut cache) = cache(&namespaces);
            let others = if namespaces.len() == 1 { Vec::new() } else { vec!["b1"] };
            if !others.is_empty() {
                list(&mut cache, 1, vec![object("b", "b1")]);
            }
            list(&mut cache, 0, vec![object("a", "a1"), object("a", "a2")]);
            assert_eq!(list(&mut cache, 0, vec![object("a", "a2")]), ["+a2", "-a1"]);
            assert_eq!(names(&store), [vec!["a2"], others].concat());
        }
    }

    #[test]
    fn an_object_that_cannot_be_read_any_more_stays_as_it_was_until_it_is_deleted() {
        let (store, mut cache) = cache(&[None]);
        list(&mut cache, 0, vec![object("a", "a1"), unreadable("a", "never")]);
        assert!(told(cache.take(0, Event::Apply(unreadable("a", "a1")))).is_empty());
        assert!(list(&mut cache, 0, vec![unreadable("a", "a1")]).is_empty());
        assert_eq!(names(&store), ["a1"]);
        assert_eq!(told(cache.take(0, Event::Delete(unreadable("a", "a1")))), ["-a1"]);
        assert!(names(&store).is_empty());
    }
}
