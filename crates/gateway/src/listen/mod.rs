//! A listener: accepting connections, and letting go of them without cutting anybody off.
//!
//! What one connection may do is [`connection`], how slow its client may be [`limits`]. This module knows no routes and
//! no tokens.

mod activity;
mod connection;
mod counts;
mod limits;
mod stage;
mod streams;
mod watched;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

pub use counts::Counts;
pub use limits::{Limits, descriptors};
pub use stage::Stages;
use stage::{Registry, Stage};

use crate::settings::Listen;

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

/// What answers a request of the client at the address.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The answer's body.
    type Body: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + Send + 'static;
    /// Answers.
    fn handle(
        &self,
        request: Request<Incoming>,
        client: SocketAddr,
    ) -> impl Future<Output = Response<Self::Body>> + Send + 'static;
}

/// A function as a handler.
#[derive(Clone)]
pub struct With<H>(pub H);

impl<H, F, B> Handler for With<H>
where
    H: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + Send + 'static,
{
    type Body = B;
    fn handle(
        &self,
        request: Request<Incoming>,
        client: SocketAddr,
    ) -> impl Future<Output = Response<B>> + Send + 'static {
        self.0(request, client)
    }
}

/// TLS of a listener.
#[derive(Clone)]
pub struct Tls {
    /// For the handshake.
    pub config: Arc<ServerConfig>,
    /// Whether a client that speaks plain HTTP is served, too, and not told to come with TLS.
    pub accept_plain: bool,
}

/// How a listener serves.
#[derive(Clone)]
pub struct Service<H> {
    /// Answers requests.
    pub handler: H,
    /// TLS for a connection that comes in now; plain HTTP without.
    pub tls: Arc<dyn Fn() -> Option<Tls> + Send + Sync>,
    /// How much and how slow.
    pub limits: Limits,
    /// What is counted.
    pub counts: Counts,
}

/// Serves until closing, then lets the connections finish for at most `patience`.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    service: Service<H>,
    stages: Stages,
    patience: impl FnOnce() -> Duration,
) {
    let connections = TaskTracker::new();
    // of this listener only: another one may still have connections to finish
    let registry = Registry::default();
    let slots = Arc::new(Semaphore::new(service.limits.connections));
    let service = Arc::new(service);
    let mut draining = false;
    loop {
        let (stream, slot) = tokio::select! {
            biased;
            () = stages.closing.cancelled() => break,
            () = stages.draining.cancelled(), if !draining => {
                draining = true;
                registry.enter(Stage::Draining);
                continue;
            }
            accepted = accept(&listener, &slots) => match accepted {
                Some(accepted) => accepted,
                None => break,
            },
        };
        let Ok(client) = stream.peer_addr() else { continue };
        let (service, registered) = (service.clone(), registry.register());
        connections.spawn(async move {
            service.counts.open.inc();
            connection::serve(stream, client, &service, &registered).await;
            service.counts.open.dec();
            drop(slot);
        });
    }
    drop(listener);
    registry.enter(Stage::Closing);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = tokio::time::sleep(patience()) => {}
        () = stages.killed.cancelled() => {}
    }
    // dropping the registry ends what is left
}

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
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
