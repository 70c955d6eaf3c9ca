//! The circuit breaker of one place: after failures in a row the place is left alone for a while, then one call tries
//! it. 4xx answers never open it: a server that refuses works.

use std::time::{Duration, Instant};

use super::policy::BreakerRule;

/// While a call tries the place, others are asked to come back after this.
const WHILE_TRYING: Duration = Duration::from_secs(1);

/// Whether a place may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Closed,
    /// It may, once: the call tries whether the place is back. It must report how it went.
    Probe,
    /// It may not, for so long.
    Open(Duration),
}

/// The state; every change is given the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// In use, with this many failures in a row.
    Closed(u32),
    /// Left alone until then.
    Open(Instant),
    /// One call is trying it.
    Trying,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed(0)
    }
}

impl Breaker {
    /// May the place be called? After [`Admission::Probe`] the caller owes [`Self::worked`], [`Self::failed`] or
    /// [`Self::abandoned`].
    pub fn admit(&mut self, now: Instant) -> Admission {
        match *self {
            Self::Closed(_) => Admission::Closed,
            Self::Trying => Admission::Open(WHILE_TRYING),
            Self::Open(until) if now < until => Admission::Open(until - now),
            Self::Open(_) => {
                *self = Self::Trying;
                Admission::Probe
            }
        }
    }

    /// The server answered, be it with a refusal.
    pub fn worked(&mut self) {
        *self = Self::Closed(0);
    }

    /// The server failed. A call that began before the breaker opened changes nothing.
    pub fn failed(&mut self, rule: BreakerRule, now: Instant) {
        *self = match *self {
            Self::Closed(before) if before.saturating_add(1) < rule.failures => Self::Closed(before + 1),
            Self::Closed(_) | Self::Trying => Self::Open(now + rule.open),
            open @ Self::Open(_) => open,
        };
    }

    /// The trying call ended without a word of the server: the next one tries.
    pub fn abandoned(&mut self, now: Instant) {
        if matches!(self, Self::Trying) {
            *self = Self::Open(now);
        }
    }

    /// For the gauge: 0 closed, 1 trying, 2 open.
    pub fn number(&self) -> i64 {
        match self {
            Self::Closed(_) => 0,
            Self::Trying => 1,
            Self::Open(_) => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: BreakerRule = BreakerRule { failures: 3, open: Duration::from_secs(15) };

    fn at(seconds: u64) -> Instant {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *START.get_or_init(Instant::now) + Duration::from_secs(seconds)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            assert_eq!(breaker.admit(at(0)), Admission::Closed);
            breaker.failed(RULE, at(0));
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_that_works_between_does_not() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(5)), Admission::Open(Duration::from_secs(10)));
        let mut breaker2 = Breaker::default();
        for _ in 0..10 {
            breaker2.failed(RULE, at(0));
            breaker2.failed(RULE, at(0));
            breaker2.worked();
        }
        assert_eq!(breaker2.admit(at(0)), Admission::Closed);
        breaker.failed(RULE, at(9));
        assert_eq!(breaker.admit(at(14)), Admission::Open(Duration::from_secs(1)), "late failures do not prolong it");
    }

    #[test]
    fn one_call_tries_it_and_decides() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(15)), Admission::Probe);
        assert!(matches!(breaker.admit(at(15)), Admission::Open(_)), "only one");
        breaker.failed(RULE, at(16));
        assert_eq!(breaker.admit(at(17)), Admission::Open(Duration::from_secs(14)));
        assert_eq!(breaker.admit(at(31)), Admission::Probe);
        breaker.worked();
        assert_eq!(breaker.admit(at(31)), Admission::Closed);
    }

    #[test]
    fn a_trying_call_that_nobody_waited_for_leaves_the_next_to_try() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(15)), Admission::Probe);
        breaker.abandoned(at(16));
        assert_eq!(breaker.admit(at(16)), Admission::Probe);
        let mut closed = Breaker::Closed(2);
        closed.abandoned(at(16));
        assert_eq!(closed, Breaker::Closed(2));
    }

    proptest! {
        /// Whatever happens: at most one call is trying, and an open place is tried again in time.
        #[test]
        fn it_never_stays_open_for_good(events in proptest::collection::vec((0_u8..4, 0_u64..20), 0..200)) {
            let mut breaker = Breaker::default();
            let (mut now, mut trying) = (0, false);
            for (event, later) in events {
                now += later;
                match event {
                    0 => {
                        let admitted = breaker.admit(at(now));
                        prop_assert!(!(trying && admitted == Admission::Probe));
                        trying |= admitted == Admission::Probe;
                    }
                    1 => { breaker.worked(); trying = false; }
                    2 => { breaker.failed(RULE, at(now)); trying = false; }
                    _ => { breaker.abandoned(at(now)); trying = false; }
                }
                if !trying {
                    let mut later = breaker;
                    prop_assert!(!matches!(later.admit(at(now + 15)), Admission::Open(_)), "{breaker:?}");
                }
            }
        }
    }
}
