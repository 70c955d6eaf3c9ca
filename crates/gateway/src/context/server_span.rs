//! The request as a span, by the OpenTelemetry conventions for HTTP servers.

use crate::telemetry::{Kind, Span, Trace};

use super::Inner;
use super::facts::Facts;

pub(super) fn end(inner: &Inner, trace: &Trace, facts: &Facts) {
    let status = Inner::status(facts);
    let name = format!("{} {}", method(&inner.method), inner.route);
    let mut span = Span::new(trace.own, name, Kind::Server, inner.started);
    span.parent = trace.parent.map(|parent| parent.span_id);
    span.remote_parent = trace.parent.is_some();
    span.state = trace.state().map(str::to_owned);
    span.failed = status >= 500;
    span.add::<&'static str>("http.request.method", method(&inner.method));
    span.add::<&'static str>("http.route", inner.route);
    span.add::<u64>("http.response.status_code", u64::from(status));
    span.add::<String>("url.path", super::cut(inner.uri.path()).to_owned());
    span.add::<&'static str>("url.scheme", if inner.secure { "https" } else { "http" });
    span.add::<&'static str>("network.protocol.version", super::version(inner.version));
    span.add::<String>("client.address", inner.client.ip().to_string());
    span.add::<String>("gitlab.correlation_id", inner.id.clone());
    span.add::<bool>("client.disconnected", (!facts.complete).then_some(true));
    if let Some(start) = facts.start {
        span.add::<f64>("duo.response_start_s", crate::logging::seconds(start));
    }
    if status >= 500 {
        span.add::<String>("error.type", status.to_string());
    }
    trace.end(span);
}

/// Methods that nobody knows are all alike: the name of a span has few values.
fn method(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}
