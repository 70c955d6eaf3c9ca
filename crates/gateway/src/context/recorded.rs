//! The answer's body with the request's record in it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::RequestContext;
use crate::body::Held;

/// Lives as long as the answer is being sent.
pub struct Recorded {
    inner: Body,
    context: RequestContext,
    /// A stream's model call still has the request's texts.
    _held: Option<Held>,
    begun: bool,
}

impl Recorded {
    /// Joins the two.
    pub fn new(inner: Body, context: RequestContext, held: Option<Held>) -> Self {
        let recorded = Self { inner, context, _held: held, begun: false };
        if recorded.inner.is_end_stream() {
            recorded.context.facts().complete = true;
        }
        recorded
    }
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if !self.begun && matches!(frame, Some(Ok(_))) {
            self.begun = true;
            self.context.facts().first_chunk = Some(self.context.started().elapsed());
        }
        // an error ends the answer from our side, so it is not the client that went away
        if !matches!(frame, Some(Ok(_))) || self.inner.is_end_stream() {
            self.context.facts().complete = true;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
