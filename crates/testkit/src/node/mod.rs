//! A Kubernetes of one real node: control plane, scheduler, containerd, kubelet, kube-proxy, a pod network and DNS, in a
//! network namespace of its own. Needs root. For the demo and the end-to-end suite.
//!
//! Nothing of the machine is used in common except its kernel: folders, sockets, cgroup, bridge and addresses are the
//! cluster's own, so that several clusters run side by side, and beside a container engine of the machine. Pods reach
//! each other, Services and the machine's end of the uplink; nothing else. No image can be pulled: see [`crate::images`].
//!
//! It knows nothing of the product.
//!
//! ```no_run
//! # fn main() -> duo_testkit::Result<()> {
//! use duo_testkit::node::{NodeCluster, Options, Progress};
//! let cluster = NodeCluster::up(&Options::new("e2e", "/var/lib/duo-e2e"), &Progress::silent())?;
//! cluster.kubectl(["get", "--raw", "/version"])?;
//! cluster.kubectl(["get", "nodes"])?;
//! # Ok(())
//! # } // dropped: taken down again
//! ```

mod cgroup;
mod command;
mod config;
mod layout;
mod network;
mod packages;
mod start;
mod state;
mod teardown;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::assets::{Assets, Size};
use crate::error::{Error, Result};
use crate::images::Image;
use layout::Layout;
use start::Start;
use state::State;

/// Which cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// 1 to 10 characters of a-z, 0-9 and `-`; unique on the machine.
    pub name: String,
    /// Absolute folder of at most 70 bytes that is the cluster's alone: `up` fills it, `down` removes it. Use a fixed one: then the
    /// next `up` also clears away what a killed process left.
    pub folder: PathBuf,
}

impl Options {
    /// Both fields.
    pub fn new(name: &str, folder: impl Into<PathBuf>) -> Self {
        Self { name: name.to_owned(), folder: folder.into() }
    }

    /// `${DUO_CLUSTER_DIR:-/var/lib/duo-demo}`, named `demo`.
    pub fn demo() -> Self {
        let folder = std::env::var_os("DUO_CLUSTER_DIR").filter(|folder| !folder.is_empty());
        Self::new("demo", folder.unwrap_or_else(|| "/var/lib/duo-demo".into()))
    }
}

/// Where lines about what is being done go.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(&str) + Send + Sync>);

impl Progress {
    /// Calls `say` with each line (no line end).
    pub fn to(say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(say))
    }

    /// Tells nobody.
    pub fn silent() -> Self {
        Self::to(|_| {})
    }

    /// One line.
    pub fn say(&self, line: &str) {
        (self.0)(line);
    }
}

/// A running cluster. Dropping it takes it down, also when a test panics; [`NodeCluster::keep`] leaves it running.
pub struct NodeCluster {
    layout: Layout,
    assets: Assets,
    keep: bool,
    /// Held as long as this value lives: no second process uses the cluster, or takes it down, at the same time.
    _lock: File,
}

impl NodeCluster {
    /// Brings the cluster up and waits until its node is Ready and names resolve; about 30 s once the Kubernetes
    /// programs are built (`Assets::locate`, about 15 minutes the first time). Blocks.
    ///
    /// A cluster of this folder that is already up is used as it is; a broken one is removed first. Installs missing
    /// Debian packages. On failure everything is removed again, and the error has the last lines of the log that
    /// matters.
    pub fn up(options: &Options, progress: &Progress) -> Result<Self> {
        let layout = Layout::new(&options.name, &options.folder)?;
        let assets = Self::prepare(progress)?;
        let mut cluster = Self { keep: false, _lock: lock(&layout, progress)?, layout, assets };
        match State::read(cluster.layout.folder())? {
            Some(state) if cluster.usable(&state) => {
                progress.say(&format!("cluster {}: already running", options.name));
                // it was there before: a failure below is no reason to remove it
                cluster.keep = true;
                cluster.start(state, progress).finish()?;
                cluster.keep = false;
            }
            found => {
                if let Some(state) = found {
                    progress.say(&format!("cluster {}: removing what an earlier one left", options.name));
                    teardown::down(&cluster.layout, &state)?;
                }
                network::unused(&cluster.layout)?;
                let state = State::new(&options.name, cluster.assets.folder());
                cluster.start(state, progress).all().map_err(|error| cluster.save_log(error))?;
            }
        }
        Ok(cluster)
    }

