//! A listener and its connections: accepting, and letting go without cutting anybody off.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response, Version};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::settings::Listen;

/// Connections at a time; more wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 8192;
/// A connection that sends no request for this long is closed. Longer than the 90 s after which GitLab's Workhorse
/// closes idle connections itself: who closes first must not be the one who is about to be asked.
const IDLE: Duration = Duration::from_secs(120);
/// Pause after a failed accept (for example, no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Opens a listener.
///
/// # Errors
/// As the system says it, with the address.
pub async fn bind(at: &Listen) -> std::io::Result<TcpListener> {
    TcpListener::bind((at.host.as_str(), at.port))
        .await
        .map_err(|error| std::io::Error::new(error.kind(), format!("{}:{}: {error}", at.host, at.port)))
}

/// The steps of stopping, in their order.
#[derive(Clone, Default)]
pub struct Stages {
    /// Still accepting; HTTP/2 clients are told to go elsewhere (HTTP/1 ones learn it with their next answer).
    pub draining: CancellationToken,
    /// No more new connections; those there finish what is under way.
    pub closing: CancellationToken,
    /// Everything ends at once.
    pub killed: CancellationToken,
}

/// Serves until closing, then lets the connections finish for at most `patience`.
pub async fn serve<H, F, B>(listener: TcpListener, handler: H, stages: Stages, patience: impl FnOnce() -> Duration)
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    serve_with(IDLE, listener, handler, stages, patience).await;
}

async fn serve_with<H, F, B>(
    idle: Duration,
    listener: TcpListener,
    handler: H,
    stages: Stages,
    patience: impl FnOnce() -> Duration,
) where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(idle);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .max_concurrent_streams(256);
    let connections = TaskTracker::new();
    // of this listener only: the other one may still have connections to finish
    let stages = Stages { killed: stages.killed.child_token(), ..stages };
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let (stream, slot) = tokio::select! {
            biased;
            () = stages.closing.cancelled() => break,
            accepted = accept(&listener, &slots) => match accepted {
                Some(accepted) => accepted,
                None => break,
            },
        };
        let Ok(client) = stream.peer_addr() else { continue };
        let (handler, builder, stages) = (handler.clone(), builder.clone(), stages.clone());
        connections.spawn(async move {
            connection(&builder, idle, stream, client, handler, &stages).await;
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    let _ = tokio::time::timeout(patience(), connections.wait()).await;
    stages.killed.cancel();
}

/// One connection to its end. A client that goes away is an error to hyper and nothing to us.
async fn connection<H, F, B>(
    builder: &Builder<TokioExecutor>,
    idle: Duration,
    stream: TcpStream,
    client: SocketAddr,
    handler: H,
    stages: &Stages,
) where
    H: Fn(Request<Incoming>, SocketAddr) -> F,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (asked, http2) = (AtomicBool::new(false), AtomicBool::new(false));
    let service = service_fn(|request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        http2.store(request.version() == Version::HTTP_2, Ordering::Relaxed);
        let answer = handler(request, client);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // hyper counts the time for a head only once it has seen the first bytes
    let mut silence = pin!(tokio::time::sleep(idle));
    let (mut waited, mut drained, mut closed) = (false, false, false);
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = stages.killed.cancelled() => return,
            () = silence.as_mut(), if !waited => {
                waited = true;
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
            }
            () = stages.draining.cancelled(), if !drained => {
                drained = true;
                // an idle HTTP/1 connection would be closed at once, under a request that may be on its way
                if http2.load(Ordering::Relaxed) {
                    connection.as_mut().graceful_shutdown();
                }
            }
            () = stages.closing.cancelled(), if !closed => {
                closed = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // pieces of a stream are small and must not wait for each other
                let _ = stream.set_nodelay(true);
                return Some((stream, slot));
            }
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_never_says_anything_does_not_keep_its_slot() {
        let listener = bind(&Listen { host: "127.0.0.1".into(), port: 0 }).await.unwrap();
        let address = listener.local_addr().unwrap();
        let handler = |_, _| async { Response::new(Empty::<bytes::Bytes>::new()) };
        let server = tokio::spawn(serve_with(Duration::from_millis(50), listener, handler, Stages::default(), || {
            Duration::ZERO
        }));
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut byte = [0];
        assert_eq!(silent.read(&mut byte).await.unwrap(), 0, "the connection is closed");
        server.abort();
    }
}
