//! The events of ConverseStream.

use serde::Deserialize;

use super::answer::Tokens;
use super::error::{parse_error, status_of};
use super::frames::{BadFrame, Frame, Frames};
use crate::model::{ModelEvent, StopReason, UpstreamFailure};

#[derive(Deserialize)]
struct ContentBlockDelta {
    delta: Option<Delta>,
}

/// Of another kind where there is no text: reasoning, a tool's input.
#[derive(Deserialize)]
struct Delta {
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageStop {
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    usage: Option<Tokens>,
}

/// Reads a stream piece by piece into [`ModelEvent`]s: `push` for each piece of the body, `finish` at its end. Events
/// that carry nothing for us (starts and ends of blocks, reasoning, tools) are passed over.
#[derive(Debug, Default)]
pub struct ConverseStream {
    frames: Frames,
}

impl ConverseStream {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a piece of the body.
    ///
    /// # Errors
    /// [`UpstreamFailure::StreamBroken`] for a bad frame or event; an exception as the failure that it stands for.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<ModelEvent>, UpstreamFailure> {
        let mut out = Vec::new();
        self.frames.push(piece, |frame| {
            out.extend(event(frame)?);
            Ok::<_, UpstreamFailure>(())
        })?;
        Ok(out)
    }

    /// The body has ended. Whether the answer had is for the caller to see: it has, when there was a `Stop`.
    ///
    /// # Errors
    /// [`UpstreamFailure::StreamBroken`] inside a frame.
    pub fn finish(self) -> Result<Vec<ModelEvent>, UpstreamFailure> {
        if self.frames.is_whole() { Ok(Vec::new()) } else { Err(BadFrame.into()) }
    }
}

fn event(frame: Frame<'_>) -> Result<Option<ModelEvent>, UpstreamFailure> {
    let (mut message, mut kind, mut exception, mut code) = (None, None, None, None);
    for header in frame.texts() {
        match header? {
            (":message-type", text) => message = Some(text),
            (":event-type", text) => kind = Some(text),
            (":exception-type", text) => exception = Some(text),
            (":error-code", text) => code = Some(text),
            _ => {}
        }
    }
    match (message, kind, exception) {
        (Some("event"), Some(kind), _) => read(kind, frame.payload),
        (Some("exception"), _, Some(exception)) => {
            Err(parse_error(status_of(exception), Some(exception), None, frame.payload, &[]))
        }
        (Some("error"), ..) => Err(parse_error(500, code, None, frame.payload, &[])),
        _ => Err(BadFrame.into()),
    }
}

fn read(kind: &str, payload: &[u8]) -> Result<Option<ModelEvent>, UpstreamFailure> {
    Ok(match kind {
        "contentBlockDelta" => {
            let text = json::<ContentBlockDelta>(payload)?.delta.and_then(|delta| delta.text);
            text.filter(|text| !text.is_empty()).map(ModelEvent::Text)
        }
        "messageStop" => {
            let reason = json::<MessageStop>(payload)?.stop_reason.unwrap_or_default();
            Some(ModelEvent::Stop(StopReason::from_bedrock(&reason)))
        }
        "metadata" => json::<Metadata>(payload)?.usage.map(|tokens| ModelEvent::Usage(tokens.usage())),
        _ => None,
    })
}

fn json<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, BadFrame> {
    serde_json::from_slice(payload).map_err(|_| BadFrame)
}

#[cfg(test)]
mod tests {
    use super::super::frames::tests::{frame, header};
    use super::*;

    fn said(message: &str, kind: (&str, &str), payload: &str) -> Vec<u8> {
        let mut headers = header(kind.0, 7, kind.1.as_bytes());
        headers.extend(header(":content-type", 7, b"application/json"));
        headers.extend(header(":message-type", 7, message.as_bytes()));
        frame(&headers, payload.as_bytes())
    }

    fn told(kind: &str, payload: &str) -> Vec<u8> {
        said("event", (":event-type", kind), payload)
    }

    fn delta(text: &str) -> Vec<u8> {
        told("contentBlockDelta", &format!(r#"{{"contentBlockIndex":0,"delta":{{"text":{text}}},"p":"abc"}}"#))
    }

    #[test]
    fn text_stop_and_counts_are_read_and_other_events_passed_over() {
        let body = [
            told("messageStart", r#"{"role":"assistant"}"#),
            told("contentBlockDelta", r#"{"delta":{"reasoningContent":{"text":"hm"}}}"#),
            delta(r#""h\u00e4user""#),
            delta(r#""""#),
            told("somethingNew", "anything"),
            told("messageStop", r#"{"stopReason":"end_turn"}"#),
            told("metadata", r#"{"usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5},"metrics":{}}"#),
        ]
        .concat();
        for size in [1, 7, body.len()] {
            let mut stream = ConverseStream::new();
            let mut events = Vec::new();
            for piece in body.chunks(size) {
                events.extend(stream.push(piece).unwrap());
            }
            assert_eq!(stream.finish(), Ok(vec![]));
            assert_eq!(events.len(), 3);
            assert_eq!(events[0], ModelEvent::Text("häuser".into()));
            assert_eq!(events[1], ModelEvent::Stop(StopReason::EndTurn));
            assert!(matches!(&events[2], ModelEvent::Usage(usage) if usage.input_tokens == 3), "{events:?}");
        }
    }

    #[test]
    fn exceptions_keep_their_kind_and_what_is_no_event_breaks_the_stream() {
        let exception = |kind| said("exception", (":exception-type", kind), r#"{"message":"words"}"#);
        for (kind, status) in [
            ("validationException", 400),
            ("modelStreamErrorException", 424),
            ("internalServerException", 500),
            ("surpriseException", 500),
            ("serviceUnavailableException", 503),
        ] {
            let failure = ConverseStream::new().push(&exception(kind)).unwrap_err();
            let UpstreamFailure::Status { code, reason, .. } = failure else { panic!("{kind}: {failure}") };
            assert_eq!(code, status);
            assert!(reason.ends_with(&format!("{kind}: words")), "{reason}");
        }
        let throttled = ConverseStream::new().push(&exception("throttlingException")).unwrap_err();
        assert_eq!(throttled, UpstreamFailure::Throttled { retry_after: None });
        let unknown = said("error", (":error-code", "InternalError"), "");
        assert!(matches!(ConverseStream::new().push(&unknown), Err(UpstreamFailure::Status { code: 500, .. })));
        let bad = [delta("7"), told("metadata", "[1,2]"), said("event", ("x", "y"), "{}"), frame(&[], b"{}")];
        for bytes in bad {
            let failure = ConverseStream::new().push(&bytes).unwrap_err();
            assert!(matches!(failure, UpstreamFailure::StreamBroken { .. }), "{failure}");
        }
        let mut stream = ConverseStream::new();
        stream.push(&delta("\"a\"")[..20]).unwrap();
        assert!(stream.finish().is_err(), "half a frame is no end");
    }
}
