//! Model streams as bodies: what each endpoint writes at the start, per piece, at the end, and when the model's stream
//! breaks off.

use bytes::Bytes;
use duo_protocol::contract::{
    AgentEvent, ModelInfo, prompt_line_v2, sse_content_chunk, sse_stream_end, sse_stream_start,
};
use duo_protocol::failure::{chat_message, is_retryable};
use duo_protocol::model::{ModelEvent, StopReason, UpstreamFailure, Usage};
use duo_protocol::postprocess::{CompletionStream, GenerationStream, PromptStream};
use duo_protocol::react::TurnParser;
use futures::{Stream, StreamExt, stream};

use crate::answer::BrokenOff;
use crate::context::RequestContext;
use crate::inference::Observed;

/// Writes one kind of streamed body. Empty texts are not sent.
pub(super) trait Encoder: Send + 'static {
    /// Before the first piece.
    fn start(&mut self) -> String {
        String::new()
    }
    /// A piece of the answer.
    fn text(&mut self, piece: &str) -> String;
    /// After a complete answer.
    fn end(&mut self, stop: &StopReason, usage: Option<Usage>) -> String;
    /// Nothing the model may still write would be passed on: it is stopped, and the answer counts as complete.
    fn closed(&self) -> bool {
        false
    }
    /// After a broken one: last words, or `None` to break the connection off.
    fn broken(&mut self, _failure: &UpstreamFailure) -> Option<String> {
        None
    }
}

struct State<E> {
    events: Option<Observed>,
    encoder: E,
    begun: bool,
    stop: StopReason,
    usage: Option<Usage>,
}

/// The body of a stream. Dropping it (the client is gone) drops the model call.
pub(super) fn body<E: Encoder>(events: Observed, encoder: E) -> impl Stream<Item = Result<Bytes, BrokenOff>> + Send {
    let state = State { events: Some(events), encoder, begun: false, stop: StopReason::EndTurn, usage: None };
    stream::unfold(state, |mut state| async move {
        if !state.begun {
            state.begun = true;
            let start = state.encoder.start();
            if !start.is_empty() {
                return Some((Ok(Bytes::from(start)), state));
            }
        }
        loop {
            if state.encoder.closed()
                && let Some(events) = state.events.take()
            {
                events.stop();
                let end = state.encoder.end(&StopReason::StopSequence, state.usage);
                return (!end.is_empty()).then(|| (Ok(Bytes::from(end)), state));
            }
            let piece = match state.events.as_mut()?.next().await {
                Some(Ok(ModelEvent::Text(piece))) => state.encoder.text(&piece),
                Some(Ok(ModelEvent::Stop(reason))) => {
                    state.stop = reason;
                    continue;
                }
                Some(Ok(ModelEvent::Usage(usage))) => {
                    state.usage = Some(usage);
                    continue;
                }
                None => {
                    state.events = None;
                    state.encoder.end(&state.stop, state.usage)
                }
                Some(Err(failure)) => {
                    state.events = None;
                    match state.encoder.broken(&failure) {
                        Some(words) => words,
                        None => {
                            // let the pieces so far go out first: an error ends the connection at once
                            tokio::task::yield_now().await;
                            return Some((Err(BrokenOff), state));
                        }
                    }
                }
            };
            if !piece.is_empty() {
                return Some((Ok(Bytes::from(piece)), state));
            }
        }
    })
}

/// What is done to the model's code on its way.
pub(super) enum CodeFilter {
    /// For completions.
    Completion(Box<CompletionStream>),
    /// For generations; the text goes behind this code.
    Generation(GenerationStream, NewLine),
}

impl CodeFilter {
    fn push(&mut self, piece: &str) -> String {
        match self {
            Self::Completion(filter) => filter.push(piece),
            Self::Generation(filter, line) => line.before(filter.push(piece)),
        }
    }

    fn finish(&mut self) -> String {
        match self {
            Self::Completion(filter) => filter.finish(),
            Self::Generation(filter, line) => line.before(filter.finish()),
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Completion(filter) => filter.is_closed(),
            Self::Generation(filter, _) => filter.is_closed(),
        }
    }
}

/// Puts a line end in front of the first text when the code above does not end in one.
pub(super) struct NewLine {
    wanted: bool,
}

