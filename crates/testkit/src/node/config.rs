//! The configuration files and arguments of a node's programs, as text. Pure: nothing here touches the machine.

use std::path::Path;

use serde_json::json;

use super::layout::{API_PORT, BRIDGE, DNS_ADDRESS, DNS_DOMAIN, Layout, NODE_ADDRESS, POD_RANGE, SERVICE_RANGE};

/// containerd 1.6 and later, with folders of its own beside any other containerd of the machine.
pub(super) fn containerd(layout: &Layout, pause_image: &str, plugins: &Path) -> String {
    let path = |relative: &str| layout.path(relative).display().to_string();
    let socket = layout.containerd_socket().display().to_string();
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  # without CAP_SYS_RESOURCE a score cannot be lowered, and runc dies with "can't get final child's PID from pipe"
  restrict_oom_score_adj = true
  # pods' namespaces go with this cluster's folder
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"#,
        root = path("containerd/root"),
        state = path("containerd/state"),
        opt = path("containerd/opt"),
        cni = path("cni"),
        plugins = plugins.display(),
    )
}

/// The CNI network of the pods: one bridge, addresses recorded in the cluster's folder.
pub(super) fn network(layout: &Layout) -> String {
    pretty(&json!({
        "cniVersion": "0.4.0",
        "name": layout.namespace(),
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": true,
                // what leaves the pods' range takes the node's address: nobody outside knows a way back to a pod
                "ipMasq": true,
                // a pod that calls the Service it serves itself
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": layout.path("cni-addresses"),
                    "ranges": [[{"subnet": POD_RANGE, "rangeStart": "10.88.0.10", "gateway": NODE_ADDRESS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    }))
}

/// kubelet's configuration file.
pub(super) fn kubelet(layout: &Layout) -> String {
    pretty(&json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{}", layout.containerd_socket().display()),
        "authentication": {"anonymous": {"enabled": false}, "x509": {"clientCAFile": layout.path("pki/ca.crt")}},
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": DNS_DOMAIN,
        "resolvConf": layout.path("resolv.conf"),
        "podLogsDir": layout.path("pod-logs"),
        "volumePluginDir": layout.path("volume-plugins"),
        // works on cgroup v1 and v2 and needs no systemd
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", layout.cgroup()),
        "failCgroupV1": false,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": true,
        // an image that is deleted cannot be pulled again: never delete one, and never evict for a full disk
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%",
        },
    }))
}

/// etcd's arguments; the data is thrown away, so nothing waits for the disk.
pub(super) fn etcd(layout: &Layout) -> Vec<String> {
    vec![
        format!("--data-dir={}", layout.path("etcd").display()),
        "--listen-client-urls=http://127.0.0.1:2379".into(),
        "--advertise-client-urls=http://127.0.0.1:2379".into(),
        "--listen-peer-urls=http://127.0.0.1:2380".into(),
        "--unsafe-no-fsync".into(),
    ]
}

/// kube-apiserver's arguments.
pub(super) fn apiserver(layout: &Layout) -> Vec<String> {
    let pki = |file: &str| layout.path("pki").join(file).display().to_string();
    vec![
        "--etcd-servers=http://127.0.0.1:2379".into(),
        "--bind-address=0.0.0.0".into(),
        format!("--secure-port={API_PORT}"),
        format!("--advertise-address={NODE_ADDRESS}"),
        "--endpoint-reconciler-type=lease".into(),
        format!("--service-cluster-ip-range={SERVICE_RANGE}"),
        "--authorization-mode=Node,RBAC".into(),
        "--allow-privileged=true".into(),
        format!("--client-ca-file={}", pki("ca.crt")),
        format!("--tls-cert-file={}", pki("apiserver.crt")),
        format!("--tls-private-key-file={}", pki("apiserver.key")),
        "--kubelet-preferred-address-types=InternalIP".into(),
        format!("--kubelet-client-certificate={}", pki("admin.crt")),
        format!("--kubelet-client-key={}", pki("admin.key")),
        format!("--service-account-issuer=https://kubernetes.default.svc.{DNS_DOMAIN}"),
        format!("--service-account-key-file={}", pki("tokens.pub")),
        format!("--service-account-signing-key-file={}", pki("tokens.key")),
    ]
}

