//! How much of an answer the AWS SDK gets to see: it gathers answers in memory without a limit of its own.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Credentials of more bytes are none.
const MAX_ANSWER: usize = 1 << 20;

/// An answer's body within its bounds.
pub(super) struct Bounded<B> {
    inner: B,
    /// Bytes that may still come.
    left: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("the answer is larger than any of AWS'")]
struct TooLarge;

impl<B> Bounded<B> {
    pub(super) fn new(inner: B) -> Self {
        Self { inner, left: MAX_ANSWER }
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => Poll::Ready(Some(Err(TooLarge.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn an_answer_has_a_limit() {
        for (bytes, within) in [(0, true), (MAX_ANSWER, true), (MAX_ANSWER + 1, false)] {
            let body = Bounded::new(Full::new(Bytes::from(vec![0; bytes])));
            assert_eq!(body.collect().await.is_ok(), within, "{bytes}");
        }
    }
}
