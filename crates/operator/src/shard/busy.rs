//! How much of what belongs to a gateway is worked on at this moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

type Key = (String, String);

/// Counts by gateway. A clone shares them.
#[derive(Clone, Default)]
pub(super) struct Busy(Arc<Mutex<HashMap<Key, usize>>>);

/// One piece of work; it ends when this is dropped, also where a reconcile is dropped on its way.
pub(crate) struct Guard(Busy, Key);

impl Busy {
    pub(super) fn begin(&self, namespace: &str, gateway: &str) -> Guard {
        let key = (namespace.to_owned(), gateway.to_owned());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default() += 1;
        Guard(self.clone(), key)
    }

    pub(super) fn is(&self, namespace: &str, gateway: &str) -> bool {
        let key = (namespace.to_owned(), gateway.to_owned());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&key)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut all = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_busy_until_the_last_piece_of_work_ends() {
        let busy = Busy::default();
        let (one, two, other) = (busy.begin("n", "duo"), busy.begin("n", "duo"), busy.begin("m", "duo"));
        drop(one);
        assert!(busy.is("n", "duo"));
        drop(two);
        assert!(!busy.is("n", "duo"));
        assert!(busy.is("m", "duo"));
        drop(other);
        assert!(busy.0.lock().unwrap().is_empty(), "nothing is kept");
    }
}
