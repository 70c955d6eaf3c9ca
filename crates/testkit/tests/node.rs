//! The cluster of one node: comes up, is found again, is repaired, and leaves nothing behind. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::path::Path;

use duo_testkit::node::{NodeCluster, Options, Progress};

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: docker.io/local/coredns:dev
          imagePullPolicy: IfNotPresent
          args: [-conf, /etc/web/Corefile]
          securityContext: {runAsNonRoot: true}
          resources: {limits: {memory: 128Mi}}
          readinessProbe: {httpGet: {path: /health, port: 8080}, periodSeconds: 1}
          volumeMounts: [{name: config, mountPath: /etc/web}]
      volumes: [{name: config, configMap: {name: web}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: default}
data:
  Corefile: |
    .:1053 {
        health :8080
        log
        whoami
    }
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.77, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"#;

fn options() -> Options {
    Options::new("testkit", "/var/lib/duo-testkit")
}

/// Everything of the machine that has the cluster's name or folder in it.
fn traces() -> Vec<String> {
    let folder = options().folder.display().to_string();
    let mut found = Vec::new();
    for place in ["/run/netns/duo-testkit", "/sys/class/net/duo-testkit", &folder] {
        if Path::new(place).exists() {
            found.push(place.to_owned());
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(&folder)).map(str::to_owned));
    found.extend(mounts.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| {
        let group = Path::new(line.split(' ').nth(4)?).join("duo-testkit");
        group.exists().then(|| group.display().to_string())
    }));
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&format!("{folder}/")) {
            found.push(line);
        }
    }
    found
}

#[test]
fn a_cluster_runs_pods_is_found_again_is_repaired_and_leaves_nothing() {
    if let Err(error) = duo_testkit::assets::require_root("a node") {
        println!("left out: {error}");
        return;
    }
    let uid = |cluster: &NodeCluster| {
        cluster.kubectl(["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"]).unwrap()
    };
    let cluster = NodeCluster::up(&options(), &Progress::silent()).unwrap();
    let first = uid(&cluster);

    cluster.apply(DEPLOYMENT).unwrap();
    cluster.kubectl(["rollout", "status", "deployment/web", "--timeout=120s"]).unwrap();
    let answer = {
        let mut fetch = cluster.inside("bash");
        // the Service's address from the node's namespace: kube-proxy's work, which may come a moment after the rollout
        let once = "exec 3<>/dev/tcp/10.96.0.77/80; printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
        let asked = "for _ in {1..30}; do timeout 2 bash -c \"$0\" && exit; sleep 1; done";
        fetch.args(["-c", asked, once]);
        String::from_utf8(fetch.output().unwrap().stdout).unwrap()
    };
    assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    let logs = cluster.kubectl(["logs", "deployment/web"]).unwrap();
    assert!(logs.contains("CoreDNS"), "logs of a pod: {logs:?}");

    cluster.keep();
    let cluster = NodeCluster::up(&options(), &Progress::silent()).unwrap();
    assert_eq!(uid(&cluster), first, "a running cluster was replaced");

    cluster.keep();
    let state = std::fs::read_to_string(options().folder.join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    let kubelet = state["processes"].as_array().unwrap().iter().find(|process| process["program"] == "kubelet");
    let pid = kubelet.unwrap()["pid"].to_string();
    assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    // the signal was sent; the end comes when the machine gets round to it
    let runs = || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    while runs() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let cluster = NodeCluster::up(&options(), &Progress::silent()).unwrap();
    assert_ne!(uid(&cluster), first, "a cluster without kubelet was used");

    drop(cluster);
    assert_eq!(traces(), Vec::<String>::new());
    assert!(!NodeCluster::down(&options(), &Progress::silent()).unwrap(), "there is nothing left to take down");
}
