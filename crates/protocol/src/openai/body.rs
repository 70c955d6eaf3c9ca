//! A body of server-sent events, whatever its events say: decodes it, and says of one that ended too early what it was.

use serde_json::Value;

use super::answer::describe;
use super::sse::{SseDecoder, SseEvent};
use crate::model::{ChatMessage, UpstreamFailure};

/// Of a body without any event so many bytes are kept, to say what it was.
const KEPT: usize = 4096;

/// The error object of a provider in a JSON value, as a failure.
type ErrorObject = fn(&Value, &[ChatMessage]) -> Option<UpstreamFailure>;

/// The events of a body, piece by piece.
#[derive(Debug, Default)]
pub(crate) struct EventBody {
    sse: SseDecoder,
    understood: bool,
    start: Vec<u8>,
}

impl EventBody {
    /// Takes a piece of the body.
    ///
    /// # Errors
    /// [`UpstreamFailure::Protocol`] for an oversized event.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<Vec<SseEvent>, UpstreamFailure> {
        if !self.understood && self.start.len() < KEPT {
            self.start.extend(piece.iter().take(KEPT));
        }
        self.sse.push(piece).map_err(|e| UpstreamFailure::Protocol { reason: e.to_string() })
    }

    /// The event that the body's end completes.
    pub(crate) fn finish(&mut self) -> Option<SseEvent> {
        self.sse.finish()
    }

    /// An event was one of the provider's: the body is an event stream.
    pub(crate) fn understood(&mut self) {
        self.understood = true;
    }

    /// What a body was that ended before the answer did: an error object, no event stream at all, or a part.
    pub(crate) fn cut_off(&self, error_object: ErrorObject) -> UpstreamFailure {
        if self.understood {
            return UpstreamFailure::StreamBroken { reason: "it ended before the answer did".into() };
        }
        let value: Option<Value> = serde_json::from_slice(&self.start).ok();
        let failure = value.as_ref().and_then(|value| error_object(value, &[]));
        failure.unwrap_or_else(|| UpstreamFailure::Protocol { reason: describe(&self.start) })
    }
}
