//! YAML into a cluster, as `kubectl apply --server-side` does; for either size of Kubernetes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiResource, Scope, pinned_kind};
use kube::{Api, Client, ResourceExt as _};
use serde::Deserialize as _;

use crate::error::{Error, Result};

/// The field manager of everything applied here.
pub const FIELD_MANAGER: &str = "duo-testkit";

const TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// Applies all documents of `yaml` by server-side apply (forced), CustomResourceDefinitions first, then Namespaces, then
/// the rest in their order, and returns them as the API server has them.
///
/// Waits until CRDs are established and served. Namespaced objects that name no namespace go to `namespace`. Ends at
/// the first refusal, with the API server's words ([`Error::api_status`]).
pub async fn apply_yaml(client: &Client, namespace: &str, yaml: &str) -> Result<Vec<DynamicObject>> {
    let mut objects = parse(yaml)?;
    objects.sort_by_key(rank);
    let mut applied = Vec::with_capacity(objects.len());
    for object in objects {
        applied.push(apply(client, namespace, &object).await?);
    }
    Ok(applied)
}

/// All `*.yaml` files of a folder as one text, in the order of their names, without `kustomization.yaml`: for what a
/// [`ControlPlane`](crate::control_plane::ControlPlane) is to have from the start.
pub fn read_folder(folder: &Path) -> Result<String> {
    let entries = std::fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| {
        path.extension().is_some_and(|extension| extension == "yaml")
            && path.file_name().is_some_and(|name| name != "kustomization.yaml")
    });
    files.sort();
    let mut text = String::new();
    for file in files {
        text.push_str("---\n");
        text.push_str(&std::fs::read_to_string(&file).map_err(Error::io("read", &file))?);
        text.push('\n');
    }
    Ok(text)
}

/// Reads all documents of `yaml`; empty ones are skipped, one without `apiVersion` and `kind` is an error.
pub fn parse(yaml: &str) -> Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    for (index, document) in serde_yaml_ng::Deserializer::from_str(yaml).enumerate() {
        let failed = |why: String| Error::Invalid { what: format!("YAML document {}", index + 1), why };
        let value = serde_json::Value::deserialize(document).map_err(|error| failed(error.to_string()))?;
        if value.is_null() {
            continue;
        }
        let object: DynamicObject = serde_json::from_value(value).map_err(|error| failed(error.to_string()))?;
        if object.types.is_none() || object.metadata.name.is_none() {
            return Err(failed("apiVersion, kind or metadata.name is missing".into()));
        }
        objects.push(object);
    }
    Ok(objects)
}

fn rank(object: &DynamicObject) -> u8 {
    match kind(object) {
        "CustomResourceDefinition" => 0,
        "Namespace" => 1,
        _ => 2,
    }
}

fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |types| &types.kind)
}

async fn apply(client: &Client, namespace: &str, object: &DynamicObject) -> Result<DynamicObject> {
    let doing = format!("apply {} {}", kind(object), object.name_any());
    let api = dynamic_api(client, namespace, object).await?;
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let name = object.name_any();
    let started = Instant::now();
    loop {
        match api.patch(&name, &params, &Patch::Apply(object)).await {
            Ok(applied) => {
                if kind(object) == "CustomResourceDefinition" {
                    wait_established(client, &name).await?;
                }
                return Ok(applied);
            }
            // a kind that discovery lists already may still be unknown to the handler for a moment
            Err(error) if is_unknown_kind(&error) && started.elapsed() < TIMEOUT => tokio::time::sleep(POLL).await,
            Err(error) => return Err(Error::kube(doing)(error)),
        }
    }
}

