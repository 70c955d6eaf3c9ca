//! A real Kubernetes control plane without nodes: etcd, kube-apiserver (RBAC, CEL, audit log) and
//! kube-controller-manager (Deployments, garbage collection by ownerReferences, namespaces, service accounts).
//!
//! Needs no root and no network but loopback. Pods stay Pending unless a [`FakeNode`](crate::fake_node::FakeNode) runs
//! them. Endpoints and EndpointSlices are not kept, because the pods' addresses are loopback ones, which the API
//! refuses there.

mod access;
mod audit;
mod programs;
mod shared;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::{Client, Config};

pub use audit::{Mark, Write};
use programs::{Files, Programs};

use crate::apply;
use crate::error::{Error, Result};
use crate::process::{Supervised, TempFolder};

/// Generous, because the machine may be building something else; a control plane that fails says so at once.
const START_TIMEOUT: Duration = Duration::from_secs(180);

/// How long a program may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// What can be set for a [`ControlPlane`]; the default is right for most suites.
#[derive(Debug, Clone, Default)]
pub struct ControlPlaneOptions {
    /// YAML documents that are applied before the controllers start. Give the CRDs here: the garbage collector looks
    /// for kinds it does not know only every 30 s, so owners of kinds added later lose their dependents that late.
    pub preload: String,
    /// More arguments for kube-apiserver, as `--feature-gates=…`.
    pub api_server_args: Vec<String>,
}

/// A running control plane. Dropping it ends its programs and removes its folder, also when a test panics; they end as
/// well when the test process is killed.
#[derive(Debug)]
pub struct ControlPlane {
    // dropped in this order: clients of a program before the program, the folder last
    controller_manager: Mutex<Option<Supervised>>,
    api_server: Mutex<Option<Supervised>>,
    etcd: Mutex<Option<Supervised>>,
    programs: Programs,
    folder: TempFolder,
}

impl ControlPlane {
    /// Starts a control plane with default options; see [`Self::start_with`].
    pub async fn start() -> Result<Self> {
        Self::start_with(ControlPlaneOptions::default()).await
    }

    /// Starts a control plane and waits until it is ready: the API server's `/readyz` as an administrator, the namespace
    /// `default`, `preload` applied. The first call on a machine builds the programs (see
    /// [`Assets::locate`](crate::assets::Assets::locate)), later ones take a few seconds.
    pub async fn start_with(options: ControlPlaneOptions) -> Result<Self> {
        const TRIES: usize = 3;
        for _ in 1..TRIES {
            match Self::try_start(&options).await {
                // the port was free when it was chosen, and another process was faster
                Err(error) if error.to_string().contains("address already in use") => {
                    tracing::debug!(%error, "a port was taken, starting again with others");
                }
                result => return result,
            }
        }
        Self::try_start(&options).await
    }

    async fn try_start(options: &ControlPlaneOptions) -> Result<Self> {
        let folder = TempFolder::new("duo-control-plane-")?;
        let programs = Programs::prepare(Files::create(&folder)?, options.api_server_args.clone()).await?;
        let etcd = programs.spawn_etcd()?;
        let api_server = programs.spawn_api_server()?;
        let control_plane = Self {
            controller_manager: Mutex::new(None),
            api_server: Mutex::new(Some(api_server)),
            etcd: Mutex::new(Some(etcd)),
            programs,
            folder,
        };
        control_plane.wait_ready().await?;
        if !options.preload.is_empty() {
            control_plane.apply_yaml(&options.preload).await?;
        }
        // only now: before the RBAC bootstrap is done it would be refused, and end
        *lock(&control_plane.controller_manager) = Some(control_plane.programs.spawn_controller_manager()?);
        Ok(control_plane)
    }

    /// The kubeconfig of an administrator (`system:masters`), a file inside [`Self::folder`].
    pub fn kubeconfig_path(&self) -> &Path {
        &self.programs.files.admin_kubeconfig
    }

