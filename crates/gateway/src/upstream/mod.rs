//! Calls of model servers: which declared model a request means, and the clients that speak to it.
//!
//! Takes and gives the neutral types of `duo_protocol::model`; knows nothing of GitLab's bodies.

pub mod bedrock;
pub mod caller;
mod clients;
mod declare;
mod embeddings;
pub mod google;
mod json;
mod place;
mod reach;
mod resolve;
mod stream;
pub mod way;

use std::pin::Pin;
use std::time::Duration;

use duo_protocol::model::{ModelEvent, UpstreamFailure};
use futures::Stream;

pub use clients::{Clients, Common, Vertex};
pub use declare::declare;
pub use place::{CallOptions, Place, PlaceSpec};
pub use resolve::{Brought, Declared, Directory, Member, Target};

use crate::resilience::Policy;

/// The answer as it arrives. Ends after its last item; an `Err` is the last item. Dropping it ends the call.
pub type ModelStream = Pin<Box<dyn Stream<Item = Result<ModelEvent, UpstreamFailure>> + Send>>;

/// Times of one model call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the model server's first byte.
    pub first_byte: Duration,
    /// Until its last.
    pub overall: Duration,
}

impl Timeouts {
    /// With another time for the whole call. A first byte that may come as late as the last may go on doing so.
    pub fn within(self, overall: Duration) -> Self {
        let first_byte = if self.first_byte < self.overall { self.first_byte.min(overall) } else { overall };
        Self { first_byte, overall }
    }

    /// With what a model says of its own, which is never longer than what holds for all. Where another place could
    /// answer (`alternatives`) and nobody set a time to the first byte, it is half of the whole: the other one needs a
    /// turn.
    pub fn of_model(self, policy: &Policy, alternatives: bool) -> Self {
        let times = policy.overall.map_or(self, |overall| self.within(overall.min(self.overall)));
        let unset = times.first_byte == times.overall;
        let first_byte = match policy.first_byte {
            Some(said) => said,
            None if unset && alternatives => times.overall / 2,
            None => times.first_byte,
        };
        Self { first_byte: first_byte.min(times.overall), ..times }
    }
}

/// The innermost cause of a client error in a few words, without the URL (which may hold credentials).
pub fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    innermost(error)
}

/// The innermost of an error's sources.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_may_take_less_time_than_all_and_never_more() {
        let seconds = Duration::from_secs;
        let times = |first_byte, overall| Timeouts { first_byte: seconds(first_byte), overall: seconds(overall) };
        let policy = |first_byte: Option<u64>, overall: Option<u64>| Policy {
            first_byte: first_byte.map(seconds),
            overall: overall.map(seconds),
            ..Policy::default()
        };
        let cases = [
            (times(60, 60), policy(None, None), false, times(60, 60)),
            (times(60, 60), policy(None, None), true, times(30, 60)),
            (times(20, 60), policy(None, None), true, times(20, 60)),
            (times(60, 60), policy(Some(7), None), true, times(7, 60)),
            (times(60, 60), policy(None, Some(10)), false, times(10, 10)),
            (times(60, 60), policy(None, Some(10)), true, times(5, 10)),
            (times(60, 60), policy(Some(50), Some(90)), false, times(50, 60)),
            (times(20, 60), policy(Some(90), Some(10)), false, times(10, 10)),
        ];
        for (at, (all, policy, alternatives, expected)) in cases.into_iter().enumerate() {
            assert_eq!(all.of_model(&policy, alternatives), expected, "case {at}");
        }
    }

    #[test]
    fn a_longer_chat_may_also_begin_later_unless_the_first_byte_has_a_time_of_its_own() {
        let seconds = Duration::from_secs;
        let times = |first_byte, overall| Timeouts { first_byte: seconds(first_byte), overall: seconds(overall) };
        assert_eq!(times(60, 60).within(seconds(300)), times(300, 300));
        assert_eq!(times(60, 60).within(seconds(30)), times(30, 30));
        assert_eq!(times(20, 60).within(seconds(300)), times(20, 300));
        assert_eq!(times(20, 60).within(seconds(10)), times(10, 10));
    }
}
