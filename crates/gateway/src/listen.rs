//! A listener and its connections: accepting, and letting go without cutting anybody off.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

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

/// Serves until `stop_accepting`, then lets the connections finish for at most `patience`.
pub async fn serve<H, F, B>(
    listener: TcpListener,
    handler: H,
    stop_accepting: CancellationToken,
    patience: impl FnOnce() -> Duration,
) where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .max_concurrent_streams(256);
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let (stream, slot) = tokio::select! {
            biased;
            () = stop_accepting.cancelled() => break,
            accepted = accept(&listener, &slots) => match accepted {
                Some(accepted) => accepted,
                None => break,
            },
        };
        let Ok(client) = stream.peer_addr() else { continue };
        let handler = handler.clone();
        let service = service_fn(move |request| {
            let answer = handler(request, client);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // a client that goes away is an error here and nothing more
            let _ = connection.await;
            drop(slot);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(patience(), graceful.shutdown()).await;
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