/// The API for an object by its own `apiVersion` and `kind`, as the server's discovery knows it.
pub async fn dynamic_api(client: &Client, namespace: &str, object: &DynamicObject) -> Result<Api<DynamicObject>> {
    let types = object.types.clone().unwrap_or_default();
    let gvk = GroupVersionKind::try_from(&types).map_err(|error| Error::Invalid {
        what: format!("apiVersion {}", types.api_version),
        why: error.to_string(),
    })?;
    let (resource, scope) = discover(client, &gvk).await?;
    Ok(match scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object.metadata.namespace.as_deref().unwrap_or(namespace);
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
    })
}

/// Asks for a kind, patiently only where a CRD of its group was established but discovery lags.
async fn discover(client: &Client, gvk: &GroupVersionKind) -> Result<(ApiResource, Scope)> {
    // kinds with a dot in their group may come from a CRD that was applied a moment ago
    let patience = if gvk.group.contains('.') { Duration::from_secs(10) } else { Duration::ZERO };
    let started = Instant::now();
    loop {
        match pinned_kind(client, gvk).await {
            Ok((resource, capabilities)) => return Ok((resource, capabilities.scope)),
            Err(error) if started.elapsed() >= patience => {
                return Err(Error::kube(format!("find kind {} of {}", gvk.kind, gvk.api_version()))(error));
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// "The server could not find the requested resource": 404 that names no object.
fn is_unknown_kind(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            status.code == 404 && status.details.as_ref().is_none_or(|details| details.name.is_empty())
        }
        _ => false,
    }
}

async fn wait_established(client: &Client, name: &str) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let started = Instant::now();
    loop {
        let crd = api.get(name).await.map_err(Error::kube(format!("get CustomResourceDefinition {name}")))?;
        let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True") {
            return Ok(());
        }
        if started.elapsed() > TIMEOUT {
            return Err(Error::Timeout {
                what: format!("CustomResourceDefinition {name} to be established"),
                after: TIMEOUT,
                last: format!("{conditions:?}"),
                log: None,
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Creates a namespace whose name starts with `prefix` and a dash, and waits until pods can be created in it: its
/// default service account and the ConfigMap with the cluster's authority are there.
pub async fn create_namespace(client: &Client, prefix: &str) -> Result<String> {
    let namespace = Namespace {
        metadata: ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    let api: Api<Namespace> = Api::all(client.clone());
    let doing = format!("create a namespace {prefix}-…");
    let name = api.create(&PostParams::default(), &namespace).await.map_err(Error::kube(doing.clone()))?.name_any();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &name);
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &name);
    let started = Instant::now();
    loop {
        let account = accounts.get_opt("default").await.map_err(Error::kube(doing.clone()))?;
        let authority = maps.get_opt("kube-root-ca.crt").await.map_err(Error::kube(doing.clone()))?;
        if account.is_some() && authority.is_some() {
            return Ok(name);
        }
        if started.elapsed() > TIMEOUT {
            return Err(Error::Timeout {
                what: format!("the default service account of namespace {name}"),
                after: TIMEOUT,
                last: "kube-controller-manager has not made it".into(),
                log: None,
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_in_order_of_need() {
        let yaml = "---\n# only a comment\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n\
                    apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n---\napiVersion: apiextensions.k8s.io/v1\n\
                    kind: CustomResourceDefinition\nmetadata: {name: c}\n";
        let mut objects = parse(yaml).unwrap();
        objects.sort_by_key(rank);
        let names: Vec<_> = objects.iter().map(|object| object.name_any()).collect();
        assert_eq!(names, ["c", "b", "a"]);
    }

    #[test]
    fn a_folder_is_read_without_its_kustomization() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("b.yaml", "b: 1"), ("a.yaml", "a: 1"), ("kustomization.yaml", "k: 1"), ("c.txt", "c")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        assert_eq!(read_folder(folder.path()).unwrap(), "---\na: 1\n---\nb: 1\n");
    }

    #[test]
    fn a_document_that_is_no_object_is_named_by_its_number() {
        let error = parse("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\nfoo: 1\n").unwrap_err();
        assert!(error.to_string().starts_with("YAML document 2: "), "{error}");
    }
}
