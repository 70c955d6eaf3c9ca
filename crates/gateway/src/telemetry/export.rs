//! Sends spans: gathers them for a while, sends them together, again where the collector asks for it. A collector that
//! is not there costs spans, never requests and never more than the queue's memory.

use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Destination, Span, otlp};

/// Spans of one delivery.
const MOST_SENT: usize = 512;
/// Spans are gathered for so long.
const GATHER: Duration = Duration::from_secs(2);
/// Pauses between deliveries of the same spans.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// A collector that asks for more patience gets no second delivery.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What becomes of spans.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Taken by the collector.
    pub exported: Counter,
    /// Thrown away.
    pub dropped: Counter,
}

/// The sender of one destination.
pub struct Exporter {
    destination: Destination,
    client: reqwest::Client,
    waiting: mpsc::Receiver<Span>,
    counters: Counters,
    failing: bool,
}

enum Delivery {
    Taken,
    /// Again, after the pause that the collector names.
    Later(Option<Duration>, String),
    Refused(String),
}

impl Exporter {
    pub(super) fn new(
        destination: Destination,
        client: reqwest::Client,
        waiting: mpsc::Receiver<Span>,
        counters: Counters,
    ) -> Self {
        Self { destination, client, waiting, counters, failing: false }
    }

    /// Sends until nobody can hand over spans any more. Once `closing`, what is there is sent at once, one time.
    pub async fn run(mut self, closing: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            let more = self.gather(&mut batch, &closing).await;
            if !batch.is_empty() {
                self.deliver(&batch, &closing).await;
                batch.clear();
            }
            if !more {
                return;
            }
        }
    }

    /// Whether there may be more to come.
    async fn gather(&mut self, batch: &mut Vec<Span>, closing: &CancellationToken) -> bool {
        if closing.is_cancelled() {
            self.waiting.close();
        }
        let first = tokio::select! {
            count = self.waiting.recv_many(batch, MOST_SENT) => count,
            () = closing.cancelled(), if !closing.is_cancelled() => return true,
        };
        if first == 0 {
            return false;
        }
        let until = Instant::now() + GATHER;
        while batch.len() < MOST_SENT && !closing.is_cancelled() {
            let room = MOST_SENT - batch.len();
            tokio::select! {
                got = timeout_at(until, self.waiting.recv_many(batch, room)) => match got {
                    Ok(0) => return false,
                    Ok(_) => {}
                    Err(_) => break,
                },
                () = closing.cancelled() => break,
            }
        }
        true
    }

    async fn deliver(&mut self, batch: &[Span], closing: &CancellationToken) {
        let body = bytes::Bytes::from(otlp::request(&self.destination.resource, batch));
        let count = u64::try_from(batch.len()).unwrap_or_default();
        let mut pauses = PAUSES.iter();
        let problem = loop {
            let (asked, problem) = match self.send(body.clone()).await {
                Delivery::Taken => {
                    self.counters.exported.inc_by(count);
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("the trace collector takes spans again");
                    }
                    return;
                }
                Delivery::Refused(problem) => break problem,
                Delivery::Later(asked, problem) => (asked, problem),
            };
            let Some(pause) = pauses.next().map(|pause| asked.unwrap_or(*pause)) else { break problem };
            if closing.is_cancelled() || pause > LONGEST_PAUSE {
                break problem;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = closing.cancelled() => {}
            }
        };
        self.counters.dropped.inc_by(count);
        // said once, until it is better
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(problem, "the trace collector does not take spans; they are thrown away until it does");
        }
    }

    async fn send(&self, body: bytes::Bytes) -> Delivery {
        let call = self
            .client
            .post(&self.destination.url)
            .headers(self.destination.headers.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .timeout(self.destination.timeout)
            .body(body);
        match call.send().await {
            Ok(answer) if answer.status().is_success() => Delivery::Taken,
            Ok(answer) => {
                let status = answer.status().as_u16();
                let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                // of the collector's words nothing is repeated
                let problem = format!("it answered {status}");
                match status {
                    429 | 502 | 503 | 504 => Delivery::Later(asked.map(Duration::from_secs), problem),
                    _ => Delivery::Refused(problem),
                }
            }
            Err(error) => Delivery::Later(None, crate::upstream::cause(&error)),
        }
    }
}