impl NewLine {
    /// For text behind `above`.
    pub(super) fn after(above: &str) -> Self {
        Self { wanted: !above.is_empty() && !above.ends_with('\n') }
    }

    fn before(&mut self, text: String) -> String {
        if text.is_empty() || !std::mem::take(&mut self.wanted) || text.starts_with('\n') {
            return text;
        }
        format!("\n{text}")
    }
}

/// Raw text pieces (v2, v3).
pub(super) struct RawCode(pub(super) CodeFilter);

impl Encoder for RawCode {
    fn text(&mut self, piece: &str) -> String {
        self.0.push(piece)
    }

    fn end(&mut self, _: &StopReason, _: Option<Usage>) -> String {
        self.0.finish()
    }

    fn closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// Server-sent events (v4). After a broken stream there is no `stream_end`.
pub(super) struct SseCode {
    pub(super) filter: CodeFilter,
    pub(super) start: String,
}

impl SseCode {
    /// With its first event.
    pub(super) fn new(filter: CodeFilter, model: ModelInfo<'_>, now: i64, flags: &[&str]) -> Self {
        Self { filter, start: sse_stream_start(model, now, flags) }
    }

    fn chunk(text: &str) -> String {
        if text.is_empty() { String::new() } else { sse_content_chunk(text) }
    }
}

impl Encoder for SseCode {
    fn start(&mut self) -> String {
        std::mem::take(&mut self.start)
    }

    fn text(&mut self, piece: &str) -> String {
        Self::chunk(&self.filter.push(piece))
    }

    fn end(&mut self, _: &StopReason, _: Option<Usage>) -> String {
        Self::chunk(&self.filter.finish()) + &sse_stream_end()
    }

    fn closed(&self) -> bool {
        self.filter.is_closed()
    }
}

/// Raw text pieces (v1 prompts).
pub(super) struct RawPrompt(pub(super) PromptStream);

impl Encoder for RawPrompt {
    fn text(&mut self, piece: &str) -> String {
        self.0.push(piece)
    }

    fn end(&mut self, _: &StopReason, _: Option<Usage>) -> String {
        self.0.finish()
    }

    fn closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// One JSON object per line (v2 prompts); token counts in the last.
pub(super) struct PromptLines {
    pub(super) prose: PromptStream,
    pub(super) model: String,
}

impl Encoder for PromptLines {
    fn text(&mut self, piece: &str) -> String {
        let text = self.prose.push(piece);
        if text.is_empty() { text } else { prompt_line_v2(&text, &self.model, None) }
    }

    fn end(&mut self, _: &StopReason, usage: Option<Usage>) -> String {
        prompt_line_v2(&self.prose.finish(), &self.model, usage)
    }

    fn closed(&self) -> bool {
        self.prose.is_closed()
    }
}

/// Chat events, one JSON object per line.
pub(super) struct ChatLines {
    pub(super) parser: Option<TurnParser>,
    /// Identifier, for error texts.
    pub(super) model: String,
    /// The model's name in the usage line; `None` leaves the line out (GitLab before 19 does not know it).
    pub(super) usage_name: Option<String>,
    pub(super) context: RequestContext,
}

fn lines(events: &[AgentEvent]) -> String {
    events.iter().map(AgentEvent::to_line).collect()
}

impl Encoder for ChatLines {
    fn text(&mut self, piece: &str) -> String {
        self.parser.as_mut().map(|parser| lines(&parser.push(piece))).unwrap_or_default()
    }

    fn end(&mut self, stop: &StopReason, usage: Option<Usage>) -> String {
        let mut events = self.parser.take().map(|parser| parser.finish(Some(stop))).unwrap_or_default();
        if let Some(AgentEvent::Action { tool, .. }) = events.last() {
            self.context.note("duo_chat.agent_tool_action", tool.as_str());
        }
        if let (Some(name), Some(usage)) = (&self.usage_name, usage) {
            events.push(AgentEvent::usage(name, usage));
        }
        lines(&events)
    }

    fn closed(&self) -> bool {
        self.parser.as_ref().is_some_and(TurnParser::is_closed)
    }

    fn broken(&mut self, failure: &UpstreamFailure) -> Option<String> {
        let message = chat_message(failure, &self.model);
        Some(AgentEvent::Error { message, retryable: is_retryable(failure) }.to_line())
    }
}
