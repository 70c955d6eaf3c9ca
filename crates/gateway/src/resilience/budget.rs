//! How many extra calls there may be beside the ordinary ones, so that retries do not multiply an outage.

use std::sync::atomic::{AtomicU32, Ordering};

/// What one extra call costs.
const WHOLE: u32 = 1000;

/// Each ordinary call pays in its share of an extra one; each extra call takes out a whole one. It begins full, so
/// that a few extra calls are there before there was any traffic.
#[derive(Debug)]
pub struct Budget {
    saved: AtomicU32,
    most: u32,
}

impl Budget {
    /// With `few` extra calls saved at most.
    pub fn new(few: u32) -> Self {
        let most = few.saturating_mul(WHOLE);
        Self { saved: AtomicU32::new(most), most }
    }

    /// An ordinary call is made; it allows `percent` of an extra one.
    pub fn ordinary(&self, percent: u32) {
        // nearly always full: one look
        let more =
            |saved: u32| (saved < self.most).then(|| saved.saturating_add(percent * (WHOLE / 100)).min(self.most));
        let _full = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Whether an extra call may be made; if so, it is paid.
    pub fn take(&self) -> bool {
        self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| saved.checked_sub(WHOLE)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn extra_calls_are_never_more_than_their_share_and_a_few(
            percent in 1_u32..100, calls in proptest::collection::vec(any::<bool>(), 0..500),
        ) {
            let budget = Budget::new(10);
            let (mut ordinary, mut extra) = (0_u32, 0_u32);
            for wants_more in calls {
                budget.ordinary(percent);
                ordinary += 1;
                // as an outage does: every call wants several more
                for _ in 0..if wants_more { 3 } else { 0 } {
                    extra += u32::from(budget.take());
                }
            }
            prop_assert!(extra <= 10 + ordinary * percent / 100, "{extra} beside {ordinary}");
        }
    }

    #[test]
    fn a_few_are_there_at_once_and_come_back_with_traffic() {
        let budget = Budget::new(2);
        assert_eq!([budget.take(), budget.take(), budget.take()], [true, true, false]);
        for _ in 0..5 {
            assert!(!budget.take());
            budget.ordinary(20);
        }
        assert!(budget.take() && !budget.take());
    }
}
