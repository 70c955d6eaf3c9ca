//! What was pruned already: a converged gateway asks the API server for nothing that it does not declare.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use duo_runtime::Uid;

/// Most gateways remembered; beyond it all are pruned anew.
const MOST: usize = 10_000;

/// By the gateway's uid: the names that were kept when all else was removed.
#[derive(Default)]
pub(crate) struct Pruned(Mutex<HashMap<Uid, String>>);

impl Pruned {
    /// Whether something else is declared than when this process pruned last.
    pub(super) fn is_new(&self, uid: Uid, declared: &str) -> bool {
        self.lock().get(&uid).is_none_or(|before| before != declared)
    }

    pub(super) fn done(&self, uid: Uid, declared: String) {
        let mut known = self.lock();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(uid, declared);
    }

    /// Forgets all but these gateways.
    pub(crate) fn keep(&self, uids: &HashSet<Uid>) {
        self.lock().retain(|uid, _| uids.contains(uid));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uid, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
