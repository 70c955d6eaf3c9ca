//! Finalizers and annotations, changed on the live object under its resource version.

use std::{collections::BTreeMap, fmt::Debug};

use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::error::{Error, Result, call};

/// Races with other writers before giving up; the caller's backoff goes on from there.
const ATTEMPTS: usize = 4;

/// What became of an object that was to be changed.
#[derive(Debug, Clone)]
pub enum Changed<K> {
    /// It was changed.
    Now(K),
    /// It was so already; nothing was written.
    Already(K),
    /// It does not exist any more.
    Gone,
}

/// Adds a finalizer. Do so before the first external write. An object that is being deleted takes no new finalizer:
/// then the error is a transient conflict or an invalid object, and the caller comes back to see the deletion.
pub async fn add_finalizer<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<Changed<K>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    change_finalizers(api, object, |list| {
        if list.iter().any(|f| f == finalizer) {
            return false;
        }
        list.push(finalizer.to_owned());
        true
    })
    .await
}

/// Removes a finalizer; with the last one the object goes.
pub async fn remove_finalizer<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<Changed<K>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    change_finalizers(api, object, |list| {
        let before = list.len();
        list.retain(|f| f != finalizer);
        list.len() != before
    })
    .await
}

async fn change_finalizers<K>(api: &Api<K>, object: &K, change: impl Fn(&mut Vec<String>) -> bool) -> Result<Changed<K>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    change_live(api, object, "finalizers", |live| {
        let mut list = live.finalizers().to_vec();
        change(&mut list).then(|| json!({ "finalizers": list }))
    })
    .await
}

/// Sets (`Some`) and removes (`None`) annotations.
pub async fn set_annotations<K>(
    api: &Api<K>,
    object: &K,
    annotations: &BTreeMap<String, Option<String>>,
) -> Result<Changed<K>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    change_live(api, object, "annotations", |live| {
        let differs = annotations.iter().any(|(key, value)| live.annotations().get(key) != value.as_ref());
        differs.then(|| json!({ "annotations": annotations }))
    })
    .await
}

/// Sets and removes annotations like [`set_annotations`], and adds a finalizer with the same write.
pub async fn mark<K>(
    api: &Api<K>,
    object: &K,
    finalizer: &str,
    annotations: &BTreeMap<String, Option<String>>,
) -> Result<Changed<K>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    change_live(api, object, "finalizers and annotations", |live| {
        let mut metadata = serde_json::Map::new();
        if annotations.iter().any(|(key, value)| live.annotations().get(key) != value.as_ref()) {
            metadata.insert("annotations".into(), json!(annotations));
        }
        if !live.finalizers().iter().any(|known| known == finalizer) {
            let list = live.finalizers().iter().map(String::as_str).chain([finalizer]);
            metadata.insert("finalizers".into(), list.collect());
        }
        (!metadata.is_empty()).then(|| metadata.into())
    })
    .await
}

/// The object as it is now; `None` when it is gone. One of the same name with another uid is another object.
pub async fn read<K>(api: &Api<K>, object: &K) -> Result<Option<K>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    let name = object.name_any();
    let live = call(format!("get {} {name}", K::kind(&())), api.get_opt(&name)).await?;
    Ok(live.filter(|live| object.uid().is_none() || live.uid() == object.uid()))
}

/// Reads the live object, patches its metadata under its resource version, starts again when somebody was faster. An
/// object of the same name with another uid is another object: the one meant is gone.
async fn change_live<K>(
    api: &Api<K>,
    object: &K,
    field: &str,
    change: impl Fn(&K) -> Option<serde_json::Value>,
) -> Result<Changed<K>>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    let (kind, name) = (K::kind(&()), object.name_any());
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        // The copy at hand is tried first: its resource version tells whether it is the newest.
        let copy = Some(object).filter(|_| attempt == 0 && object.resource_version().is_some());
        let (live, newest) = match copy.filter(|copy| change(copy).is_some()) {
            Some(copy) => (copy.clone(), false),
            None => match read(api, object).await? {
                Some(live) => (live, true),
                None => return Ok(Changed::Gone),
            },
        };
        let Some(mut metadata) = change(&live) else {
            return Ok(Changed::Already(live));
        };
        metadata["resourceVersion"] = json!(live.resource_version());
        let patch = json!({ "metadata": metadata });
        let what = format!("patch {field} of {kind} {name}");
        match call(what, api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch))).await {
            Ok(patched) => return Ok(Changed::Now(patched)),
            // another object of this name may have come since the copy was made
            Err(e) if e.is_not_found() && newest => return Ok(Changed::Gone),
            Err(e) if e.is_not_found() => last = Some(e),
            // 422: a finalizer cannot be added to an object whose deletion began between read and write
            Err(e) if matches!(e.code(), Some(409 | 422)) => last = Some(e),
            Err(e) => return Err(e),
        }
    }
    Err(last.unwrap_or_else(|| Error::Object { what: format!("patch {kind} {name}"), why: "no attempt".into() }))
}