    /// What `up` does first: fails without root, installs missing Debian packages, finds or builds the Kubernetes
    /// programs. On its own for callers with long work of their own before `up`.
    pub fn prepare(progress: &Progress) -> Result<Assets> {
        packages::require(&|line| progress.say(line))?;
        progress.say("Kubernetes programs (built once, which takes about 15 minutes)");
        Assets::locate(Size::Node)
    }

    /// Removes the cluster of this folder, whichever process brought it up; false when there is none. Needs root.
    pub fn down(options: &Options, progress: &Progress) -> Result<bool> {
        let layout = Layout::new(&options.name, &options.folder)?;
        let Some(state) = State::read(&options.folder)? else { return Ok(false) };
        crate::assets::require_root("taking a cluster down")?;
        let layout = if state.name == options.name { layout } else { Layout::new(&state.name, &options.folder)? };
        let _lock = lock(&layout, progress)?;
        teardown::down(&layout, &state)?;
        Ok(true)
    }

    fn start<'a>(&'a self, state: State, progress: &'a Progress) -> Start<'a> {
        Start { layout: &self.layout, assets: &self.assets, progress, state }
    }

    /// The folder goes when `up` fails, and the log that tells why must not: it is copied.
    fn save_log(&self, mut error: Error) -> Error {
        if let Error::Process { log: Some(log), .. } | Error::Timeout { log: Some(log), .. } = &mut error {
            let saved = std::env::temp_dir().join(format!("duo-{}-failed.log", self.layout.name()));
            if std::fs::copy(&log, &saved).is_ok() {
                *log = saved;
            }
        }
        error
    }

    fn usable(&self, state: &State) -> bool {
        state.name == self.layout.name()
            && state.programs == self.assets.folder()
            && !state.processes.is_empty()
            && state.ended().is_none()
            && self.kubectl(["get", "--raw", "/readyz"]).is_ok()
    }

    /// Leaves the cluster running when this value goes.
    pub fn keep(mut self) {
        self.keep = true;
    }

    /// For clients outside the namespace: reaches the API server through the uplink, as cluster administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig()
    }

    /// The node's name.
    pub fn node(&self) -> String {
        self.layout.node()
    }

    /// The log file of one of the node's programs, `"kubelet"` for example. Gone after `down`.
    pub fn log(&self, program: &str) -> PathBuf {
        self.layout.log(program)
    }

    /// The Kubernetes programs, `kubectl` among them.
    pub fn assets(&self) -> &Assets {
        &self.assets
    }

    /// A client with the administrator's rights.
    pub async fn client(&self) -> Result<kube::Client> {
        let invalid = |why: String| Error::Invalid { what: self.kubeconfig().display().to_string(), why };
        let kubeconfig =
            kube::config::Kubeconfig::read_from(self.kubeconfig()).map_err(|error| invalid(error.to_string()))?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default())
            .await
            .map_err(|error| invalid(error.to_string()))?;
        kube::Client::try_from(config).map_err(Error::kube("make a client"))
    }

    /// Imports an image, for pods that start from now on. True when it takes the place of a different one of the same
    /// name: pods that run that one go on doing so until they are deleted.
    pub fn import(&self, image: &Image) -> Result<bool> {
        start::import(&self.layout, image)
    }

    /// Runs `kubectl` to its end; its standard output. Anything but success is an error with its words.
    pub fn kubectl<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Result<String> {
        command::run(self.kubectl_command(words))
    }

    /// `kubectl` with the kubeconfig, not started yet: for input, or output that is read while it runs.
    pub fn kubectl_command<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Command {
        start::kubectl(&self.assets, &self.layout, words)
    }

    /// Server-side apply of YAML documents.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        start::apply(&self.assets, &self.layout, manifest)
    }

    /// A program to be run inside the network namespace, where pods' and Services' addresses are reachable.
    pub fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut enter = network::enter(&self.layout);
        enter.arg(program);
        enter
    }
}

impl Drop for NodeCluster {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = State::read(self.layout.folder())
            .and_then(|state| state.map_or(Ok(()), |state| teardown::down(&self.layout, &state)))
        {
            tracing::error!(cluster = self.layout.name(), %error, "the cluster was not taken down completely");
        }
    }
}

/// Takes the lock of the cluster's name, waiting for another process that has it.
fn lock(layout: &Layout, progress: &Progress) -> Result<File> {
    let path = Path::new("/run").join(format!("duo-{}.lock", layout.name()));
    let file = File::create(&path).map_err(Error::io("create", &path))?;
    if file.try_lock().is_err() {
        progress.say(&format!("cluster {}: in use by another process, waiting for it", layout.name()));
        file.lock().map_err(Error::io("lock", &path))?;
    }
    Ok(file)
}
