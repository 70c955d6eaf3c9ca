//! Traces by OTLP over HTTP: one server span per request, one client span per call of a model server, no content in
//! either. Off unless an endpoint is configured, and then nothing of this costs anything; a caller's `traceparent` is
//! passed on to model servers all the same.
//!
//! Why no OpenTelemetry SDK: it would bring some 25 crates and a thread for a list of records with a length in front,
//! and its settings cannot change while it runs. What is sent is checked in the tests against OpenTelemetry's own
//! decoder.

mod export;
mod otlp;
mod settings;
mod span;
mod trace;

pub use export::{Counters, Exporter};
pub use settings::{Destination, OtelEnvironment, Sampler, destination};
pub use span::{Attribute, Kind, Span};
pub(crate) use trace::hex;
pub use trace::{Passed, SpanContext, Trace};

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Spans that wait to be sent.
const MOST_WAITING: usize = 2048;

/// All that sends spans in this process: the tracer of the configuration in force, and those of former ones that still
/// have something to send.
#[derive(Debug, Default)]
pub struct Traces {
    /// What becomes of spans.
    pub counters: Counters,
    closing: CancellationToken,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Traces {
    /// The tracer of a destination: the former one where it is the same, else one whose sender is started here.
    pub fn tracer(
        &self,
        destination: Option<Destination>,
        former: Option<&Arc<Tracer>>,
        client: &reqwest::Client,
    ) -> Option<Arc<Tracer>> {
        let destination = destination?;
        if let Some(same) = former.filter(|former| former.destination == destination) {
            return Some(same.clone());
        }
        let (tracer, exporter) = Tracer::new(destination, client.clone(), self.counters.clone());
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|task| !task.is_finished());
        running.push(tokio::spawn(exporter.run(self.closing.clone())));
        Some(tracer)
    }

    /// Sends what waits and ends, within `patience`.
    pub async fn close(&self, patience: Duration) {
        self.closing.cancel();
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = tokio::time::timeout(patience, futures::future::join_all(running)).await;
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        for task in self.running.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

/// Where spans go, and which traces are kept. The configuration holds one; requests under way keep theirs.
#[derive(Debug)]
pub struct Tracer {
    destination: Destination,
    queue: mpsc::Sender<Span>,
    counters: Counters,
}

impl Tracer {
    /// A tracer and what sends its spans; that ends when the tracer and all requests that hold it are gone.
    pub fn new(destination: Destination, client: reqwest::Client, counters: Counters) -> (Arc<Self>, Exporter) {
        let (queue, waiting) = mpsc::channel(MOST_WAITING);
        let exporter = Exporter::new(destination.clone(), client, waiting, counters.clone());
        (Arc::new(Self { destination, queue, counters }), exporter)
    }

    /// Takes a span; never waits. One that finds the queue full is counted and left out.
    pub(crate) fn take(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.counters.dropped.inc();
        }
    }

    fn keeps(&self, trace_id: [u8; 16], parent: Option<bool>) -> bool {
        self.destination.sampler.keeps(trace_id, parent)
    }
}
