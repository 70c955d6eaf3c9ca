//! Server-side apply under one field manager, without a write when nothing would change; pruning by label and owner.

use std::{
    collections::{BTreeSet, HashMap, hash_map::DefaultHasher},
    fmt::Debug,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    compare::{Difference, declaration, difference, owned_part},
    error::{Error, Result, call},
};

/// Whether a write happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The object did not exist.
    Created,
    /// The object was changed.
    Applied,
    /// Nothing was written.
    Unchanged,
}

/// An applied object as the API server has it.
#[derive(Debug, Clone)]
pub struct Applied<K> {
    /// Whether a write happened.
    pub change: Change,
    /// The live object.
    pub object: K,
}

/// Applies objects under one field manager. One per controller. Cheap to clone.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    manager: Arc<str>,
    /// By uid: what was applied and what the API server made of it. While both are the same, applying again is known to
    /// change nothing, even where the comparison cannot tell a default from a leftover.
    settled: Arc<Mutex<HashMap<String, (u64, u64)>>>,
    /// What was found as declared a moment ago, until a watch tells of another version of it.
    seen: Arc<Mutex<HashMap<Name, Seen>>>,
    /// How long that counts.
    trusts: Duration,
}

/// Kind, namespace and name of an object.
type Name = (String, String, String);

/// An object that was as declared.
struct Seen {
    declared: u64,
    version: Option<String>,
    at: Instant,
}

/// Most objects remembered as settled; an operator has far fewer.
const MOST_SETTLED: usize = 100_000;

/// Whether a live object is somebody else's. One that carries all our labels without our owner was left behind by a
/// deletion that orphaned it.
fn is_foreign(desired: &ObjectMeta, live: &ObjectMeta) -> bool {
    let owners = |meta: &ObjectMeta| -> BTreeSet<String> {
        meta.owner_references.iter().flatten().map(|owner| owner.uid.clone()).collect()
    };
    let ours = owners(desired);
    let labels = |meta: &ObjectMeta| meta.labels.clone().unwrap_or_default();
    let (declared, found) = (labels(desired), labels(live));
    let labelled = !declared.is_empty() && declared.iter().all(|(key, value)| found.get(key) == Some(value));
    !ours.is_empty() && ours.is_disjoint(&owners(live)) && !labelled
}

impl Applier {
    /// `manager` names the controller in `managedFields`; it must never change between versions.
    pub fn new(client: Client, manager: &str) -> Self {
        Self { client, manager: manager.into(), settled: Arc::default(), seen: Arc::default(), trusts: Duration::ZERO }
    }

    /// What was found as declared is not read again for so long by [`Applier::keep`], unless a watch tells a change of it:
    /// give each event to [`Applier::told`], and each new list to [`Applier::doubt`].
    #[must_use]
    pub fn trusting(self, trusts: Duration) -> Self {
        Self { trusts, ..self }
    }

