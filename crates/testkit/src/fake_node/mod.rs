//! Stands in for scheduler, kubelet, kube-proxy and cluster DNS of a [`ControlPlane`](crate::control_plane): Pods become
//! Running and Ready, and those of the gateway are served by the real gateway program.
//!
//! Each pod has a loopback address of its own (127.x.y.z), so that all gateways have their usual ports. A gateway pod is
//! a process with the pod's environment and arguments, with its volumes in a temporary folder kept current as kubelet
//! does, probed over HTTP, restarted when it ends, and stopped by SIGTERM. All other pods are Running and Ready at once
//! and are nothing but that.
//!
//! What it does not do: isolate the process (it sees the machine's files and network), enforce resources or security
//! contexts, run init containers, liveness probes or hooks, map Service ports (a Service's port must be the pod's).

mod address;
mod env;
mod hosts;
mod node;
mod pod;
mod probe;
mod sources;
mod status;
mod volumes;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::task::JoinHandle;

pub use hosts::{HostMap, HostObserver, REFUSING};

use crate::error::{Error, Result};
use crate::process::TempFolder;

/// What can be set for a [`FakeNode`].
#[derive(Clone)]
pub struct FakeNodeOptions {
    /// Only this namespace's pods and Services are served; `None` for all. Tests that share a control plane give theirs.
    pub namespace: Option<String>,
    /// The gateway program; `None` makes gateway pods as fake as all others.
    pub gateway: Option<PathBuf>,
    /// Containers whose image has this in its name run the gateway program.
    pub gateway_image: String,
    /// More environment of the gateway program, stronger than the pod's (for instance `RUST_LOG`).
    pub gateway_env: Vec<(String, String)>,
    /// After this time a mounted Secret or ConfigMap that changed is seen by the pod, unless the pod itself changes,
    /// which makes it seen at once. kubelet takes up to about 90 s.
    pub refresh_period: Duration,
    /// How often a readiness probe is made, whatever the pod says (which counts in whole seconds); `None` as it says.
    pub probe_period: Option<Duration>,
    /// Upper limit of the time between SIGTERM and SIGKILL, whatever the pod says; `None` as it says.
    pub grace_limit: Option<Duration>,
    /// PersistentVolumeClaims by name: the folder that is their volume. A pod waits for one that is not here.
    pub claims: std::collections::BTreeMap<String, PathBuf>,
    /// Is told of each change of the host map: name, and address unless the name is gone. For servers with a host map
    /// type of their own.
    pub on_host: Option<HostObserver>,
}

impl Default for FakeNodeOptions {
    fn default() -> Self {
        Self {
            namespace: None,
            gateway: None,
            gateway_image: "duo-gateway".into(),
            gateway_env: vec![],
            refresh_period: Duration::from_secs(60),
            probe_period: Some(Duration::from_millis(200)),
            grace_limit: None,
            claims: std::collections::BTreeMap::new(),
            on_host: None,
        }
    }
}

/// A running fake node. Dropping it ends its processes (SIGKILL); the pods' objects stay as they are.
pub struct FakeNode {
    name: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What the node's tasks have in common.
struct Shared {
    client: Client,
    options: FakeNodeOptions,
    node: String,
    hosts: HostMap,
    folder: TempFolder,
    containers: Mutex<HashMap<(String, String), ContainerHandle>>,
}

/// What can be asked of the container of one pod; stays when the pod is gone, for its log.
#[derive(Clone)]
struct ContainerHandle {
    address: IpAddr,
    log: PathBuf,
    signals: tokio::sync::mpsc::UnboundedSender<&'static str>,
}

impl FakeNode {
    /// Registers a Node object with a name of its own and begins to serve pods, on tasks of the caller's runtime.
    ///
    /// `client` needs the rights of an administrator; its writes show in the audit log under its user, so give it one of
    /// its own (`control_plane.client_for("duo-fake-node", &["system:masters"])`).
    pub async fn start(client: Client, options: FakeNodeOptions) -> Result<Self> {
        if let Some(gateway) = &options.gateway
            && !gateway.is_file()
        {
            return Err(Error::Missing {
                what: format!("the gateway program {}", gateway.display()),
                cure: "build it with `cargo build -p duo-gateway`, or give no program for fake gateway pods".into(),
            });
        }
        let name = format!("fake-{:08x}", crate::process::random() as u32);
        node::register(&client, &name).await?;
        let shared = Arc::new(Shared {
            client,
            options,
            node: name.clone(),
            hosts: HostMap::default(),
            folder: TempFolder::new("duo-fake-node-")?,
            containers: Mutex::default(),
        });
        let task = tokio::spawn(node::run(shared.clone()));
        Ok(Self { name, shared, task })
    }

    /// Ends all processes (SIGKILL) and waits for their end; the pods' objects stay as they are.
    pub async fn stop(self) {
        self.task.abort();
        // each task holds a reference until it is gone, and its process with it
        while Arc::strong_count(&self.shared) > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The Node object's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Names of Services and the addresses behind them, kept current; see [`HostMap`].
    pub fn hosts(&self) -> HostMap {
        self.shared.hosts.clone()
    }

    /// The output of a gateway pod's process so far, of all its restarts, also after the pod is gone.
    pub fn pod_log(&self, namespace: &str, pod: &str) -> Result<String> {
        let log = self.container(namespace, pod)?.log;
        std::fs::read_to_string(&log).map_err(Error::io("read", log))
    }

    /// All outputs of gateway processes: (namespace/pod, text). For tests that look for secrets in logs.
    pub fn logs(&self) -> Vec<(String, String)> {
        let containers = self.containers();
        let text = |log: &PathBuf| String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
        containers.iter().map(|((namespace, pod), handle)| (format!("{namespace}/{pod}"), text(&handle.log))).collect()
    }

    /// The loopback address of a gateway pod.
    pub fn pod_address(&self, namespace: &str, pod: &str) -> Result<IpAddr> {
        Ok(self.container(namespace, pod)?.address)
    }

    /// Sends a signal to a gateway pod's process behind the pod's back, as a crash (`"KILL"`, it is then restarted) or a
    /// hang (`"STOP"`, `"CONT"`).
    pub fn signal(&self, namespace: &str, pod: &str, signal: &'static str) -> Result<()> {
        let handle = self.container(namespace, pod)?;
        handle.signals.send(signal).map_err(|_| Error::Missing {
            what: format!("a process of pod {namespace}/{pod}"),
            cure: "the pod has ended".into(),
        })
    }

    /// The folder with the pods' volumes and logs.
    pub fn folder(&self) -> &std::path::Path {
        self.shared.folder.path()
    }

    fn container(&self, namespace: &str, pod: &str) -> Result<ContainerHandle> {
        self.containers().get(&(namespace.to_owned(), pod.to_owned())).cloned().ok_or_else(|| Error::Missing {
            what: format!("a gateway process of pod {namespace}/{pod}"),
            cure: "wait until the pod runs; only pods of the gateway have one".into(),
        })
    }

    fn containers(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), ContainerHandle>> {
        self.shared.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn remember(&self, namespace: &str, pod: &str, handle: ContainerHandle) {
        let mut containers = self.containers.lock().unwrap_or_else(PoisonError::into_inner);
        containers.insert((namespace.to_owned(), pod.to_owned()), handle);
    }
}
