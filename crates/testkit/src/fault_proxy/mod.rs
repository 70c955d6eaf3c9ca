//! A reverse proxy that counts a program's calls and spoils chosen ones.
//!
//! Every call gets a name (verb and object, or operation) and a number among the calls of that name since
//! [`FaultProxy::begin`]; `patch selfhostedmodels/status mixtral #2` is the same moment of a scenario in every run, which
//! the 117th call is not. A fault armed for a name and number is played once. Watches are streamed; each of their events
//! is numbered like a call, so that it can be lost.
//!
//! Knows HTTP/1.1 and TLS and, in [`kubernetes`], how calls to a Kubernetes API are named. Names of other APIs are given
//! by the caller. It does not know what a right answer is.

mod answers;
mod exchange;
mod fault;
pub mod kubernetes;
mod plan;
mod server;
mod watch;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::request::Parts;
use tokio::task::JoinHandle;

pub use answers::Style;
pub use fault::Fault;
pub use plan::Call;
use plan::Plan;

use crate::error::Result;
use crate::pki::Identity;

/// What a call is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Verb and object, or operation; without anything that differs from run to run.
    pub name: String,
    /// Whether it means to change something.
    pub write: bool,
    /// Whether its answer may come from a replica that lags behind, see [`Fault::Stale`].
    pub list: bool,
    /// Whether the answer is a stream of Kubernetes watch events; then what is watched.
    pub watch: Option<String>,
}

/// Names a call by its head and body; a call without a name is passed on and not counted.
pub type Namer = Arc<dyn Fn(&Parts, &Bytes) -> Option<Named> + Send + Sync>;
/// Kills the program whose calls are counted, and starts it again or not; returns when it is dead.
pub type Killer = Arc<dyn Fn() + Send + Sync>;

/// What can be set for a [`FaultProxy`].
pub struct Options {
    /// How calls are named.
    pub namer: Namer,
    /// In whose words faults are answered.
    pub style: Style,
    /// PEM authority of the upstream; the system's when left out.
    pub upstream_ca: Option<String>,
    /// Certificate for `127.0.0.1`; without one it speaks plain HTTP.
    pub tls: Option<Identity>,
}

/// A running proxy on a free loopback port; ends when dropped.
pub struct FaultProxy {
    address: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    client: reqwest::Client,
    namer: Namer,
    style: Style,
    upstream: Mutex<String>,
    kill: Mutex<Option<Killer>>,
    plan: Mutex<Plan>,
}

impl FaultProxy {
    /// Listens. Calls are answered with 503 until [`Self::set_upstream`].
    pub async fn start(options: Options) -> Result<Self> {
        let acceptor = options.tls.as_ref().map(server::acceptor).transpose()?;
        let shared = Arc::new(Shared {
            client: exchange::client(options.upstream_ca.as_deref())?,
            namer: options.namer,
            style: options.style,
            upstream: Mutex::default(),
            kill: Mutex::default(),
            plan: Mutex::default(),
        });
        let tls = acceptor.is_some();
        let (address, task) = server::start(Arc::clone(&shared), acceptor).await?;
        Ok(Self { address, tls, shared, task })
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Where calls go: a URL without a slash at the end.
    pub fn set_upstream(&self, url: &str) {
        url.clone_into(&mut lock(&self.shared.upstream));
    }

    /// What [`Fault::KilledBefore`] and [`Fault::KilledAfter`] do.
    pub fn on_kill(&self, kill: Killer) {
        *lock(&self.shared.kill) = Some(kill);
    }

    /// A new stretch of the scenario: numbers start at 1, armed faults that nothing met are forgotten.
    pub fn begin(&self) {
        self.plan().begin();
    }

    /// Forgets answers that [`Fault::Stale`] could repeat.
    pub fn forget_answers(&self) {
        self.plan().forget_answers();
    }

    /// Plays a fault at the `nth` call (or watch event) of this name, once.
    pub fn arm(&self, name: &str, nth: u32, fault: Fault) {
        self.plan().arm(name, nth, fault);
    }

    /// Faults that are armed and that no call has met.
    pub fn armed(&self) -> usize {
        self.plan().armed()
    }

    /// The calls and watch events since [`Self::begin`], in the order they arrived.
    pub fn calls(&self) -> Vec<Call> {
        self.plan().calls()
    }

    /// How many calls and events there were ever; a mark for [`Self::writes_since`].
    pub fn mark(&self) -> u64 {
        self.plan().mark()
    }

    /// Names of the calls since a mark that mean to change something.
    pub fn writes_since(&self, mark: u64) -> Vec<String> {
        self.plan().writes_since(mark)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        lock(&self.shared.plan)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
