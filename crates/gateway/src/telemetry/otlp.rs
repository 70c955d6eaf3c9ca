//! Spans as the bytes of an OTLP `ExportTraceServiceRequest` (protobuf, opentelemetry-proto 1.x): a few messages, each
//! field a key, and a length in front of what is not a number. Field numbers are those of `trace.proto`,
//! `common.proto` and `resource.proto`; they never change.

use super::span::{Attribute, Kind, Span, nanos};

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

/// The flags' bits beside those of `traceparent`: whether it is known that the parent is in another process, and that
/// it is.
const KNOWN: u32 = 0x100;
const REMOTE: u32 = 0x200;

/// The whole request.
pub(super) fn request(resource: &[(String, String)], spans: &[Span]) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 * spans.len() + 512);
    message(&mut out, 1, |group| {
        message(group, 1, |out| {
            for (name, value) in resource {
                attribute(out, 1, name, &Attribute::Text(value.clone().into()));
            }
        });
        message(group, 2, |out| {
            message(out, 1, |scope| {
                text(scope, 1, "duo-gateway");
                text(scope, 2, env!("CARGO_PKG_VERSION"));
            });
            for one in spans {
                message(out, 2, |out| span(out, one));
            }
        });
    });
    out
}

fn span(out: &mut Vec<u8>, span: &Span) {
    bytes(out, 1, &span.context.trace_id);
    bytes(out, 2, &span.context.span_id);
    if let Some(state) = &span.state {
        text(out, 3, state);
    }
    if let Some(parent) = &span.parent {
        bytes(out, 4, parent);
    }
    text(out, 5, &span.name);
    let kind = match span.kind {
        Kind::Server => 2,
        Kind::Client => 3,
    };
    number(out, 6, kind);
    fixed64(out, 7, nanos(span.start));
    fixed64(out, 8, nanos(span.end));
    for (name, value) in &span.attributes {
        attribute(out, 9, name, value);
    }
    if span.failed {
        // STATUS_CODE_ERROR; why stands in `error.type`
        message(out, 15, |status| number(status, 3, 2));
    }
    let flags = u32::from(span.context.sampled) | KNOWN | if span.remote_parent { REMOTE } else { 0 };
    key(out, 16, FIXED32);
    out.extend_from_slice(&flags.to_le_bytes());
}

fn attribute(out: &mut Vec<u8>, field: u32, name: &str, value: &Attribute) {
    message(out, field, |pair| {
        text(pair, 1, name);
        message(pair, 2, |any| match value {
            Attribute::Text(value) => text(any, 1, value),
            Attribute::Switch(value) => number(any, 2, u64::from(*value)),
            // a negative one would be its two's complement; none of ours is
            Attribute::Whole(value) => number(any, 3, value.cast_unsigned()),
            Attribute::Number(value) => fixed64(any, 4, value.to_bits()),
            Attribute::Texts(value) => message(any, 5, |list| message(list, 1, |any| text(any, 1, value))),
        });
    });
}

fn key(out: &mut Vec<u8>, field: u32, kind: u32) {
    varint(out, u64::from(field << 3 | kind));
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, VARINT);
    varint(out, value);
}

fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    key(out, field, LENGTH);
    varint(out, u64::try_from(value.len()).unwrap_or_default());
    out.extend_from_slice(value);
}

fn text(out: &mut Vec<u8>, field: u32, value: &str) {
    bytes(out, field, value.as_bytes());
}

/// Writes a message with its length in front, which is known only behind it.
fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    bytes(out, field, &inner);
}