/// kube-controller-manager's arguments.
pub(super) fn controller_manager(layout: &Layout) -> Vec<String> {
    let kubeconfig = layout.inner_kubeconfig().display().to_string();
    let pki = |file: &str| layout.path("pki").join(file).display().to_string();
    vec![
        format!("--kubeconfig={kubeconfig}"),
        "--leader-elect=false".into(),
        "--authentication-skip-lookup=true".into(),
        "--use-service-account-credentials=true".into(),
        format!("--service-account-private-key-file={}", pki("tokens.key")),
        format!("--root-ca-file={}", pki("ca.crt")),
        format!("--cluster-signing-cert-file={}", pki("ca.crt")),
        format!("--cluster-signing-key-file={}", pki("ca.key")),
    ]
}

/// kube-scheduler's arguments.
pub(super) fn scheduler(layout: &Layout) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", layout.inner_kubeconfig().display()),
        "--leader-elect=false".into(),
        "--authentication-skip-lookup=true".into(),
    ]
}

/// kubelet's arguments.
pub(super) fn kubelet_arguments(layout: &Layout) -> Vec<String> {
    vec![
        format!("--config={}", layout.path("kubelet.yaml").display()),
        format!("--kubeconfig={}", layout.inner_kubeconfig().display()),
        format!("--root-dir={}", layout.kubelet_root().display()),
        format!("--cert-dir={}", layout.path("kubelet-pki").display()),
        format!("--hostname-override={}", layout.node()),
        format!("--node-ip={NODE_ADDRESS}"),
    ]
}

/// kube-proxy's arguments; see `network::filter_bridged` for `masquerade_all`.
pub(super) fn proxy(layout: &Layout, masquerade_all: bool) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", layout.inner_kubeconfig().display()),
        format!("--hostname-override={}", layout.node()),
        "--proxy-mode=iptables".into(),
        format!("--cluster-cidr={POD_RANGE}"),
        // the limit belongs to the whole machine and cannot be set from a namespace
        "--conntrack-max-per-core=0".into(),
        format!("--masquerade-all={masquerade_all}"),
    ]
}

/// CoreDNS as a Deployment with the Service every pod's resolv.conf names. There is no upstream: other names do not exist.
pub(super) fn dns(image: &str) -> String {
    let manifest = include_str!("coredns.yaml");
    manifest.replace("IMAGE", image).replace("DNS_ADDRESS", DNS_ADDRESS).replace("DNS_DOMAIN", DNS_DOMAIN)
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout::new("demo", Path::new("/var/lib/demo")).unwrap()
    }

    #[test]
    fn every_path_of_every_program_lies_in_the_clusters_folder() {
        let layout = layout();
        let text = [
            containerd(&layout, "docker.io/local/pause:dev", Path::new("/usr/lib/cni")),
            network(&layout),
            kubelet(&layout),
            etcd(&layout).join(" "),
            apiserver(&layout).join(" "),
            controller_manager(&layout).join(" "),
            kubelet_arguments(&layout).join(" "),
        ]
        .join(" ");
        for word in text.split(|c: char| c.is_whitespace() || "\"=,".contains(c)) {
            let word = word.trim_start_matches("unix://");
            if word.starts_with("/var") || word.starts_with("/run") || word.starts_with("/etc") {
                assert!(word.starts_with("/var/lib/demo/"), "{word} is shared with the machine");
            }
        }
    }

    #[test]
    fn trap_of_machines_without_cap_sys_resource_and_with_cgroup_v1_is_configured_away() {
        let layout = layout();
        assert!(containerd(&layout, "p", Path::new("/x")).contains("restrict_oom_score_adj = true"));
        let kubelet: serde_json::Value = serde_json::from_str(&kubelet(&layout)).unwrap();
        assert_eq!(kubelet["oomScoreAdj"], 0);
        assert_eq!(kubelet["failCgroupV1"], false);
        assert_eq!(kubelet["enforceNodeAllocatable"], json!([]));
    }

    #[test]
    fn the_dns_manifest_is_yaml_without_placeholders() {
        let text = dns("docker.io/local/coredns:dev");
        assert!(!text.contains("IMAGE") && !text.contains("DNS_"), "{text}");
        let mut kinds = Vec::new();
        for document in text.split("\n---\n") {
            let value: serde_json::Value = serde_yaml_ng::from_str(document).unwrap();
            kinds.push(value["kind"].as_str().unwrap().to_owned());
        }
        let expected = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Service", "Deployment"];
        assert_eq!(kinds, expected);
    }
}
