//! What the listeners count.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Why a connection was ended by us before its client did.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
pub enum Cut {
    /// It asked nothing for a long time.
    Idle,
    /// A request's head did not come to its end.
    SlowHead,
    /// The client took nothing of its answer.
    Unread,
    /// The client went on sending after its answer.
    Lingered,
    /// The TLS handshake failed or took too long.
    Handshake,
    /// Plain HTTP on the TLS port.
    NotTls,
}

/// Label of a cut.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CutLabels {
    /// Why.
    pub reason: Cut,
}

/// Counts of all listeners together. Clones share them.
#[derive(Clone, Default)]
pub struct Counts {
    /// Connections there are.
    pub open: Gauge,
    /// Connections that were cut.
    pub cut: Family<CutLabels, Counter>,
    /// Bytes of request bodies in memory.
    pub body_bytes: Gauge,
    /// Requests refused because all bodies together were too large.
    pub bodies_refused: Counter,
    /// When the API listener's certificate ends.
    pub certificate_end: Gauge,
    /// Certificates that could not be used.
    pub certificate_failures: Counter,
}

impl Counts {
    /// Under their names.
    pub fn register(&self, r: &mut Registry) {
        r.register("duo_gateway_connections", "Connections of clients", self.open.clone());
        r.register("duo_gateway_connections_cut", "Connections ended for what their clients did", self.cut.clone());
        r.register("duo_gateway_request_body_bytes", "Bytes of request bodies in memory", self.body_bytes.clone());
        r.register(
            "duo_gateway_request_bodies_refused",
            "Requests refused because the bodies of all requests fill their memory",
            self.bodies_refused.clone(),
        );
        r.register(
            "duo_gateway_tls_certificate_not_after_timestamp_seconds",
            "When the certificate of the API listener ends (0: no TLS)",
            self.certificate_end.clone(),
        );
        r.register(
            "duo_gateway_tls_reload_failures",
            "Certificates named by the environment that could not be used",
            self.certificate_failures.clone(),
        );
    }

    /// A connection was cut.
    pub fn cut(&self, reason: Cut) {
        self.cut.get_or_create(&CutLabels { reason }).inc();
    }
}
