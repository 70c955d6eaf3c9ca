//! How bytes of a streamed answer leave: at a pace, cut at awkward places, and broken on purpose at the end.

use std::{io, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Properly.
    Complete,
    /// The connection is cut: the client sees the body break off.
    Cut,
    /// Nothing more comes, and the connection stays open.
    Stall,
}

/// Cuts a message into two network writes inside itself, at a place that differs from message to message, since a
/// reader must not take a write for a message, nor a byte boundary for a character boundary.
pub(crate) fn split(message: Bytes, turn: usize) -> Vec<Bytes> {
    let at = (turn * 7 + 3) % message.len().max(1);
    if at == 0 { vec![message] } else { vec![message.slice(..at), message.slice(at..)] }
}

/// A body of `messages`, `pause` before each, that ends as told. `done` runs when all was handed over (for
/// [`End::Complete`]) or the break was reached; a caller that leaves earlier drops it uncalled.
pub(crate) fn body(messages: Vec<Bytes>, pause: Duration, end: End, done: impl FnOnce() + Send + 'static) -> Body {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(1);
    // tied to the body: the client's leaving drops the body, which ends the task even while it pauses or stalls
    let left = tokio_util::sync::CancellationToken::new();
    let guard: DropGuard = left.clone().drop_guard();
    tokio::spawn(async move {
        let send_all = async move {
            for (turn, message) in messages.into_iter().enumerate() {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                for piece in split(message, turn) {
                    if sender.send(Ok(piece)).await.is_err() {
                        return;
                    }
                    // lets the server write the piece before the next is ready, so that pieces are seen as such
                    tokio::task::yield_now().await;
                }
            }
            match end {
                End::Complete => done(),
                End::Cut => {
                    // what was sent must reach the client before the connection breaks
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    done();
                    let _ = sender.send(Err(io::Error::other("cut on purpose"))).await;
                }
                End::Stall => {
                    done();
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = send_all => {}
            () = left.cancelled() => {}
        }
    });
    let stream = futures::stream::unfold((receiver, guard), |(mut receiver, guard)| async move {
        receiver.recv().await.map(|item| (item, (receiver, guard)))
    });
    Body::from_stream(stream.boxed())
}
