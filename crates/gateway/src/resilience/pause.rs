//! How long to wait before a place is called again.

use std::time::Duration;

/// The first pause is drawn from nothing to this; each further one from twice as much.
const BASE: Duration = Duration::from_millis(100);

/// The pause before the retry of that number (from 0): drawn evenly from nothing to a limit that doubles ("full
/// jitter"), because callers that fail together must not come back together; on top of what the server asks for.
/// `draw` is from 0 to 1. `None`: it would be longer than `longest`, so the place is not called again.
pub fn pause(retry: u32, retry_after: Option<Duration>, longest: Duration, draw: f64) -> Option<Duration> {
    let asked = retry_after.unwrap_or_default();
    if asked > longest {
        return None;
    }
    let limit = BASE.saturating_mul(1_u32.checked_shl(retry).unwrap_or(u32::MAX)).min(longest);
    let jitter = limit.mul_f64(draw.clamp(0.0, 1.0));
    Some((asked + jitter).min(longest).max(asked))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(2);

    #[test]
    fn the_limit_doubles_up_to_the_longest() {
        for (retry, milliseconds) in [(0, 100), (1, 200), (2, 400), (4, 1600), (5, 2000), (31, 2000), (400, 2000)] {
            assert_eq!(pause(retry, None, LONGEST, 1.0), Some(Duration::from_millis(milliseconds)), "{retry}");
            assert_eq!(pause(retry, None, LONGEST, 0.0), Some(Duration::ZERO));
        }
    }

    #[test]
    fn a_server_that_asks_for_more_than_the_longest_is_not_called_again() {
        assert_eq!(pause(0, Some(Duration::from_millis(2001)), LONGEST, 0.0), None);
        assert_eq!(pause(0, Some(LONGEST), LONGEST, 1.0), Some(LONGEST));
        assert_eq!(pause(0, None, Duration::ZERO, 1.0), Some(Duration::ZERO));
    }

    proptest! {
        #[test]
        fn never_shorter_than_asked_never_longer_than_the_longest(
            retry in 0_u32..100, asked in 0_u64..5000, longest in 0_u64..5000, draw in 0.0..=1.0_f64,
        ) {
            let (asked, longest) = (Duration::from_millis(asked), Duration::from_millis(longest));
            match pause(retry, Some(asked), longest, draw) {
                None => prop_assert!(asked > longest),
                Some(pause) => prop_assert!(pause >= asked && pause <= longest),
            }
        }
    }
}
