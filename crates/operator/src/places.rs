//! How many reconciles run: while most places are taken nobody new is let in.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Places of all kinds together.
#[derive(Default)]
pub(crate) struct Places(AtomicUsize);

/// One place, until it is dropped.
pub(crate) struct Place<'a>(&'a Places);

impl Places {
    /// Takes a place; there is always one, the controllers' concurrency bounds them.
    pub(crate) fn take(&self) -> Place<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Place(self)
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_left() {
        let places = Places::default();
        let (one, two) = (places.take(), places.take());
        assert_eq!(places.taken(), 2);
        drop(one);
        drop(two);
        assert_eq!(places.taken(), 0);
    }
}
