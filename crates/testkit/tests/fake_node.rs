//! The fake node: Deployments become Available, gateway pods are real processes with their files and variables.
//!
//! The gateway is stood in for by this very test program (see [`stub_gateway`]), so that the harness is tested without
//! the product.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use duo_testkit::control_plane::ControlPlane;
use duo_testkit::fake_node::{FakeNode, FakeNodeOptions, REFUSING};
use duo_testkit::process::TempFolder;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

/// Not a test: what the pods of the other tests run. Answers every request with its configuration file and one variable,
/// and `/ready` with 503 while the file `not-ready` lies beside the configuration.
#[tokio::test]
#[ignore = "run by the other tests as the gateway program"]
async fn stub_gateway() {
    let Ok(config) = std::env::var("STUB_CONFIG") else { return };
    let host: IpAddr = std::env::var("AIGW_FASTAPI__API_HOST").unwrap().parse().unwrap();
    let listener = tokio::net::TcpListener::bind(SocketAddr::new(host, 5052)).await.unwrap();
    println!("listening on {host}");
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = tokio::io::BufReader::new(stream);
        let mut first = String::new();
        stream.read_line(&mut first).await.unwrap();
        let mut line = first.clone();
        while line.trim() != "" {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
        }
        let not_ready = PathBuf::from(&config).with_file_name("not-ready").exists();
        let status = if first.contains("/ready") && not_ready { "503 No" } else { "200 OK" };
        let body = format!("{} {}", std::fs::read_to_string(&config).unwrap(), std::env::var("FROM_SECRET").unwrap());
        let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// A program that runs [`stub_gateway`], with `--config FILE` as the real one has it.
fn stub(folder: &TempFolder) -> PathBuf {
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --config ] || exit 2\nSTUB_CONFIG=$2 exec '{}' --exact stub_gateway --ignored --nocapture\n",
        std::env::current_exe().unwrap().display()
    );
    let path = folder.write("gateway", &script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn objects(namespace: &str, replicas: u32) -> String {
    format!(
        r#"
apiVersion: v1
kind: Secret
metadata: {{name: keys, namespace: {namespace}}}
stringData: {{key: from-secret}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: config, namespace: {namespace}}}
data: {{config.yaml: first}}
---
apiVersion: v1
kind: Service
metadata: {{name: duo, namespace: {namespace}}}
spec: {{selector: {{app: gateway}}, ports: [{{port: 5052}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: gateway, namespace: {namespace}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: gateway}}}}
  template:
    metadata: {{labels: {{app: gateway}}}}
    spec:
      automountServiceAccountToken: false
      containers:
      - name: gateway
        image: example.com/duo-gateway:1
        args: [--config, /etc/duo-gateway/config.yaml]
        env: [{{name: FROM_SECRET, valueFrom: {{secretKeyRef: {{name: keys, key: key}}}}}}]
        ports: [{{name: http, containerPort: 5052}}]
        readinessProbe: {{httpGet: {{path: /ready, port: http}}, failureThreshold: 1}}
        volumeMounts: [{{name: config, mountPath: /etc/duo-gateway}}]
      volumes:
      - name: config
        projected: {{sources: [{{configMap: {{name: config}}}}, {{secret: {{name: keys}}}}]}}
"#
    )
}

