//! The stream of `chat/completions` chunks.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::Value;

use super::answer::{Content, UsageCounts};
use super::body::EventBody;
use super::error::error_object;
use super::sse::SseEvent;
use crate::model::{ModelEvent, StopReason, UpstreamFailure, Usage};

/// Made once: making it takes longer than looking through a chunk.
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"error\""));

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<UsageCounts>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    delta: Option<Delta>,
    // of the completions API
    text: Option<String>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<Content>,
}

/// Reads a stream chunk by chunk into [`ModelEvent`]s: `push` for each piece of the body, `finish` at its end.
#[derive(Debug, Default)]
pub struct ChatStream {
    body: EventBody,
    stop: Option<StopReason>,
    usage: Option<Usage>,
    done: bool,
    /// Text has been given out: from here on a failure is a broken stream.
    begun: bool,
}

impl ChatStream {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a piece of the body. `Stop` and `Usage` come when the stream says it is done.
    ///
    /// # Errors
    /// [`UpstreamFailure::StreamBroken`] for an error object or broken JSON in the stream (the official gateway breaks
    /// its client's stream without a word), [`UpstreamFailure::Protocol`] for an oversized event. An error object
    /// before any text keeps its status ([`UpstreamFailure::Status`] or `Throttled`).
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<ModelEvent>, UpstreamFailure> {
        let events = self.body.push(piece)?;
        let mut out = Vec::new();
        for event in events {
            self.take(&event, &mut out)?;
        }
        Ok(out)
    }

    /// Whether the server has said that the stream is complete; what it sends further can be ignored.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The body has ended.
    ///
    /// # Errors
    /// [`UpstreamFailure::StreamBroken`] when neither a `finish_reason` nor `[DONE]` came: the answer is a part, not
    /// the whole. [`UpstreamFailure::Protocol`] when the body was no event stream at all.
    pub fn finish(mut self) -> Result<Vec<ModelEvent>, UpstreamFailure> {
        let mut out = Vec::new();
        if let Some(event) = self.body.finish() {
            self.take(&event, &mut out)?;
        }
        if !self.done {
            if self.stop.is_none() {
                return Err(self.body.cut_off(error_object));
            }
            self.complete(&mut out);
        }
        Ok(out)
    }

    fn take(&mut self, event: &SseEvent, out: &mut Vec<ModelEvent>) -> Result<(), UpstreamFailure> {
        if self.done {
            return Ok(());
        }
        let data = event.data.trim();
        if data.is_empty() {
            return Ok(());
        }
        if data == "[DONE]" {
            self.complete(out);
            return Ok(());
        }
        let broken = |reason: &str| UpstreamFailure::StreamBroken { reason: reason.into() };
        if ERROR.find(data.as_bytes()).is_some() || event.event == "error" {
            let failure = serde_json::from_str::<Value>(data).ok().and_then(|value| error_object(&value, &[]));
            if let Some(failure) = failure {
                return Err(if self.begun { broken(&failure.to_string()) } else { failure });
            }
            if event.event == "error" {
                return Err(broken("the model server reported an error"));
            }
        }
        let chunk: Chunk = serde_json::from_str(data).map_err(|_| broken("a chunk is not valid JSON"))?;
        self.body.understood();
        if let Some(usage) = chunk.usage {
            self.usage = Some(usage.usage());
        }
        for choice in chunk.choices.unwrap_or_default().into_iter().filter(|choice| choice.index == 0) {
            let text = choice.delta.and_then(|d| d.content).map(Content::into_text).or(choice.text);
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                self.begun = true;
                out.push(ModelEvent::Text(text));
            }
            if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
                self.stop = Some(StopReason::from_openai(&reason));
            }
        }
        Ok(())
    }

    fn complete(&mut self, out: &mut Vec<ModelEvent>) {
        self.done = true;
        out.push(ModelEvent::Stop(self.stop.take().unwrap_or(StopReason::EndTurn)));
        out.extend(self.usage.take().map(ModelEvent::Usage));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &str) -> Result<Vec<ModelEvent>, UpstreamFailure> {
        let mut reader = ChatStream::new();
        let mut out = Vec::new();
        for byte in stream.as_bytes().chunks(1) {
            out.extend(reader.push(byte)?);
        }
        out.extend(reader.finish()?);
        Ok(out)
    }

    const HI: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi é\"}}]}\n\n";
    const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n";
    const USAGE: &str =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n";

    #[test]
    fn text_stop_and_usage_come_in_order() {
        let text = ModelEvent::Text("hi é".into());
        let stop = ModelEvent::Stop(StopReason::MaxTokens);
        let usage = ModelEvent::Usage(Usage { input_tokens: 3, output_tokens: 2, ..Usage::default() });
        let whole = format!("{HI}{STOP}{USAGE}data: [DONE]\n\n");
        assert_eq!(read(&whole).unwrap(), [text.clone(), stop.clone(), usage]);
        assert_eq!(read(&format!("{HI}{STOP}")).unwrap(), [text, stop], "some servers never send [DONE]");
    }

    #[test]
    fn trap_a_stream_that_ends_early_is_broken_not_complete() {
        assert!(matches!(read(HI), Err(UpstreamFailure::StreamBroken { .. })));
        assert!(matches!(read(&HI[..HI.len() - 20]), Err(UpstreamFailure::StreamBroken { .. })));
    }

    #[test]
    fn trap_an_error_object_inside_the_stream_is_a_failure() {
        let error = "data: {\"error\":{\"message\":\"CUDA out of memory\",\"code\":500}}\n\n";
        let broken = read(&format!("{HI}{error}")).unwrap_err();
        assert_eq!(
            broken,
            UpstreamFailure::StreamBroken { reason: "500: Internal Server Error: CUDA out of memory".into() }
        );
        assert!(matches!(read(error), Err(UpstreamFailure::Status { code: 500, .. })));
        assert!(matches!(read("event: error\ndata: boom\n\n"), Err(UpstreamFailure::StreamBroken { .. })));
    }

    #[test]
    fn text_that_speaks_of_errors_is_text() {
        let stream = format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{{\\\"error\\\": 1}}\"}}}}]}}\n\n{STOP}"
        );
        assert_eq!(read(&stream).unwrap()[0], ModelEvent::Text("{\"error\": 1}".into()));
    }

    #[test]
    fn a_body_that_is_no_stream_is_a_protocol_failure() {
        for body in ["<html>login</html>", "", "{\"half"] {
            assert!(matches!(read(body), Err(UpstreamFailure::Protocol { .. })), "{body:?}");
        }
        assert!(matches!(read("data: {\"choi\n\n"), Err(UpstreamFailure::StreamBroken { .. })));
    }

    #[test]
    fn an_error_behind_the_opening_chunk_keeps_its_status_until_there_is_text() {
        let opening = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n";
        let text = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
        let error = b"data: {\"error\":{\"message\":\"slow down\",\"code\":429}}\n\n";
        let mut stream = ChatStream::new();
        assert_eq!(stream.push(opening), Ok(vec![]));
        assert_eq!(stream.push(error), Err(UpstreamFailure::Throttled { retry_after: None }));
        let mut stream = ChatStream::new();
        stream.push(opening).unwrap();
        stream.push(text).unwrap();
        assert!(matches!(stream.push(error), Err(UpstreamFailure::StreamBroken { .. })));
    }
}
