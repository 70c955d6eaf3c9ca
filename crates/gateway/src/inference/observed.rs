//! A model's stream that is counted while it passes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use duo_protocol::model::{ModelEvent, StopReason, UpstreamFailure};
use futures::Stream;

use super::admission::Held;
use super::meter::{End, Meter};
use super::prompts::{PromptLog, Said};
use crate::context::RequestContext;
use crate::resilience::Attempt;
use crate::upstream::{ModelStream, Place};

/// A model stream that is counted.
pub struct Observed {
    inner: ModelStream,
    meter: Meter,
    place: Arc<Place>,
    attempt: Attempt,
    held: Held,
    /// Bytes of text read and written so far.
    bytes: usize,
    said: Option<Said>,
}

impl Observed {
    /// A stream with its count.
    pub(super) fn new(
        inner: ModelStream,
        meter: Meter,
        place: Arc<Place>,
        attempt: Attempt,
        held: Held,
        asked_bytes: usize,
        prompts: Option<PromptLog>,
    ) -> Self {
        Self { inner, meter, place, attempt, held, bytes: asked_bytes, said: prompts.map(Said::new) }
    }

    /// Who answers: its family decides what is done to the text.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The identifier called, for error texts.
    pub fn model(&self) -> String {
        self.meter.model()
    }

    /// Ends the call: what is still to come is not wanted. It counts as answered.
    pub fn stop(mut self) {
        self.meter.end = End::Stopped(StopReason::StopSequence);
        self.attempt.answered();
    }

    /// The request's record.
    pub fn context(&self) -> &RequestContext {
        self.meter.context()
    }
}

impl Stream for Observed {
    type Item = Result<ModelEvent, UpstreamFailure>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let polled = this.inner.as_mut().poll_next(cx);
        let meter = &mut this.meter;
        if let Poll::Ready(Some(event)) = &polled {
            meter.piece();
            match event {
                Ok(ModelEvent::Text(piece)) => {
                    this.bytes += piece.len();
                    if let Some(said) = &mut this.said {
                        said.piece(piece);
                    }
                }
                Ok(ModelEvent::Stop(reason)) => {
                    meter.end = End::Stopped(reason.clone());
                    this.attempt.answered();
                }
                Ok(ModelEvent::Usage(usage)) => meter.usage = Some(*usage),
                Err(failure) => {
                    meter.end = End::Failed(failure.clone());
                    this.attempt.failed(failure, Instant::now());
                }
            }
        }
        polled
    }
}

/// However it ends, what the model read and wrote is used.
impl Drop for Observed {
    fn drop(&mut self) {
        self.held.used(self.meter.usage, self.bytes);
        if let Some(said) = &self.said {
            said.end(&self.place);
        }
    }
}
