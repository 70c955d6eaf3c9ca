//! Which trace a request belongs to: W3C Trace Context (`traceparent`, `tracestate`), read from the caller, passed on
//! to model servers.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::Tracer;

/// A longer `tracestate` is dropped; the recommendation asks for 512 characters at least.
const LONGEST_STATE: usize = 512;

/// A span's place in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span.
    pub span_id: [u8; 8],
    /// Whether the trace is kept.
    pub sampled: bool,
}

impl SpanContext {
    /// Reads a `traceparent`. Of versions to come, the parts known today are read, as the recommendation says.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if (version == "00" && parts.next().is_some()) || version == "ff" {
            return None;
        }
        let [_] = bytes::<1>(version)?;
        let (trace_id, span_id, [flags]) = (bytes::<16>(trace)?, bytes::<8>(span)?, bytes::<1>(flags)?);
        let valid = trace_id != [0; 16] && span_id != [0; 8];
        valid.then_some(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }

    /// As a `traceparent`.
    pub fn header(&self) -> Option<HeaderValue> {
        let text = format!("00-{}-{}-0{}", hex(&self.trace_id), hex(&self.span_id), u8::from(self.sampled));
        HeaderValue::from_str(&text).ok()
    }
}

/// Lower-case digits only: what is in upper case is not a `traceparent`.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// Lower-case digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn random<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    while out == [0; N] {
        // has no way to fail that the program would survive
        if aws_lc_rs::rand::fill(&mut out).is_err() {
            out[0] = 1;
        }
    }
    out
}

/// The headers that tell a model server of the trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// `traceparent`.
    pub parent: Option<HeaderValue>,
    /// `tracestate`.
    pub state: Option<HeaderValue>,
}

impl Passed {
    /// What the caller sent, as it is.
    pub fn on(headers: &HeaderMap) -> Self {
        let Some(parent) = headers.get("traceparent") else { return Self::default() };
        let valid = parent.to_str().is_ok_and(|text| SpanContext::parse(text).is_some());
        if !valid {
            return Self::default();
        }
        let state = headers.get("tracestate").filter(|state| state.len() <= LONGEST_STATE);
        Self { parent: Some(parent.clone()), state: state.cloned() }
    }
}

/// A request's trace.
#[derive(Clone, Debug)]
pub struct Trace {
    tracer: Arc<Tracer>,
    /// The request's own span.
    pub own: SpanContext,
    /// The caller's.
    pub parent: Option<SpanContext>,
    state: Option<HeaderValue>,
}

impl Trace {
    /// The caller's trace, or a new one.
    pub fn begin(tracer: &Arc<Tracer>, headers: &HeaderMap) -> Self {
        let Passed { parent, state } = Passed::on(headers);
        let parent = parent.and_then(|parent| SpanContext::parse(parent.to_str().ok()?));
        let trace_id = parent.map_or_else(random, |parent| parent.trace_id);
        let sampled = tracer.keeps(trace_id, parent.map(|parent| parent.sampled));
        let own = SpanContext { trace_id, span_id: random(), sampled };
        Self { tracer: tracer.clone(), own, parent, state }
    }

    /// A span below the request's own.
    pub fn child(&self) -> SpanContext {
        SpanContext { span_id: random(), ..self.own }
    }

    /// What a model server is told whose call is `span`.
    pub fn passed(&self, span: &SpanContext) -> Passed {
        Passed { parent: span.header(), state: self.state.clone() }
    }

    /// `tracestate`.
    pub fn state(&self) -> Option<&str> {
        self.state.as_ref()?.to_str().ok()
    }

    /// Hands a span over, if the trace is kept.
    pub fn end(&self, span: super::Span) {
        if self.own.sampled {
            self.tracer.take(span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_survives_reading_and_writing() {
        let context = SpanContext::parse(GOOD).unwrap();
        assert!(context.sampled);
        assert_eq!(context.header().unwrap(), GOOD);
        let later = SpanContext::parse("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02-more").unwrap();
        assert!(!later.sampled);
    }

    #[test]
    fn what_is_no_traceparent_is_not_passed_on() {
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
        ] {
            assert_eq!(SpanContext::parse(bad), None, "{bad}");
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_str(bad).unwrap());
            headers.insert("tracestate", HeaderValue::from_static("a=b"));
            assert_eq!(Passed::on(&headers), Passed::default(), "{bad}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_static(GOOD));
        headers.insert("tracestate", HeaderValue::from_str(&"x".repeat(LONGEST_STATE + 1)).unwrap());
        let passed = Passed::on(&headers);
        assert_eq!((passed.parent.unwrap(), passed.state), (HeaderValue::from_static(GOOD), None));
    }
}
