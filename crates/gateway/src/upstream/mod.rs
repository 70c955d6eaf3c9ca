//! Calls of model servers: which declared model a request means, and the clients that speak to it.
//!
//! Takes and gives the neutral types of `duo_protocol::model`; knows nothing of GitLab's bodies.

pub mod bedrock;
mod clients;
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
pub use place::{CallOptions, Place, PlaceSpec};
pub use resolve::{Declared, Directory, Target};

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
    fn a_longer_chat_may_also_begin_later_unless_the_first_byte_has_a_time_of_its_own() {
        let seconds = Duration::from_secs;
        let times = |first_byte, overall| Timeouts { first_byte: seconds(first_byte), overall: seconds(overall) };
        assert_eq!(times(60, 60).within(seconds(300)), times(300, 300));
        assert_eq!(times(60, 60).within(seconds(30)), times(30, 30));
        assert_eq!(times(20, 60).within(seconds(300)), times(20, 300));
        assert_eq!(times(20, 60).within(seconds(10)), times(10, 10));
    }
}
