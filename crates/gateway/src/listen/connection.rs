//! One connection to its end: TLS, the protocol, its requests, and when it is ended from here.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;

use http::Request;
use hyper::body::{Body, Incoming};
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::counts::Cut;
use super::limits::{BUFFER, MAX_HEAD, RESETS, STREAMS, WINDOWS};
use super::stage::{Registered, Stage};
use super::streams::{Leftovers, Streams, Tracked};
use super::watched::Watched;
use super::{Handler, Service, Tls};

/// What a client gets that speaks HTTP to the TLS port; nobody has read its request.
const NOT_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 55\r\n\r\n\
{\"detail\":\"This port speaks TLS; ask it with https://\"}\n";

/// Serves it. A client that goes away is an error to hyper and nothing to us.
pub(super) async fn serve<H: Handler>(
    stream: TcpStream,
    client: SocketAddr,
    service: &Service<H>,
    registered: &Registered,
) {
    let plain = |stream| Watched::new(stream, registered.activity.clone());
    let cut = match (service.tls)() {
        None => requests(plain(stream), None, client, service, registered).await,
        Some(tls) => match tokio::time::timeout(service.limits.handshake, handshake(stream, tls, registered)).await {
            Ok(Ok(Shaken::Tls(stream))) => {
                let chosen = stream.get_ref().1.alpn_protocol().map(|name| name == b"h2");
                requests(Watched::new(*stream, registered.activity.clone()), chosen, client, service, registered).await
            }
            Ok(Ok(Shaken::Plain(stream))) => requests(plain(stream), None, client, service, registered).await,
            Ok(Err(cut)) => cut,
            Err(_) => Some(Cut::Handshake),
        },
    };
    if let Some(cut) = cut {
        service.counts.cut(cut);
        tracing::debug!(client = %client, reason = ?cut, "connection cut");
    }
}

/// What a client's first byte has led to.
enum Shaken {
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    Plain(TcpStream),
}

/// The stream of requests; an error without a cut for a client that goes away.
async fn handshake(mut stream: TcpStream, tls: Tls, registered: &Registered) -> Result<Shaken, Option<Cut>> {
    let mut first = [0];
    let peeked = tokio::select! {
        peeked = stream.peek(&mut first) => peeked,
        () = registered.reached(Stage::Closing) => return Err(None),
    };
    match peeked {
        // every method of HTTP begins with a letter, and no record of TLS does
        Ok(1) if first[0].is_ascii_alphabetic() && tls.accept_plain => Ok(Shaken::Plain(stream)),
        Ok(1) if first[0].is_ascii_alphabetic() => {
            let _ = stream.write_all(NOT_TLS).await;
            let _ = stream.shutdown().await;
            // so that the answer is not overtaken by the reset for what was not read
            let _ = tokio::io::copy(&mut tokio::io::AsyncReadExt::take(stream, 1 << 20), &mut tokio::io::sink()).await;
            Err(Some(Cut::NotTls))
        }
        Ok(1) => tokio::select! {
            accepted = tokio_rustls::TlsAcceptor::from(tls.config).accept(stream) => {
                accepted.map(|stream| Shaken::Tls(Box::new(stream))).map_err(|_| Some(Cut::Handshake))
            }
            () = registered.reached(Stage::Killed) => Err(None),
        },
        // probes by TCP connect and go
        _ => Err(None),
    }
}

/// Serves the requests. `http2`: what the handshake has chosen; without it the client's first bytes tell.
async fn requests<H: Handler, S>(
    mut io: Watched<S>,
    http2: Option<bool>,
    client: SocketAddr,
    service: &Service<H>,
    registered: &Registered,
) -> Option<Cut>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let http2 = match http2 {
        Some(chosen) => chosen,
        None => match io.speaks_http2(&service.limits, registered).await {
            Ok(http2) => http2,
            Err(cut) => return cut,
        },
    };
    let over = Leftovers::new();
    let leftovers = (!http2).then(|| over.clone());
    let answer = service_fn(|request: Request<Incoming>| {
        let under_way = registered.activity.begin();
        let answer = service.handler.handle(request, client);
        let leftovers = leftovers.clone();
        async move { Ok::<_, Infallible>(answer.await.map(|body| Tracked::new(body, under_way, leftovers))) }
    });
    let io = TokioIo::new(io);
    if http2 {
        let streams = Streams { unread: service.limits.unread, counts: service.counts.clone() };
        let mut builder = http2::Builder::new(streams);
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(service.limits.ping))
            .keep_alive_timeout(service.limits.pong)
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .max_send_buf_size(BUFFER)
            .max_pending_accept_reset_streams(RESETS.0)
            .max_local_error_reset_streams(RESETS.1);
        drive(builder.serve_connection(io, answer), true, service, registered, || ()).await
    } else {
        let mut builder = http1::Builder::new();
        // the time for a head is watched by `Activity`, without a timer per request
        builder.timer(TokioTimer::new()).header_read_timeout(None).max_header_size(MAX_HEAD).max_buf_size(BUFFER);
        drive(builder.serve_connection(io, answer), false, service, registered, || over.clear()).await
    }
}

/// Runs the connection until it ends or has to be ended. `rest` is done after each step of it.
async fn drive<C: Graceful, H>(
    connection: C,
    http2: bool,
    service: &Service<H>,
    registered: &Registered,
    rest: impl Fn(),
) -> Option<Cut> {
    let (activity, limits) = (&registered.activity, &service.limits);
    let mut connection = pin!(connection);
    let mut timer = pin!(tokio::time::sleep(limits.idle));
    let (mut told, mut leaving) = (Stage::Running, false);
    std::future::poll_fn(|cx| {
        activity.waker.register(cx.waker());
        loop {
            let ended = connection.as_mut().poll(cx).is_ready();
            rest();
            if ended {
                return Poll::Ready(None);
            }
            match registered.stage() {
                Stage::Killed => return Poll::Ready(None),
                // an idle HTTP/1 connection would be closed at once, under a request that may be on its way, and a new
                // HTTP/2 one before its first
                Stage::Draining if told < Stage::Draining && http2 && activity.asked() => told = Stage::Draining,
                Stage::Closing if told < Stage::Closing => told = Stage::Closing,
                _ => {
                    let (at, cut) = match activity.next(limits, http2) {
                        Some((at, cut)) => (at, Some(cut)),
                        None => (Instant::now() + limits.idle, None),
                    };
                    if at < timer.deadline() {
                        timer.as_mut().reset(at);
                    }
                    if timer.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    if at > Instant::now() {
                        timer.as_mut().reset(at);
                        continue;
                    }
                    if cut != Some(Cut::Idle) || !http2 || leaving {
                        return Poll::Ready(cut);
                    }
                    leaving = true;
                    activity.lingers();
                }
            }
            connection.as_mut().graceful();
        }
    })
    .await
}

/// A connection of either protocol.
trait Graceful: Future {
    /// Lets it finish what is under way, and nothing more.
    fn graceful(self: Pin<&mut Self>);
}

impl<I, B, S> Graceful for http1::Connection<I, S>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: Read + Write + Unpin,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn graceful(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, B, S> Graceful for http2::Connection<I, S, Streams>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: Read + Write + Unpin,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    Streams: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn graceful(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}
