//! The cluster's objects, and the API server's judgement of the files': schema, CEL rules, admission, defaults. Every
//! write that is sent from here is a dry run.

use duo_api::{GROUP, VERSION};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, ValidationDirective};
use kube::core::Status;
use serde_json::{Value, json};

use super::manifests::{Kind, Manifest};
use super::target::Target;

/// Field manager of what the API server is asked to judge. It never owns a field: nothing is ever kept.
const MANAGER: &str = "duo-operator-plan";
/// Objects of one page of a list.
const PAGE: u32 = 500;

/// A key for objects of the kinds that a plan takes in.
pub(super) fn target(kind: Kind, namespace: &str, name: &str) -> Target {
    let group = if Kind::OURS.contains(&kind) { GROUP } else { "" };
    Target {
        group: group.to_owned(),
        plural: kind.plural().to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        subresource: String::new(),
    }
}

fn resource(kind: Kind) -> ApiResource {
    ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: format!("{GROUP}/{VERSION}"),
        kind: kind.name().to_owned(),
        plural: kind.plural().to_owned(),
    }
}

/// Objects of one of our kinds, in one namespace or all.
pub(super) async fn list(client: &kube::Client, kind: Kind, namespace: Option<&str>) -> Result<Vec<Value>, String> {
    let resource = resource(kind);
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let mut params = ListParams::default().limit(PAGE);
    let mut found = Vec::new();
    loop {
        let what = format!("list {}", kind.plural());
        let page = duo_runtime::call(what, api.list(&params)).await.map_err(|error| cure(&error, kind, namespace))?;
        for object in page.items {
            let mut object = serde_json::to_value(object).map_err(|error| error.to_string())?;
            object["apiVersion"] = resource.api_version.as_str().into();
            object["kind"] = kind.name().into();
            found.push(object);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(found),
        }
    }
}

fn cure(error: &duo_runtime::Error, kind: Kind, namespace: Option<&str>) -> String {
    let at = namespace.map_or_else(|| "in all namespaces".to_owned(), |namespace| format!("in namespace {namespace}"));
    match error.code() {
        Some(404) => format!(
            "the cluster has no {}: install Duo Operator's definitions first (duo-operator crds | kubectl apply -f -)",
            kind.plural()
        ),
        Some(401) => format!("the cluster does not accept the kubeconfig's credentials ({error}); log in again"),
        Some(403) => format!("{error}; a plan needs the right to get and list {} {at}", kind.plural()),
        Some(_) => error.to_string(),
        None => format!("{error}; is the cluster of this kubeconfig up, and reached from here?"),
    }
}

/// An object of the files as the API server would keep it: made new, or changed from `live`.
pub(super) async fn judge(client: &kube::Client, manifest: &Manifest, live: Option<&Value>) -> Result<Value, String> {
    let resource = resource(manifest.kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &manifest.namespace, &resource);
    let what = format!("{} {}/{}", manifest.kind.name(), manifest.namespace, manifest.name);
    let judged = match live {
        None => {
            let query = format!("dryRun=All&fieldManager={MANAGER}&fieldValidation=Strict");
            let request = http::Request::post(format!("{}?{query}", api.resource_url()))
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(manifest.object.to_string().into_bytes())
                .map_err(|error| format!("{}: {what}: {error}", manifest.place))?;
            duo_runtime::call(what.clone(), client.request::<DynamicObject>(request)).await
        }
        Some(live) => {
            let params = PatchParams {
                dry_run: true,
                field_manager: Some(MANAGER.to_owned()),
                field_validation: Some(ValidationDirective::Strict),
                ..PatchParams::default()
            };
            let patch = Patch::Merge(change(live, &manifest.object));
            duo_runtime::call(what.clone(), api.patch(&manifest.name, &params, &patch)).await
        }
    };
    let judged = judged.map_err(|error| refused(&error, manifest, live.is_none()))?;
    let mut object = serde_json::to_value(judged).map_err(|error| error.to_string())?;
    object["apiVersion"] = resource.api_version.as_str().into();
    object["kind"] = manifest.kind.name().into();
    Ok(object)
}

fn refused(error: &duo_runtime::Error, manifest: &Manifest, new: bool) -> String {
    let Manifest { kind, namespace, place, .. } = manifest;
    let verb = if new { "create" } else { "patch" };
    let cured = match error {
        duo_runtime::Error::Api { status, .. } if namespace_is_missing(status, namespace) => format!(
            "namespace {namespace} does not exist, and without it the API server judges nothing; \
             kubectl create namespace {namespace}"
        ),
        error if error.code() == Some(403) && !error.is_namespace_terminating() => format!(
            "{error}; a plan lets the API server judge objects by a dry run, for which one needs the right to {verb} {}",
            kind.plural()
        ),
        error => error.to_string(),
    };
    format!("{place}: {} {namespace}/{}: {cured}", kind.name(), manifest.name)
}

fn namespace_is_missing(status: &Status, namespace: &str) -> bool {
    status.code == 404 && status.message.contains(&format!("namespaces \"{namespace}\" not found"))
}

/// The merge patch that makes the live object what the file declares. What the file leaves out goes, but for a number of
/// replicas that somebody scales.
fn change(live: &Value, declared: &Value) -> Value {
    let mut wanted = declared["spec"].clone();
    if wanted.get("replicas").is_none() && is_scaled(live) {
        wanted["replicas"] = live["spec"]["replicas"].clone();
    }
    let mut patch = json!({"spec": difference(&live["spec"], &wanted)});
    for field in ["labels", "annotations"] {
        if let Some(values) = declared["metadata"].get(field).filter(|values| values.is_object()) {
            patch["metadata"][field] = values.clone();
        }
    }
    patch
}

/// Whether somebody set the replicas by the scale subresource, as an autoscaler does.
fn is_scaled(live: &Value) -> bool {
    let entries = live["metadata"]["managedFields"].as_array();
    entries.into_iter().flatten().any(|entry| entry["subresource"] == "scale")
}

/// A merge patch that removes what is not wanted.
fn difference(live: &Value, wanted: &Value) -> Value {
    let (Some(have), Some(want)) = (live.as_object(), wanted.as_object()) else { return wanted.clone() };
    let mut patch = serde_json::Map::new();
    for (name, value) in want {
        match have.get(name) {
            Some(found) if found == value => {}
            Some(found) => {
                patch.insert(name.clone(), difference(found, value));
            }
            None => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    for name in have.keys().filter(|name| !want.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_leaves_out_goes() {
        let live = json!({"metadata": {}, "spec": {"a": 1, "b": {"c": 2, "d": 3}, "e": [1], "f": "x"}});
        let file = json!({"metadata": {"labels": {"l": "1"}}, "spec": {"a": 1, "b": {"c": 4}, "e": [2]}});
        assert_eq!(
            change(&live, &file),
            json!({"spec": {"b": {"c": 4, "d": null}, "e": [2], "f": null}, "metadata": {"labels": {"l": "1"}}})
        );
    }

    #[test]
    fn replicas_that_somebody_scales_stay() {
        let live = |subresource: &str| json!({"metadata": {"managedFields": [{"subresource": subresource}]}, "spec": {"replicas": 5}});
        let file = json!({"spec": {}});
        assert_eq!(change(&live("scale"), &file)["spec"], json!({}));
        assert_eq!(change(&live(""), &file)["spec"], json!({"replicas": null}));
        assert_eq!(change(&live("scale"), &json!({"spec": {"replicas": 3}}))["spec"], json!({"replicas": 3}));
    }
}