async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, check: impl Fn() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(started.elapsed() < Duration::from_secs(120), "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

struct World {
    control_plane: &'static ControlPlane,
    namespace: String,
    node: FakeNode,
    pods: Api<Pod>,
    maps: Api<ConfigMap>,
    deployments: Api<Deployment>,
    _folder: TempFolder,
}

impl World {
    async fn new(name: &str, replicas: u32) -> Self {
        Self::on(ControlPlane::shared("").await.unwrap(), name, replicas).await
    }

    async fn on(control_plane: &'static ControlPlane, name: &str, replicas: u32) -> Self {
        let folder = TempFolder::new("duo-stub-").unwrap();
        let namespace = control_plane.namespace(name).await.unwrap();
        let options = FakeNodeOptions {
            namespace: Some(namespace.clone()),
            gateway: Some(stub(&folder)),
            // never by itself within a test
            refresh_period: Duration::from_secs(3600),
            probe_period: Some(Duration::from_millis(50)),
            ..FakeNodeOptions::default()
        };
        let client = control_plane.client_for("duo-fake-node", &["system:masters"]).unwrap();
        let node = FakeNode::start(client, options).await.unwrap();
        let client = control_plane.client().unwrap();
        let world = Self {
            control_plane,
            pods: Api::namespaced(client.clone(), &namespace),
            maps: Api::namespaced(client.clone(), &namespace),
            deployments: Api::namespaced(client, &namespace),
            namespace,
            node,
            _folder: folder,
        };
        world.control_plane.apply_yaml(&objects(&world.namespace, replicas)).await.unwrap();
        eventually("the Deployment is Available", || async {
            let status = world.deployments.get("gateway").await.unwrap().status?;
            (status.available_replicas == i32::try_from(replicas).ok()).then_some(())
        })
        .await;
        world
    }

    fn service(&self) -> IpAddr {
        self.node.hosts().get(&format!("duo.{}.svc", self.namespace)).unwrap()
    }

    async fn ask(&self, address: IpAddr) -> Option<String> {
        reqwest::get(format!("http://{address}:5052/")).await.ok()?.text().await.ok()
    }

    async fn pod_list(&self) -> Vec<Pod> {
        self.pods.list(&ListParams::default()).await.unwrap().items
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[tokio::test]
async fn gateway_pods_are_processes_with_their_files_and_variables_and_end_with_their_deployment() {
    let world = World::new("life", 2).await;
    let pods = world.pod_list().await;
    assert_eq!(pods.len(), 2);
    let addresses: Vec<IpAddr> =
        pods.iter().map(|pod| world.node.pod_address(&world.namespace, &pod.name_any()).unwrap()).collect();
    assert_ne!(addresses[0], addresses[1]);
    for (pod, address) in pods.iter().zip(&addresses) {
        assert_eq!(pod.status.as_ref().unwrap().pod_ip, Some(address.to_string()));
        assert_eq!(world.ask(*address).await.as_deref(), Some("first from-secret"));
        let log = world.node.pod_log(&world.namespace, &pod.name_any()).unwrap();
        assert!(log.contains(&format!("listening on {address}")), "{log}");
    }
    assert!(addresses.contains(&world.service()));

    let foreground = DeleteParams::foreground();
    world.deployments.delete("gateway", &foreground).await.unwrap();
    eventually("pods are collected", || async { world.pod_list().await.is_empty().then_some(()) }).await;
    eventually("the Service refuses", || async { (world.service() == REFUSING).then_some(()) }).await;
    for address in addresses {
        assert_eq!(world.ask(address).await, None, "the process of {address} is left");
    }
}

#[tokio::test]
async fn a_changed_config_map_is_seen_when_the_pods_annotations_change_and_not_before() {
    let world = World::new("refresh", 1).await;
    let address = world.service();
    let apply = PatchParams::default();
    let change = json!({"data": {"config.yaml": "second"}});
    world.maps.patch("config", &apply, &Patch::Merge(&change)).await.unwrap();
    // status changes of the pod are no reason to look: a container that is not ready makes one
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.ask(address).await.as_deref(), Some("first from-secret"));
    let pod = world.pod_list().await.remove(0).name_any();
    let touch = json!({"metadata": {"annotations": {"touched": "1"}}});
    world.pods.patch(&pod, &apply, &Patch::Merge(&touch)).await.unwrap();
    eventually("the new file is seen", || async {
        (world.ask(address).await.as_deref() == Some("second from-secret")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_pod_is_ready_as_its_probe_says_and_restarted_when_it_dies() {
    let world = World::new("ready", 1).await;
    let pod = world.pod_list().await.remove(0).name_any();
    let address = world.service();
    let set_ready = async |ready: bool| {
        let value = if ready { json!(null) } else { json!("") };
        let change = json!({"data": {"not-ready": value}});
        world.maps.patch("config", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
        let touch = json!({"metadata": {"annotations": {"touched": ready.to_string()}}});
        world.pods.patch(&pod, &PatchParams::default(), &Patch::Merge(&touch)).await.unwrap();
        eventually("readiness follows", || async {
            (is_ready(&world.pods.get(&pod).await.unwrap()) == ready).then_some(())
        })
        .await;
    };
    set_ready(false).await;
    eventually("the Service refuses", || async { (world.service() == REFUSING).then_some(()) }).await;
    set_ready(true).await;
    eventually("the Service leads to the pod", || async { (world.service() == address).then_some(()) }).await;

    world.node.signal(&world.namespace, &pod, "KILL").unwrap();
    eventually("the container was restarted and is ready", || async {
        let pod = world.pods.get(&pod).await.unwrap();
        let containers = pod.status.as_ref()?.container_statuses.clone()?;
        let code = containers[0].last_state.as_ref()?.terminated.as_ref()?.exit_code;
        (is_ready(&pod) && containers[0].restart_count == 1 && code == 137).then_some(())
    })
    .await;
    assert_eq!(world.ask(address).await.as_deref(), Some("first from-secret"));
    world.node.stop().await;
    assert!(reqwest::get(format!("http://{address}:5052/")).await.is_err(), "a process survived its node");
}

#[tokio::test]
async fn a_container_waits_for_a_secret_that_is_missing_and_other_pods_just_run() {
    let world = World::new("missing", 1).await;
    world
        .control_plane
        .apply_yaml(&format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: waits, namespace: {0}}}
spec:
  automountServiceAccountToken: false
  containers:
  - name: gateway
    image: duo-gateway
    args: [--config, /config/config.yaml]
    env: [{{name: FROM_SECRET, value: plain}}]
    volumeMounts: [{{name: config, mountPath: /config}}]
  volumes: [{{name: config, secret: {{secretName: later}}}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: other, namespace: {0}}}
spec: {{containers: [{{name: c, image: busybox}}]}}
"#,
            world.namespace
        ))
        .await
        .unwrap();
    eventually("the other pod is Ready", || async { is_ready(&world.pods.get("other").await.unwrap()).then_some(()) })
        .await;
    let message = eventually("the container waits", || async {
        let containers = world.pods.get("waits").await.unwrap().status?.container_statuses?;
        containers[0].state.clone()?.waiting?.message
    })
    .await;
    assert!(message.contains("secret \"later\" not found"), "{message}");
    world
        .control_plane
        .apply_yaml(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: later, namespace: {}}}\nstringData: {{config.yaml: x}}\n",
            world.namespace
        ))
        .await
        .unwrap();
    eventually("the pod is Ready", || async { is_ready(&world.pods.get("waits").await.unwrap()).then_some(()) }).await;
}

#[tokio::test]
async fn pods_go_on_through_a_restart_of_the_api_server_and_changes_are_seen_after_it() {
    // of its own, because the other tests need theirs; it ends with the program
    let control_plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await.unwrap()));
    let world = World::on(control_plane, "restart", 1).await;
    let address = world.service();
    control_plane.kill_api_server();
    assert_eq!(world.ask(address).await.as_deref(), Some("first from-secret"));
    control_plane.start_api_server().await.unwrap();
    let scale = json!({"spec": {"replicas": 2}});
    world.deployments.patch("gateway", &PatchParams::default(), &Patch::Merge(&scale)).await.unwrap();
    eventually("the second pod is Available", || async {
        let status = world.deployments.get("gateway").await.unwrap().status?;
        (status.available_replicas == Some(2)).then_some(())
    })
    .await;
    assert_eq!(world.service(), address, "the first pod was never away");
    let pods = world.pod_list().await;
    let restarts =
        pods.iter().filter_map(|pod| Some(pod.status.as_ref()?.container_statuses.as_ref()?[0].restart_count));
    assert_eq!(restarts.sum::<i32>(), 0);
}
