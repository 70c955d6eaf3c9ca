//! The life of one pod on the node, from binding to its end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::probe::Readiness;
use super::sources::Sources;
use super::status::{self, History, State};
use super::volumes::Volumes;
use super::{ContainerHandle, Shared, address, env};
use crate::process::{ProcessSpec, Supervised};

/// The gateway's ports, free on the addresses that pods get.
const GATEWAY_PORTS: [u16; 2] = [5052, 8082];
/// How long to wait before what is missing is looked for again.
const RETRY: Duration = Duration::from_millis(300);
/// Waits between restarts, doubled each time; kubelet's are 10 s to 300 s.
const BACKOFF: std::ops::Range<Duration> = Duration::from_millis(200)..Duration::from_secs(5);

/// One pod, seen from its task.
struct Life {
    shared: Arc<Shared>,
    updates: watch::Receiver<Arc<Pod>>,
    api: Api<Pod>,
    sources: Sources,
    address: IpAddr,
    history: History,
    written: Option<serde_json::Value>,
}

/// Why a step of a pod's life was left.
enum Left {
    /// The pod is being deleted.
    Deleted,
    /// The process has ended by itself.
    Ended(i32),
}

/// Runs a pod until it has ended and its object is gone; dropping it ends the process.
pub(super) async fn run(shared: Arc<Shared>, updates: watch::Receiver<Arc<Pod>>) {
    let pod = updates.borrow().clone();
    let namespace = pod.namespace().unwrap_or_default();
    let gateway = gateway_container(&pod, &shared);
    let ports: &[u16] = if gateway.is_some() { &GATEWAY_PORTS } else { &[] };
    let address = match address::allocate(ports) {
        Ok(address) => address,
        Err(error) => {
            tracing::warn!(%error, pod = pod.name_any(), "no address");
            return;
        }
    };
    let mut life = Life {
        api: shared.pods(&namespace),
        sources: Sources::new(shared.client.clone(), &namespace),
        shared,
        updates,
        address,
        history: History::new(),
        written: None,
    };
    match gateway {
        None => life.run_fake().await,
        Some(container) => life.run_gateway(&container).await,
    }
}

fn gateway_container(pod: &Pod, shared: &Shared) -> Option<Container> {
    shared.options.gateway.as_ref()?;
    let is_gateway = |container: &&Container| {
        container.image.as_deref().is_some_and(|image| image.contains(&shared.options.gateway_image))
    };
    pod.spec.as_ref()?.containers.iter().find(is_gateway).cloned()
}

impl Life {
    fn pod(&self) -> Arc<Pod> {
        self.updates.borrow().clone()
    }

    async fn run_fake(&mut self) {
        while !self.set(&State::Running { ready: true }).await {
            if tokio::time::timeout(RETRY, self.deleted()).await.is_ok() {
                break;
            }
        }
        self.deleted().await;
        self.finish(0).await;
    }

    async fn run_gateway(&mut self, container: &Container) {
        let pod = self.pod();
        let folder = self.shared.folder.join(format!("{}_{}", pod.name_any(), pod.uid().unwrap_or_default()));
        let claims = self.shared.options.claims.clone();
        let mut volumes = Volumes::new(folder.join("volumes"), &self.address.to_string(), claims);
        let log = folder.join("log");
        let (sender, mut signals) = mpsc::unbounded_channel();
        let handle = ContainerHandle { address: self.address, log: log.clone(), signals: sender };
        self.shared.remember(&pod.namespace().unwrap_or_default(), &pod.name_any(), handle);
        let mut readiness = Readiness::new(container, self.address, self.shared.options.probe_period);
        let mut backoff = BACKOFF.start;
        loop {
            let Some(mut process) = self.start(container, &mut volumes, &log).await else {
                return self.finish(0).await;
            };
            readiness.reset();
            self.history.running_since = Timestamp::now();
            self.set(&State::Running { ready: false }).await;
            match self.watch(&mut process, &mut readiness, &mut volumes, &mut signals).await {
                Left::Deleted => {
                    let code = process.stop(self.grace()).await.unwrap_or(137);
                    return self.finish(code).await;
                }
                Left::Ended(code) => {
                    self.history.last_code = Some(code);
                    self.history.restarts += 1;
                    self.set(&State::Waiting {
                        reason: "CrashLoopBackOff".into(),
                        message: format!("back-off restarting failed container, it ended with code {code}"),
                    })
                    .await;
                    if tokio::time::timeout(backoff, self.deleted()).await.is_ok() {
                        return self.finish(code).await;
                    }
                    backoff = (backoff * 2).min(BACKOFF.end);
                }
            }
        }
    }

    /// Starts the process once everything it needs is there; `None` when the pod is deleted before.
    async fn start(
        &mut self,
        container: &Container,
        volumes: &mut Volumes,
        log: &std::path::Path,
    ) -> Option<Supervised> {
        loop {
            let waiting = match volumes.refresh(&self.pod(), &self.sources).await {
                Err(message) => State::Waiting { reason: "ContainerCreating".into(), message },
                Ok(()) => match self.spawn(container, volumes, log).await {
                    Ok(process) => return Some(process),
                    Err(message) => State::Waiting { reason: "CreateContainerConfigError".into(), message },
                },
            };
            self.set(&waiting).await;
            if tokio::time::timeout(RETRY, self.deleted()).await.is_ok() {
                return None;
            }
        }
    }

