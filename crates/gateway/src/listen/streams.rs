//! HTTP/2 requests whose clients do not read. On HTTP/1 a client that takes nothing stops the connection's writes, which
//! [`super::watched`] sees. On HTTP/2 it only leaves one stream's window shut, while the rest of the connection goes on:
//! hyper then waits for room and leaves the answer's body, and the model's stream behind it, alone for ever.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::activity::UnderWay;
use super::counts::{Counts, Cut};

/// What the body of the request that this thread is polling just did.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Gave,
    Waits,
}

thread_local! {
    static LAST: Cell<Last> = const { Cell::new(Last::Nothing) };
}

/// Bodies of one HTTP/1 connection that are over. hyper drops a body as soon as it has its last piece, before the piece
/// goes out, and a request's record writes its lines when it is dropped: they would keep the client waiting.
pub(super) struct Leftovers<B>(Arc<Mutex<Vec<B>>>);

impl<B> Leftovers<B> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Drops them: what is written is with the system.
    pub(super) fn clear(&self) {
        let over = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        drop(over);
    }
}

impl<B> Clone for Leftovers<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// An answer's body, with its request's guard.
pub(super) struct Tracked<B> {
    inner: Option<B>,
    leftovers: Option<Leftovers<B>>,
    _under_way: UnderWay,
}

impl<B> Tracked<B> {
    /// Without `leftovers` it is dropped when hyper drops it.
    pub(super) fn new(inner: B, under_way: UnderWay, leftovers: Option<Leftovers<B>>) -> Self {
        // its head is what waits for room first
        LAST.set(Last::Gave);
        Self { inner: Some(inner), leftovers, _under_way: under_way }
    }
}

impl<B> Drop for Tracked<B> {
    fn drop(&mut self) {
        if let (Some(inner), Some(Leftovers(list))) = (self.inner.take(), &self.leftovers) {
            list.lock().unwrap_or_else(PoisonError::into_inner).push(inner);
        }
    }
}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let polled = Pin::new(inner).poll_frame(cx);
        LAST.set(if polled.is_pending() { Last::Waits } else { Last::Gave });
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

/// Runs each HTTP/2 request as a task, and drops one whose client has taken nothing for too long: that resets its
/// stream and ends the model call.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) unread: Duration,
    pub(super) counts: Counts,
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, request: F) {
        let Self { unread, counts } = self.clone();
        tokio::spawn(async move {
            let mut request = pin!(request);
            let mut timer: Option<Pin<Box<Sleep>>> = None;
            let mut waiting = false;
            let given_up = std::future::poll_fn(|cx| {
                LAST.set(Last::Nothing);
                if request.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(false);
                }
                match LAST.get() {
                    // what it gave last has not found room
                    Last::Gave => {
                        waiting = true;
                        let at = Instant::now() + unread;
                        match &mut timer {
                            Some(timer) => timer.as_mut().reset(at),
                            None => timer = Some(Box::pin(tokio::time::sleep_until(at))),
                        }
                    }
                    Last::Waits => waiting = false,
                    Last::Nothing => {}
                }
                match &mut timer {
                    Some(timer) if waiting => timer.as_mut().poll(cx).map(|()| true),
                    _ => Poll::Pending,
                }
            });
            if given_up.await {
                counts.cut(Cut::Unread);
            }
        });
    }
}
