//! How much of an answer the AWS SDK gets to see: it gathers whole answers and single frames in memory without a limit
//! of its own, and waits for as many bytes as a frame's first four say.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// A whole answer of more bytes is not one.
const MAX_ANSWER: usize = 16 << 20;
/// A frame of more bytes is none of ConverseStream's, which hold a few words each.
const MAX_FRAME: usize = 1 << 20;
/// A shorter one has no room for its own lengths and checksums.
const MIN_FRAME: usize = 16;
const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";

/// An answer's body within its bounds.
pub(super) struct Bounded {
    inner: reqwest::Body,
    bound: Bound,
}

enum Bound {
    /// Bytes that may still come.
    Answer(usize),
    Frames(Frames),
}

/// Where in a row of frames a stream is.
#[derive(Default)]
struct Frames {
    /// Bytes of the present frame's length that are known, and how many.
    length: [u8; 4],
    known: usize,
    /// Bytes of the present frame that are still to come.
    left: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("the answer is larger than any of Bedrock's")]
struct TooLarge;

impl Bounded {
    /// For an answer of this content type.
    pub(super) fn new(inner: reqwest::Body, content_type: Option<&str>) -> Self {
        let stream = content_type.is_some_and(|kind| kind.starts_with(EVENT_STREAM));
        let bound = if stream { Bound::Frames(Frames::default()) } else { Bound::Answer(MAX_ANSWER) };
        Self { inner, bound }
    }
}

impl Bound {
    fn takes(&mut self, piece: &[u8]) -> bool {
        match self {
            Self::Answer(left) => left.checked_sub(piece.len()).map(|rest| *left = rest).is_some(),
            Self::Frames(frames) => frames.take(piece),
        }
    }
}

impl Frames {
    /// False when a frame says that it is larger or smaller than any.
    fn take(&mut self, mut piece: &[u8]) -> bool {
        while !piece.is_empty() {
            if self.left == 0 {
                let [first, ..] = piece else { return true };
                self.length[self.known] = *first;
                self.known += 1;
                piece = &piece[1..];
                if self.known == self.length.len() {
                    let total = u32::from_be_bytes(self.length) as usize;
                    if !(MIN_FRAME..=MAX_FRAME).contains(&total) {
                        return false;
                    }
                    self.left = total - self.length.len();
                    self.known = 0;
                }
            } else {
                let now = self.left.min(piece.len());
                self.left -= now;
                piece = &piece[now..];
            }
        }
        true
    }
}

impl Body for Bounded {
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
        let within = frame.data_ref().is_none_or(|data| self.bound.takes(data));
        Poll::Ready(Some(if within { Ok(frame) } else { Err(TooLarge.into()) }))
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
    use super::*;

    fn frame(length: usize) -> Vec<u8> {
        let mut frame = u32::try_from(length).unwrap().to_be_bytes().to_vec();
        frame.resize(length.max(4), 0xff);
        frame
    }

    #[test]
    fn frames_are_followed_however_they_are_cut() {
        let row: Vec<u8> = [16, 700, 17, 70_000, 16].into_iter().flat_map(frame).collect();
        for size in [1, 2, 3, 5, 16, 1000, row.len()] {
            let mut frames = Frames::default();
            assert!(row.chunks(size).all(|piece| frames.take(piece)), "{size}");
            assert_eq!((frames.left, frames.known), (0, 0));
            assert!(!frames.take(&frame(MAX_FRAME + 1)), "{size}");
        }
        assert!(Frames::default().take(&frame(MAX_FRAME)));
        assert!(!Frames::default().take(&[0xff; 4]));
        assert!(!Frames::default().take(&[0; 100]), "no frame is shorter than its frame");
    }

    #[test]
    fn a_whole_answer_has_a_limit() {
        let mut bound = Bound::Answer(10);
        assert!(bound.takes(&[0; 10]) && bound.takes(&[]) && !bound.takes(&[0]));
    }
}
