//! A client's connection whose progress is noted, and which is closed in a way that lets the client read its answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use super::counts::Cut;
use super::limits::{LINGER_BYTES, Limits};
use super::stage::{Registered, Stage};

/// Length of HTTP/2's first words.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection, possibly encrypted.
pub(super) struct Watched<S> {
    inner: S,
    activity: Arc<Activity>,
    /// Bytes read to find out the protocol, given out again first: `ahead.0[ahead.1..ahead.2]`.
    ahead: ([u8; 24], u8, u8),
    ended: bool,
    shut: bool,
    thrown_away: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Watched<S> {
    pub(super) fn new(inner: S, activity: Arc<Activity>) -> Self {
        Self { inner, activity, ahead: ([0; 24], 0, 0), ended: false, shut: false, thrown_away: 0 }
    }

    /// Whether the client speaks HTTP/2 without having said so in a TLS handshake. Nothing of what it said is lost.
    ///
    /// # Errors
    /// It is gone (`None`) or says nothing.
    pub(super) async fn speaks_http2(&mut self, limits: &Limits, registered: &Registered) -> Result<bool, Option<Cut>> {
        loop {
            let have = usize::from(self.ahead.2);
            if self.ahead.0[..have] != PREFACE[..have] {
                return Ok(false);
            }
            if have == PREFACE.len() {
                return Ok(true);
            }
            let read = std::future::poll_fn(|cx| {
                let mut rest = ReadBuf::new(&mut self.ahead.0[have..]);
                ready!(Pin::new(&mut self.inner).poll_read(cx, &mut rest))?;
                Poll::Ready(io::Result::Ok(rest.filled().len()))
            });
            let (limit, cut) = if have == 0 { (limits.idle, Cut::Idle) } else { (limits.head, Cut::SlowHead) };
            let read = async {
                tokio::select! {
                    read = read => Some(read),
                    () = registered.reached(if have == 0 { Stage::Closing } else { Stage::Killed }) => None,
                }
            };
            match tokio::time::timeout(limit, read).await {
                Err(_) => return Err(Some(cut)),
                Ok(None) => return Err(None),
                Ok(Some(read)) => match u8::try_from(read.map_err(|_| None)?) {
                    Ok(read @ 1..) => {
                        self.activity.read();
                        self.ahead.2 += read;
                    }
                    _ if have == 0 => return Err(None),
                    _ => return Ok(false),
                },
            }
        }
    }

    fn noted<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &result {
            Poll::Pending => self.activity.write_waits(),
            Poll::Ready(_) => self.activity.written(),
        }
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (from, to) = (usize::from(self.ahead.1), usize::from(self.ahead.2));
        if from < to {
            let piece = &self.ahead.0[from..to.min(from + buf.remaining())];
            buf.put_slice(piece);
            self.ahead.1 += u8::try_from(piece.len()).unwrap_or_default();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.activity.read();
        } else if buf.remaining() > 0 {
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.noted(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.noted(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        self.noted(result)
    }

    /// Says that nothing more comes, then throws away what the client still sends until it has ended too: a socket that
    /// is closed with unread bytes resets the connection, and the reset overtakes the answer.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            let result = Pin::new(&mut self.inner).poll_shutdown(cx);
            ready!(self.noted(result))?;
            self.shut = true;
        }
        let mut bin = [0; 4096];
        while !self.ended && self.thrown_away < LINGER_BYTES {
            self.activity.lingers();
            let mut buf = ReadBuf::new(&mut bin);
            let read = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf));
            let count = buf.filled().len();
            self.ended = read.is_err() || count == 0;
            self.thrown_away += count;
        }
        Poll::Ready(Ok(()))
    }
}
