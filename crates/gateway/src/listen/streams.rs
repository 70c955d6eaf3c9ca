//! HTTP/2 requests whose clients do not read. On HTTP/1 a client that takes nothing stops the connection's writes, which
//! [`super::watched`] sees. On HTTP/2 it only leaves one stream's window shut, while the rest of the connection goes on:
//! hyper then waits for room and leaves the answer's body, and the model's stream behind it, alone for ever.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
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

/// An answer's body, with its request's guard.
pub(super) struct Tracked<B> {
    inner: B,
    _under_way: UnderWay,
}

impl<B> Tracked<B> {
    pub(super) fn new(inner: B, under_way: UnderWay) -> Self {
        // its head is what waits for room first
        LAST.set(Last::Gave);
        Self { inner, _under_way: under_way }
    }
}

impl<B: Body + Unpin> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        LAST.set(if polled.is_pending() { Last::Waits } else { Last::Gave });
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
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
