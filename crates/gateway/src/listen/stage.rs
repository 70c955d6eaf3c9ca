//! The steps of stopping, and how each connection learns of them: by a flag that it reads whenever it is awake anyway,
//! and a wake-up when the flag changes. (Waiting on a shared token would take that token's lock at every wake-up.)

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use tokio_util::sync::CancellationToken;

use super::activity::Activity;

/// The steps of stopping, in their order; common to all listeners.
#[derive(Clone, Default)]
pub struct Stages {
    /// Still accepting; HTTP/2 clients are told to go elsewhere (HTTP/1 ones learn it with their next answer).
    pub draining: CancellationToken,
    /// No more new connections; those there finish what is under way.
    pub closing: CancellationToken,
    /// Everything ends at once.
    pub killed: CancellationToken,
}

/// Where a listener's connections are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Running,
    Draining,
    Closing,
    Killed,
}

#[derive(Default)]
struct Shared {
    stage: AtomicU8,
    next: AtomicU64,
    connections: Mutex<HashMap<u64, Arc<Activity>>>,
}

impl Shared {
    fn connections(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connections of one listener. Its drop kills them.
#[derive(Default)]
pub(super) struct Registry(Arc<Shared>);

impl Registry {
    pub(super) fn enter(&self, stage: Stage) {
        self.0.stage.fetch_max(stage as u8, Ordering::AcqRel);
        for activity in self.0.connections().values() {
            activity.waker.wake();
        }
    }

    pub(super) fn register(&self) -> Registered {
        let (id, activity) = (self.0.next.fetch_add(1, Ordering::Relaxed), Activity::new());
        self.0.connections().insert(id, activity.clone());
        Registered { shared: self.0.clone(), id, activity }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.enter(Stage::Killed);
    }
}

/// One connection's entry.
pub(super) struct Registered {
    shared: Arc<Shared>,
    id: u64,
    pub(super) activity: Arc<Activity>,
}

impl Registered {
    pub(super) fn stage(&self) -> Stage {
        match self.shared.stage.load(Ordering::Acquire) {
            0 => Stage::Running,
            1 => Stage::Draining,
            2 => Stage::Closing,
            _ => Stage::Killed,
        }
    }

    /// Waits for a stage; for the connection's own task only.
    pub(super) async fn reached(&self, stage: Stage) {
        std::future::poll_fn(|cx| {
            self.activity.waker.register(cx.waker());
            if self.stage() >= stage { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.connections().remove(&self.id);
    }
}
