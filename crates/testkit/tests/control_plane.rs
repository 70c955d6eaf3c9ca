//! The control plane itself: real admission, real rights, real garbage collection, a log of writes, no left-overs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use duo_testkit::control_plane::{ControlPlane, ControlPlaneOptions};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

/// A kind with a rule, and one object of it.
const CRD: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.testkit.duo}
spec:
  group: testkit.duo
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              size: {type: integer}
            x-kubernetes-validations:
            - {rule: "self.size < 10", message: "size must be below 10"}
"#;

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"a": "b"}})).unwrap()
}

async fn eventually<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let started = std::time::Instant::now();
    while !check().await {
        assert!(started.elapsed().as_secs() < 120, "never happened: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn rules_of_a_crd_are_enforced_and_owners_take_their_dependents_along() {
    let control_plane = ControlPlane::shared(CRD).await.unwrap();
    let namespace = control_plane.namespace("crd").await.unwrap();
    let widget = |size: u32| {
        format!(
            "apiVersion: testkit.duo/v1\nkind: Widget\nmetadata: {{name: w, namespace: {namespace}}}\nspec: {{size: {size}}}\n"
        )
    };
    let error = control_plane.apply_yaml(&widget(10)).await.unwrap_err();
    let status = error.api_status().unwrap();
    assert_eq!(status.code, 422);
    assert!(status.message.contains("size must be below 10"), "{}", status.message);
    let applied = control_plane.apply_yaml(&widget(9)).await.unwrap();

    let client = control_plane.client().unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let mut dependent = config_map("dependent");
    dependent.metadata.owner_references = Some(vec![
        serde_json::from_value(json!({
            "apiVersion": "testkit.duo/v1", "kind": "Widget", "name": "w", "uid": applied[0].metadata.uid,
        }))
        .unwrap(),
    ]);
    maps.create(&PostParams::default(), &dependent).await.unwrap();
    let widgets = duo_testkit::apply::dynamic_api(&client, &namespace, &applied[0]).await.unwrap();
    widgets.delete("w", &DeleteParams::default()).await.unwrap();
    eventually("the dependent is collected", || async { maps.get_opt("dependent").await.unwrap().is_none() }).await;
}

#[tokio::test]
async fn rights_are_exactly_those_of_the_user() {
    let control_plane = ControlPlane::shared(CRD).await.unwrap();
    let namespace = control_plane.namespace("rights").await.unwrap();
    control_plane
        .apply_yaml(&format!(
            r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reader, namespace: {namespace}}}
rules: [{{apiGroups: [""], resources: [configmaps], verbs: [get]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}}
subjects: [{{kind: ServiceAccount, name: default, namespace: {namespace}}}, {{kind: Group, name: readers, apiGroup: rbac.authorization.k8s.io}}]
"#
        ))
        .await
        .unwrap();
    let kubeconfig = control_plane.kubeconfig_for_service_account(&namespace, "default").await.unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    assert_eq!(config.default_namespace, namespace);
    for client in [
        Client::try_from(config).unwrap(),
        control_plane.client_for_service_account(&namespace, "default").unwrap(),
        control_plane.client_for("jane", &["readers"]).unwrap(),
    ] {
        let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
        maps.get("kube-root-ca.crt").await.unwrap();
        let Err(kube::Error::Api(status)) = maps.list(&Default::default()).await else { panic!("list was allowed") };
        assert_eq!(status.code, 403);
    }
}

#[tokio::test]
async fn writes_are_counted_by_user_and_reads_are_not() {
    let control_plane = ControlPlane::shared(CRD).await.unwrap();
    let namespace = control_plane.namespace("writes").await.unwrap();
    let client = control_plane.client_for("writer", &["system:masters"]).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let mark = control_plane.mark().await.unwrap();
    maps.list(&Default::default()).await.unwrap();
    let is_writer = |user: &str| user == "writer";
    assert_eq!(control_plane.writes_since(mark, is_writer).await.unwrap(), []);

    maps.create(&PostParams::default(), &config_map("one")).await.unwrap();
    let apply = PatchParams::apply("test").force();
    let nothing_new = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    maps.patch("one", &apply, &Patch::Apply(&nothing_new)).await.unwrap();
    maps.create(&PostParams::default(), &config_map("one")).await.unwrap_err();
    let writes = control_plane.writes_since(mark, is_writer).await.unwrap();
    let seen: Vec<_> = writes.iter().map(|w| (w.verb.as_str(), w.resource.as_str(), w.name.as_str(), w.code)).collect();
    assert_eq!(
        seen,
        [
            ("create", "configmaps", "one", 201),
            ("patch", "configmaps", "one", 200),
            ("create", "configmaps", "one", 409)
        ]
    );
    assert!(writes.iter().all(|write| write.namespace == namespace && write.user == "writer"));
    let later = control_plane.mark().await.unwrap();
    assert_eq!(control_plane.writes_since(later, is_writer).await.unwrap(), []);
}

#[tokio::test]
async fn what_was_written_survives_a_crash_of_the_api_server_and_nothing_survives_the_control_plane() {
    let options = ControlPlaneOptions { preload: CRD.into(), ..Default::default() };
    let control_plane = ControlPlane::start_with(options).await.unwrap();
    let client = control_plane.client().unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    maps.create(&PostParams::default(), &config_map("kept")).await.unwrap();
    control_plane.kill_api_server();
    maps.get("kept").await.unwrap_err();
    control_plane.start_api_server().await.unwrap();
    maps.get("kept").await.unwrap();
    control_plane.restart_api_server().await.unwrap();
    eventually("controllers work again", || async { matches!(accounts.get_opt("default").await, Ok(Some(_))) }).await;

    let pids = control_plane.pids();
    let folder = control_plane.folder().to_path_buf();
    assert_eq!(pids.len(), 3);
    // as the test of a suite would end that panics
    let failed = tokio::spawn(async move {
        let _owned = control_plane;
        panic!("a test that fails");
    });
    assert!(failed.await.unwrap_err().is_panic());
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        assert!(status.is_empty() || status.contains("State:\tZ"), "process {pid} is left: {status}");
    }
    assert!(!folder.exists(), "{} is left", folder.display());
}
