//! The stream of a message.

use serde::Deserialize;
use serde_json::Value;

use super::answer::{Counts, error_object};
use crate::model::{ModelEvent, StopReason, UpstreamFailure};
use crate::openai::{EventBody, SseEvent};

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type", default)]
    kind: String,
    message: Option<Start>,
    delta: Option<Delta>,
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct Start {
    usage: Option<Counts>,
}

#[derive(Deserialize)]
struct Delta {
    text: Option<String>,
    stop_reason: Option<String>,
}

/// Reads a stream chunk by chunk into [`ModelEvent`]s: `push` for each piece of the body, `finish` at its end.
#[derive(Debug, Default)]
pub struct MessageStream {
    body: EventBody,
    stop: Option<StopReason>,
    usage: Option<Counts>,
    done: bool,
    begun: bool,
}

impl MessageStream {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a piece of the body.
    ///
    /// # Errors
    /// As [`crate::openai::ChatStream::push`].
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<ModelEvent>, UpstreamFailure> {
        let events = self.body.push(piece)?;
        let mut out = Vec::new();
        for event in events {
            self.take(&event, &mut out)?;
        }
        Ok(out)
    }

    /// Whether the message is complete.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The body has ended.
    ///
    /// # Errors
    /// [`UpstreamFailure::StreamBroken`] when the message was not complete, [`UpstreamFailure::Protocol`] when the body
    /// was no event stream.
    pub fn finish(mut self) -> Result<Vec<ModelEvent>, UpstreamFailure> {
        let mut out = Vec::new();
        if let Some(event) = self.body.finish() {
            self.take(&event, &mut out)?;
        }
        if self.done { Ok(out) } else { Err(self.body.cut_off(error_object)) }
    }

    fn take(&mut self, event: &SseEvent, out: &mut Vec<ModelEvent>) -> Result<(), UpstreamFailure> {
        let data = event.data.trim();
        if self.done || data.is_empty() {
            return Ok(());
        }
        let broken = |reason: &str| UpstreamFailure::StreamBroken { reason: reason.into() };
        let read: Event = serde_json::from_str(data).map_err(|_| broken("an event is not valid JSON"))?;
        if read.kind == "error" || event.event == "error" {
            let failure = serde_json::from_str::<Value>(data).ok().and_then(|value| error_object(&value, &[]));
            let failure = failure.unwrap_or_else(|| broken("the model server reported an error"));
            return Err(if self.begun { broken(&failure.to_string()) } else { failure });
        }
        self.body.understood();
        let counts = read.message.and_then(|start| start.usage).or(read.usage);
        if let Some(counts) = counts {
            self.usage = Some(self.usage.unwrap_or_default().then(counts));
        }
        if let Some(delta) = read.delta {
            if let Some(text) = delta.text.filter(|text| !text.is_empty()) {
                self.begun = true;
                out.push(ModelEvent::Text(text));
            }
            if let Some(reason) = delta.stop_reason {
                self.stop = Some(StopReason::from_anthropic(&reason));
            }
        }
        if read.kind == "message_stop" {
            self.done = true;
            out.push(ModelEvent::Stop(self.stop.take().unwrap_or(StopReason::EndTurn)));
            out.extend(self.usage.take().map(|counts| ModelEvent::Usage(counts.usage())));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Usage;

    const STREAM: &str = include_str!("../../tests/providers/anthropic_stream.sse");

    fn read(stream: &str) -> Result<Vec<ModelEvent>, UpstreamFailure> {
        let mut reader = MessageStream::new();
        let mut out = Vec::new();
        for piece in stream.as_bytes().chunks(7) {
            out.extend(reader.push(piece)?);
        }
        out.extend(reader.finish()?);
        Ok(out)
    }

    #[test]
    fn text_stop_and_the_sum_of_all_token_counts() {
        let text = |text: &str| ModelEvent::Text(text.into());
        let usage = Usage { input_tokens: 2 + 40 + 8, output_tokens: 15, cache_read_tokens: 40, cache_write_tokens: 8 };
        let events = read(STREAM).unwrap();
        assert_eq!(
            events,
            [text("Hello"), text(" wörld"), ModelEvent::Stop(StopReason::EndTurn), ModelEvent::Usage(usage)]
        );
    }

    #[test]
    fn every_cut_of_the_stream_is_a_failure_and_not_a_short_answer() {
        let end = STREAM.find("event: message_stop").unwrap();
        for cut in 0..end {
            if STREAM.is_char_boundary(cut) {
                assert!(read(&STREAM[..cut]).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn an_error_event_keeps_its_status_until_there_is_text() {
        let error = |kind: &str| {
            format!(
                "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":\"Overloaded\"}}}}\n\n"
            )
        };
        assert_eq!(read(&error("rate_limit_error")), Err(UpstreamFailure::Throttled { retry_after: None }));
        let overloaded = read(&error("overloaded_error")).unwrap_err();
        assert!(matches!(overloaded, UpstreamFailure::Status { code: 529, .. }), "{overloaded}");
        let begun = &STREAM[..STREAM.find("event: content_block_stop").unwrap()];
        let broken = read(&format!("{begun}{}", error("overloaded_error"))).unwrap_err();
        assert!(matches!(broken, UpstreamFailure::StreamBroken { .. }), "{broken}");
    }
}