    /// Applies an object of which nobody needs to know what the API server has of it; see [`Applier::apply`].
    ///
    /// # Errors
    /// As those of [`Applier::apply`].
    pub async fn keep<K>(&self, desired: &K) -> Result<Change>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let name = name(desired);
        let declared = hash(&to_json(desired, || format!("apply {} {}", name.0, name.2))?);
        let known =
            self.seen().get(&name).is_some_and(|seen| seen.declared == declared && seen.at.elapsed() < self.trusts);
        if known {
            return Ok(Change::Unchanged);
        }
        // Before it is read: what changes from now on is told from now on.
        let at = Instant::now();
        self.seen().remove(&name);
        let applied = self.apply(desired, None).await?;
        if !self.trusts.is_zero() {
            let mut seen = self.seen();
            if seen.len() >= MOST_SETTLED {
                seen.clear();
            }
            seen.insert(name, Seen { declared, version: applied.object.resource_version(), at });
        }
        Ok(applied.change)
    }

    /// A watch tells that an object has this resource version now; `None`: it is gone.
    pub fn told(&self, kind: &str, namespace: &str, name: &str, version: Option<&str>) {
        let mut seen = self.seen();
        if seen.is_empty() {
            return;
        }
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        if seen.get(&key).is_some_and(|seen| version.is_none() || seen.version.as_deref() != version) {
            seen.remove(&key);
        }
    }

    /// A watch begins anew: what happened in between nobody tells.
    pub fn doubt(&self) {
        self.seen().clear();
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<Name, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Name of the field manager.
    pub fn manager(&self) -> &str {
        &self.manager
    }

    /// Applies a namespaced object. `live` is the cached object with its `managedFields`; without one it is read now.
    ///
    /// `desired` holds only what is declared: no `status`, no defaults, no `stringData`. Conflicts are forced: what is
    /// declared here is ours. An object that is declared with an owner is not taken from somebody else: a live one that has
    /// neither that owner nor all declared labels is [`Error::Foreign`].
    pub async fn apply<K>(&self, desired: &K, live: Option<&K>) -> Result<Applied<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let namespace = desired.namespace().ok_or_else(|| Error::Object {
            what: format!("apply {} {}", K::kind(&()), desired.name_any()),
            why: "no namespace".into(),
        })?;
        self.apply_with(&Api::namespaced(self.client.clone(), &namespace), desired, live).await
    }

    async fn apply_with<K>(&self, api: &Api<K>, desired: &K, live: Option<&K>) -> Result<Applied<K>>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let (kind, name) = (K::kind(&()), desired.name_any());
        let what = |verb: &str| format!("{verb} {kind} {name}");
        let declared = declaration(to_json(desired, || what("apply"))?);
        let live = match live {
            Some(live) => Some(live.clone()),
            None => call(what("get"), api.get_opt(&name)).await?,
        };
        let mut before = None;
        if let Some(live) = &live {
            if is_foreign(desired.meta(), live.meta()) {
                return Err(Error::Foreign { what: what("apply"), manager: self.manager.to_string() });
            }
            let json = to_json(live, || what("compare"))?;
            before = Some(hash(&owned_part(&json, &self.manager)));
            match self.needs_apply(&declared, &json) {
                None => return Ok(Applied { change: Change::Unchanged, object: live.clone() }),
                Some(Difference { path, what }) => {
                    tracing::debug!(kind = %kind, name, path, what, "apply is needed");
                }
            }
        }
        let params = PatchParams::apply(&self.manager).force();
        let object = call(what("apply"), api.patch(&name, &params, &Patch::Apply(&declared))).await?;
        let after = self.settle(&declared, &to_json(&object, || what("compare"))?);
        let change = match before {
            None => Change::Created,
            // the resource version moves with other writers, too
            Some(before) if before == after => Change::Unchanged,
            Some(_) => Change::Applied,
        };
        Ok(Applied { change, object })
    }

    fn needs_apply(&self, declared: &Value, live: &Value) -> Option<Difference> {
        let found = difference(declared, live, &self.manager)?;
        let known = (hash(declared), hash(&owned_part(live, &self.manager)));
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        (settled.get(uid(live)) != Some(&known)).then_some(found)
    }

    /// Remembers what the API server made of a declaration; answers with the hash of what we own now.
    fn settle(&self, declared: &Value, live: &Value) -> u64 {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if settled.len() >= MOST_SETTLED {
            settled.clear();
        }
        let known = (hash(declared), hash(&owned_part(live, &self.manager)));
        settled.insert(uid(live).to_owned(), known);
        known.1
    }

    /// Deletes objects of a kind that carry the labels, belong to the owner and are not to be kept. Returns their names.
    ///
    /// Each deletion names the uid it means, so an object that was replaced meanwhile survives.
    pub async fn prune<K>(
        &self,
        namespace: &str,
        label_selector: &str,
        owner_uid: &str,
        keep: &BTreeSet<String>,
    ) -> Result<Vec<String>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + DeserializeOwned + Clone + Debug,
    {
        let kind = K::kind(&());
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let list = ListParams::default().labels(label_selector);
        let found = call(format!("list {kind} in {namespace}"), api.list_metadata(&list)).await?;
        let mut deleted = Vec::new();
        for object in found.items.iter().filter(|o| is_surplus(&o.metadata, owner_uid, keep)) {
            let name = object.name_any();
            let params = DeleteParams::background()
                .preconditions(Preconditions { uid: object.metadata.uid.clone(), resource_version: None });
            match call(format!("delete {kind} {name}"), api.delete(&name, &params)).await {
                Ok(_) => deleted.push(name),
                Err(e) if e.is_not_found() || e.is_conflict() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(deleted)
    }
}

fn is_surplus(metadata: &ObjectMeta, owner_uid: &str, keep: &BTreeSet<String>) -> bool {
    let owned = metadata.owner_references.iter().flatten().any(|o| o.uid == owner_uid);
    let kept = metadata.name.as_ref().is_none_or(|name| keep.contains(name));
    owned && !kept && metadata.deletion_timestamp.is_none()
}

fn to_json(object: &impl Serialize, what: impl Fn() -> String) -> Result<Value> {
    serde_json::to_value(object).map_err(|e| Error::Object { what: what(), why: e.to_string() })
}

fn name<K: Resource<DynamicType = ()>>(object: &K) -> Name {
    (K::kind(&()).into_owned(), object.namespace().unwrap_or_default(), object.name_any())
}

fn uid(live: &Value) -> &str {
    live.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default()
}

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_without_our_owner_and_labels_is_foreign() {
        let meta = |owner: Option<&str>, labels: &[(&str, &str)]| ObjectMeta {
            owner_references: owner.map(|uid| vec![OwnerReference { uid: uid.into(), ..Default::default() }]),
            labels: Some(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
            ..Default::default()
        };
        let declared = [("app", "gateway"), ("of", "duo")];
        let desired = meta(Some("u1"), &declared);
        for (live, foreign) in [
            (meta(Some("u1"), &[]), false),
            (meta(None, &declared), false),
            (meta(None, &[("app", "gateway")]), true),
            (meta(None, &[]), true),
            (meta(Some("u2"), &[("of", "duo")]), true),
        ] {
            assert_eq!(is_foreign(&desired, &live), foreign, "{live:?}");
        }
        assert!(is_foreign(&meta(Some("u1"), &[]), &meta(None, &[])), "no labels prove nothing");
        assert!(!is_foreign(&meta(None, &declared), &meta(None, &[])), "who declares no owner claims nothing");
    }

    #[test]
    fn only_owned_objects_that_are_not_kept_are_surplus() {
        let meta = |name: &str, owner: &str| ObjectMeta {
            name: Some(name.into()),
            owner_references: Some(vec![OwnerReference { uid: owner.into(), ..Default::default() }]),
            ..Default::default()
        };
        let keep = BTreeSet::from(["kept".to_owned()]);
        assert!(is_surplus(&meta("old", "us"), "us", &keep));
        assert!(!is_surplus(&meta("kept", "us"), "us", &keep));
        assert!(!is_surplus(&meta("old", "another"), "us", &keep));
        assert!(!is_surplus(&ObjectMeta { name: Some("old".into()), ..Default::default() }, "us", &keep));
        let going = ObjectMeta {
            deletion_timestamp: Some(serde_json::from_value(json!("2026-11-22T10:00:00Z")).unwrap()),
            ..meta("old", "us")
        };
        assert!(!is_surplus(&going, "us", &keep));
    }

    #[test]
    fn status_and_other_writers_do_not_unsettle() {
        let live = |status: i32, theirs: i32, image: &str| {
            json!({"metadata": {"uid": "u", "resourceVersion": status.to_string(), "annotations": {"theirs": theirs}, "managedFields": [
                {"manager": "us", "operation": "Apply", "fieldsV1": {"f:spec": {"f:a": {}, "f:c": {"k:{\"name\":\"g\"}": {".": {}, "f:image": {}}}}}},
                {"manager": "them", "operation": "Update", "time": status.to_string(), "fieldsV1": {"f:metadata": {}}}]},
                "spec": {"a": 1, "b": theirs, "c": [{"name": "x"}, {"name": "g", "image": image, "pull": theirs}]}, "status": {"replicas": status}})
        };
        let part = |live: Value| owned_part(&live, "us");
        assert_eq!(part(live(1, 1, "i")), part(live(2, 5, "i")));
        assert_ne!(part(live(1, 1, "i")), part(live(1, 1, "j")));
    }
}
