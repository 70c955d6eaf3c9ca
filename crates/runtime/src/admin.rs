//! `/livez` and `/readyz` on one address, `/metrics` on another.

use std::{
    collections::BTreeMap,
    future::IntoFuture as _,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{Router, extract::State, http::StatusCode, http::header, response::IntoResponse, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::{CONTENT_TYPE, Metrics};

/// What the probes answer. Cheap to clone.
#[derive(Clone, Default)]
pub struct Health {
    state: Arc<Mutex<Parts>>,
}

#[derive(Default)]
struct Parts {
    ready: BTreeMap<&'static str, bool>,
    beats: BTreeMap<&'static str, (Instant, Duration)>,
}

impl Health {
    /// Alive, and ready as long as no part says otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says whether a part is ready; not ready until all named parts are.
    pub fn set_ready(&self, part: &'static str, ready: bool) {
        self.parts().ready.insert(part, ready);
    }

    /// A part that has to show life at least every `within`; from then on its silence fails `/livez`.
    pub fn beat(&self, part: &'static str, within: Duration) {
        self.parts().beats.insert(part, (Instant::now(), within));
    }

    /// Names of the parts that are not ready.
    pub fn not_ready(&self) -> Vec<&'static str> {
        self.parts().ready.iter().filter(|(_, ready)| !**ready).map(|(part, _)| *part).collect()
    }

    /// Names of the parts that have been silent for too long.
    pub fn silent(&self) -> Vec<&'static str> {
        let late = |(at, within): &(Instant, Duration)| at.elapsed() > *within;
        self.parts().beats.iter().filter(|(_, beat)| late(beat)).map(|(part, _)| *part).collect()
    }

    fn parts(&self) -> std::sync::MutexGuard<'_, Parts> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server that runs until its token is cancelled.
pub struct Server {
    /// Where it listens; of use when port 0 was asked for.
    pub addr: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Waits for its end.
    pub async fn join(self) {
        let _ended_or_aborted = self.task.await;
    }
}

/// Serves `/livez` and `/readyz` (and `/healthz` as another name of the first).
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve_health(addr: SocketAddr, health: Health, stop: CancellationToken) -> std::io::Result<Server> {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/healthz", get(livez))
        .route("/readyz", get(readyz))
        .with_state(health);
    serve(addr, router, stop).await
}

/// Serves `/metrics`.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve_metrics(addr: SocketAddr, metrics: Metrics, stop: CancellationToken) -> std::io::Result<Server> {
    let router = Router::new().route("/metrics", get(metrics_text)).with_state(metrics);
    serve(addr, router, stop).await
}

async fn serve(addr: SocketAddr, router: Router, stop: CancellationToken) -> std::io::Result<Server> {
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let serving = axum::serve(listener, router).into_future();
    // no graceful end: a scraper's kept-alive connection must not hold up the process
    let task = tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            result = serving => if let Err(error) = result {
                tracing::error!(%error, %addr, "admin server ended");
            },
        }
    });
    Ok(Server { addr, task })
}

async fn livez(State(health): State<Health>) -> impl IntoResponse {
    answer("silent", &health.silent())
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    answer("not ready", &health.not_ready())
}

fn answer(word: &str, parts: &[&str]) -> (StatusCode, String) {
    match parts {
        [] => (StatusCode::OK, "ok\n".into()),
        _ => (StatusCode::SERVICE_UNAVAILABLE, format!("{word}: {}\n", parts.join(", "))),
    }
}

async fn metrics_text(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.encode())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn get(addr: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn probes_name_the_part_that_is_missing() {
        let (health, stop) = (Health::new(), CancellationToken::new());
        let server = serve_health(([127, 0, 0, 1], 0).into(), health.clone(), stop.clone()).await.unwrap();
        assert!(get(server.addr, "/readyz").await.starts_with("HTTP/1.1 200"));
        health.set_ready("caches", false);
        let answer = get(server.addr, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("not ready: caches"), "{answer}");
        health.set_ready("caches", true);
        assert!(get(server.addr, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get(server.addr, "/livez").await.starts_with("HTTP/1.1 200"));
        health.beat("lease", Duration::ZERO);
        assert!(get(server.addr, "/livez").await.contains("silent: lease"));
        health.beat("lease", Duration::from_secs(3600));
        assert!(get(server.addr, "/livez").await.starts_with("HTTP/1.1 200"));
        stop.cancel();
        server.join().await;
    }

    #[tokio::test]
    async fn metrics_are_served_as_open_metrics() {
        let stop = CancellationToken::new();
        let metrics = Metrics::new("x");
        let server = serve_metrics(([127, 0, 0, 1], 0).into(), metrics, stop.clone()).await.unwrap();
        let answer = get(server.addr, "/metrics").await;
        assert!(answer.contains("application/openmetrics-text") && answer.contains("x_leader 0"), "{answer}");
        stop.cancel();
        server.join().await;
    }
}
