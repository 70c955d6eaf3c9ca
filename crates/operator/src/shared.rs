//! Reads that those who come together share: thirty resources of a gateway come up at once and need the same.
//!
//! A value is kept for a second, and not even that long once a change was told: whoever is woken by a change reads what is
//! there then.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a value is shared.
pub(crate) const SHARED: Duration = Duration::from_secs(1);

/// Values by key. A clone shares them.
pub(crate) struct Shared<K, V> {
    slots: Arc<Mutex<HashMap<K, Arc<Slot<V>>>>>,
}

/// What the readers of one value share.
struct Slot<V> {
    /// Who holds it reads.
    last: tokio::sync::Mutex<Option<(Instant, Arc<V>)>>,
    /// What began to be read before counts no more.
    void_before: Mutex<Option<Instant>>,
}

impl<V> Slot<V> {
    fn counts(&self, began: Instant, now: Instant) -> bool {
        let void = *self.void_before.lock().unwrap_or_else(PoisonError::into_inner);
        void.is_none_or(|void| began > void) && now.saturating_duration_since(began) < SHARED
    }
}

impl<K, V> Clone for Shared<K, V> {
    fn clone(&self) -> Self {
        Self { slots: Arc::clone(&self.slots) }
    }
}

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self { slots: Arc::default() }
    }
}

impl<K, V> Shared<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Send + Sync + 'static,
{
    /// The value, by `read` where no other reader has one. `None` is not shared: what is missing is looked for each time.
    pub(crate) async fn get<E>(
        &self,
        key: K,
        read: impl Future<Output = Result<Option<V>, E>>,
    ) -> Result<Option<Arc<V>>, E> {
        let slot =
            Arc::clone(self.slots().entry(key.clone()).or_insert_with(|| {
                Arc::new(Slot { last: tokio::sync::Mutex::new(None), void_before: Mutex::default() })
            }));
        let mut last = slot.last.lock().await;
        if let Some((began, value)) = last.as_ref()
            && slot.counts(*began, Instant::now())
        {
            return Ok(Some(Arc::clone(value)));
        }
        let began = Instant::now();
        // Before it is read: a read that fails, or is dropped on its way, leaves nothing either.
        self.forget_later(key, &slot);
        let found = read.await?.map(Arc::new);
        *last = found.clone().map(|value| (began, value));
        Ok(found)
    }

    /// What was read of it so far counts no more.
    pub(crate) fn changed(&self, key: &K) {
        let slot = self.slots().get(key).cloned();
        if let Some(slot) = slot {
            *slot.void_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    /// No value stays in memory for longer than it is shared.
    fn forget_later(&self, key: K, slot: &Arc<Slot<V>>) {
        let (slots, slot) = (Arc::clone(&self.slots), Arc::downgrade(slot));
        tokio::spawn(async move {
            tokio::time::sleep(SHARED).await;
            let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
            if slots.get(&key).is_some_and(|now| slot.ptr_eq(&Arc::downgrade(now))) {
                slots.remove(&key);
            }
        });
    }

    /// How many values are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.slots().len()
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<K, Arc<Slot<V>>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