    async fn spawn(
        &self,
        container: &Container,
        volumes: &Volumes,
        log: &std::path::Path,
    ) -> Result<Supervised, String> {
        let pod = self.pod();
        let address = self.address.to_string();
        let mut variables = env::resolve(&pod, container, &address, &self.sources).await?;
        let mounts = volumes.mounts(container).map_err(|error| error.to_string())?;
        let args: Vec<String> =
            container.args.iter().flatten().map(|arg| mounts.rewrite(&env::expand(arg, &variables))).collect();
        for value in variables.values_mut() {
            *value = mounts.rewrite(value);
        }
        // what a network namespace does for a real pod: the listening addresses are the pod's own
        for name in ["AIGW_FASTAPI__API_HOST", "AIGW_FASTAPI__METRICS_HOST"] {
            let host = variables.entry(name.to_owned()).or_default();
            if matches!(host.as_str(), "" | "0.0.0.0" | "::" | "[::]") {
                host.clone_from(&address);
            }
        }
        variables.insert("HOSTNAME".to_owned(), pod.name_any());
        variables.extend(self.shared.options.gateway_env.iter().cloned());
        let program = self.shared.options.gateway.as_ref().ok_or("no gateway program")?;
        let mut spec = ProcessSpec::new(program, log).name(format!("pod {}", pod.name_any())).clear_env().args(args);
        for (name, value) in variables {
            spec = spec.env(name, value);
        }
        spec.spawn().map_err(|error| error.to_string())
    }

    /// Probes, refreshes volumes and passes signals on, as long as the process runs and the pod is wanted.
    async fn watch(
        &mut self,
        process: &mut Supervised,
        readiness: &mut Readiness,
        volumes: &mut Volumes,
        signals: &mut mpsc::UnboundedReceiver<&'static str>,
    ) -> Left {
        let refresh_period = self.shared.options.refresh_period;
        let mut next_probe = Instant::now() + readiness.delay();
        let mut next_refresh = Instant::now() + refresh_period;
        let mut seen = sync_key(&self.pod());
        loop {
            if self.pod().metadata.deletion_timestamp.is_some() {
                return Left::Deleted;
            }
            let key = sync_key(&self.pod());
            if key != seen || Instant::now() >= next_refresh {
                seen = key;
                next_refresh = Instant::now() + refresh_period;
                if let Err(message) = volumes.refresh(&self.pod(), &self.sources).await {
                    // a running container keeps what it had; kubelet says so in an event
                    tracing::debug!(message, "refresh of volumes");
                }
            }
            tokio::select! {
                code = process.wait() => return Left::Ended(code.unwrap_or(-1)),
                _ = tokio::time::sleep_until(next_refresh) => {}
                _ = tokio::time::sleep_until(next_probe) => {
                    // a process that ended while it was probed is seen in the next round
                    let ready = readiness.probe().await;
                    next_probe = Instant::now() + readiness.period();
                    self.set(&State::Running { ready }).await;
                }
                Some(signal) = signals.recv() => process.signal(signal),
                changed = self.updates.changed() => if changed.is_err() { return Left::Deleted },
            }
        }
    }

    /// Waits until the pod is being deleted.
    async fn deleted(&mut self) {
        while self.pod().metadata.deletion_timestamp.is_none() {
            if self.updates.changed().await.is_err() {
                return;
            }
        }
    }

    fn grace(&self) -> Duration {
        let pod = self.pod();
        let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or(30).max(1);
        let wanted = Duration::from_secs(u64::try_from(seconds).unwrap_or(1));
        self.shared.options.grace_limit.map_or(wanted, |limit| wanted.min(limit))
    }

    /// Writes the final status and removes the object, which waits for just that.
    async fn finish(&mut self, code: i32) {
        self.set(&State::Ended { code }).await;
        let pod = self.pod();
        let mut params = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        params.preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
        loop {
            match self.api.delete(&pod.name_any(), &params).await {
                Ok(_) => return,
                // gone, or another pod has the name by now
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                Err(error) => {
                    tracing::debug!(%error, "delete pod");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Writes the status if it differs from what was written last. After a failure (`false`) the next call writes it.
    async fn set(&mut self, state: &State) -> bool {
        let was_ready = self.written.as_ref().map(|written| &written["status"]["containerStatuses"][0]["ready"]);
        let ready = *state == State::Running { ready: true };
        if was_ready.and_then(serde_json::Value::as_bool) != Some(ready) {
            self.history.ready_changed = Timestamp::now();
        }
        let pod = self.pod();
        let patch = status::patch(&pod, state, self.address, &self.history);
        if self.written.as_ref() == Some(&patch) {
            return true;
        }
        match self.api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => {
                self.written = Some(patch);
                true
            }
            Err(error) => {
                tracing::debug!(%error, pod = pod.name_any(), "status");
                false
            }
        }
    }
}

/// What makes kubelet look at a pod at once: any change of its own metadata or spec, but not of the status.
fn sync_key(pod: &Pod) -> (String, String) {
    let metadata = &pod.metadata;
    (format!("{:?}{:?}", metadata.annotations, metadata.labels), format!("{:?}", metadata.generation))
}
