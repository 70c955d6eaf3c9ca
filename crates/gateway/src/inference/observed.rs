//! A model's stream that is counted while it passes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use duo_protocol::model::{ModelEvent, StopReason, UpstreamFailure};
use futures::Stream;

use super::meter::{End, Meter};
use crate::context::RequestContext;
use crate::upstream::{ModelStream, Place};

/// A model stream that is counted.
pub struct Observed {
    inner: ModelStream,
    meter: Meter,
    place: Arc<Place>,
}

impl Observed {
    /// A stream with its count.
    pub(super) fn new(inner: ModelStream, meter: Meter, place: Arc<Place>) -> Self {
        Self { inner, meter, place }
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
    }

    /// The request's record.
    pub fn context(&self) -> &RequestContext {
        self.meter.context()
    }
}

impl Stream for Observed {
    type Item = Result<ModelEvent, UpstreamFailure>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.as_mut().poll_next(cx);
        let meter = &mut self.meter;
        if let Poll::Ready(Some(event)) = &polled {
            meter.piece();
            match event {
                Ok(ModelEvent::Text(_)) => {}
                Ok(ModelEvent::Stop(reason)) => meter.end = End::Stopped(reason.clone()),
                Ok(ModelEvent::Usage(usage)) => meter.usage = Some(*usage),
                Err(failure) => meter.end = End::Failed(failure.clone()),
            }
        }
        polled
    }
}