    /// The API server's URL, as `https://127.0.0.1:23456`.
    pub fn url(&self) -> &str {
        &self.programs.files.url
    }

    /// The folder with logs and files; it goes away with the control plane.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path of a program of the same Kubernetes, as `"kubectl"`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.assets.path(name)
    }

    /// A client of an administrator. It belongs to the async runtime it is made in: make one per test.
    pub fn client(&self) -> Result<Client> {
        self.client_from(self.config())
    }

    /// The settings that [`Self::client`] is made from.
    pub fn config(&self) -> Config {
        access::admin_config(&self.programs.files)
    }

    /// Applies YAML documents (server-side apply as field manager `duo-testkit`, forced); see
    /// [`apply::apply_yaml`]. Namespaced objects without a namespace go to `default`.
    pub async fn apply_yaml(&self, yaml: &str) -> Result<Vec<kube::api::DynamicObject>> {
        apply::apply_yaml(&self.client()?, "default", yaml).await
    }

    /// Creates a namespace whose name starts with `prefix`, and waits until pods can be created in it (its default
    /// service account is there).
    pub async fn namespace(&self, prefix: &str) -> Result<String> {
        apply::create_namespace(&self.client()?, prefix).await
    }

    /// Ends the API server as a crash would (SIGKILL); etcd keeps what it had. Clients see refused connections.
    pub fn kill_api_server(&self) {
        drop(lock(&self.api_server).take());
    }

    /// Starts the API server again, on the same port, and waits until it is ready.
    pub async fn start_api_server(&self) -> Result<()> {
        let running = lock(&self.api_server).is_some();
        if !running {
            let api_server = self.programs.spawn_api_server()?;
            *lock(&self.api_server) = Some(api_server);
        }
        self.wait_ready().await
    }

    /// Stops the API server in an orderly way and starts it again on the same port; watches are cut by it.
    pub async fn restart_api_server(&self) -> Result<()> {
        stop(&self.api_server).await?;
        self.start_api_server().await
    }

    /// Stops everything in an orderly way. Dropping the control plane does as well, only less gently.
    pub async fn stop(self) -> Result<()> {
        stop(&self.controller_manager).await?;
        // watches that clients still hold keep it from ending by itself
        self.kill_api_server();
        stop(&self.etcd).await
    }

    /// The process ids of its programs that run.
    pub fn pids(&self) -> Vec<u32> {
        [&self.etcd, &self.api_server, &self.controller_manager]
            .into_iter()
            .filter_map(|program| lock(program).as_ref().map(Supervised::pid))
            .collect()
    }

    async fn wait_ready(&self) -> Result<()> {
        let client = self.client()?;
        let started = Instant::now();
        loop {
            for program in [&self.etcd, &self.api_server] {
                if let Some(program) = lock(program).as_mut() {
                    program.check_running()?;
                }
            }
            let last = match ready(&client).await {
                Ok(()) => return Ok(()),
                Err(error) => error.to_string(),
            };
            if started.elapsed() > START_TIMEOUT {
                return Err(Error::Timeout {
                    what: "the API server".into(),
                    after: START_TIMEOUT,
                    last,
                    log: lock(&self.api_server).as_ref().map(|program| program.log().to_path_buf()),
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// `/readyz`, and the namespace that everything without one goes to (made by the API server soon after).
async fn ready(client: &Client) -> Result<(), kube::Error> {
    for path in ["/readyz", "/api/v1/namespaces/default"] {
        let request = http::Request::get(path).body(vec![]).map_err(kube::Error::HttpError)?;
        client.request_text(request).await?;
    }
    Ok(())
}

async fn stop(program: &Mutex<Option<Supervised>>) -> Result<()> {
    let taken = lock(program).take();
    match taken {
        Some(mut program) => program.stop(GRACE).await.map(drop),
        None => Ok(()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
