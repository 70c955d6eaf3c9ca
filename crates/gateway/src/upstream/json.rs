//! Model servers that take JSON over HTTP and stream server-sent events: OpenAI-compatible ones, Azure OpenAI,
//! Bedrock's OpenAI door, Anthropic, Vertex AI. The wire formats themselves are `duo_protocol::{openai, anthropic}`;
//! where and as whom they are called is settled in [`door`].

pub(super) mod door;
mod embed;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use duo_protocol::anthropic::{self, Flavor, MessageStream, messages_body};
use duo_protocol::bedrock::ConverseStream;
use duo_protocol::cache::CacheMarks;
use duo_protocol::failure::cleaned;
use duo_protocol::model::{ChatMessage, ModelAnswer, ModelEvent, ModelRequest, UpstreamFailure};
use duo_protocol::openai::{self, ChatStream, StreamMode, chat_body, completions_body, parse_error, parse_retry_after};
use futures::Stream;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::Value;

use super::caller::{CallError, Reply, Target};
use super::{ModelStream, Place};
use crate::telemetry::Passed;
use door::{Dialect, Door};

/// A whole answer of more bytes is not one.
pub(super) const MAX_ANSWER: usize = 16 << 20;
/// Room that a server's announced length alone is given.
const MOST_AHEAD: usize = 64 << 10;
/// Of an error body no more is read.
pub(super) const MAX_ERROR: usize = 64 << 10;

/// One call through a door.
pub(super) struct Call<'a> {
    pub place: &'a Place,
    pub door: &'a Door,
    pub request: &'a ModelRequest,
    pub marks: CacheMarks,
    pub trace: &'a Passed,
}

impl Call<'_> {
    pub(super) async fn complete(&self) -> Result<ModelAnswer, UpstreamFailure> {
        let (mut response, key) = self.send(StreamMode::Whole).await?;
        let body = read(&mut response, MAX_ANSWER).await?;
        let answer = match self.door.dialect {
            Dialect::OpenAi => openai::parse_answer(&body),
            Dialect::Anthropic | Dialect::AnthropicOnVertex => anthropic::parse_answer(&body),
        };
        answer.map_err(|failure| cleaned(failure, key.as_deref(), &self.request.messages))
    }

    pub(super) async fn stream(&self) -> Result<ModelStream, UpstreamFailure> {
        let plain = &self.door.plain_streams;
        let usage = !plain.load(Ordering::Relaxed);
        let (response, key) = match self.send(StreamMode::Stream { usage }).await {
            // old servers do not know the option; they are not asked for it a second time
            Err(UpstreamFailure::Status { code: 400 | 422, reason, .. })
                if usage && reason.contains("stream_options") =>
            {
                let sent = self.send(StreamMode::Stream { usage: false }).await?;
                plain.store(true, Ordering::Relaxed);
                sent
            }
            other => other?,
        };
        let reader = match self.door.dialect {
            Dialect::OpenAi => Reader::OpenAi(ChatStream::new()),
            Dialect::Anthropic | Dialect::AnthropicOnVertex => Reader::Anthropic(MessageStream::new()),
        };
        let asked: Arc<[ChatMessage]> = self.request.messages.clone().into();
        Ok(events(response, reader, move |failure| cleaned(failure, key.as_deref(), &asked)))
    }

    /// The answer's head, and the key it was asked with.
    async fn send(&self, mode: StreamMode) -> Result<(Reply, Option<String>), UpstreamFailure> {
        let Self { door, request, .. } = self;
        let (to, body) = self.asked(mode);
        let mut headers = door.headers.clone();
        if door.dialect == Dialect::OpenAi {
            pass_on(&mut headers, self.trace);
        }
        let mut key = door.key.as_ref().map(|key| key.expose().to_owned());
        if let Some(tokens) = &door.tokens {
            let token = tokens.get().await?;
            headers.insert(AUTHORIZATION, door::sensitive("Bearer ", token.expose()).ok_or_else(door::bad_key)?);
            key = Some(token.expose().to_owned());
        }
        let mut response = door.client.post(to, headers, body).await.map_err(|error| unreachable(&error))?;
        if response.status().is_success() {
            return Ok((response, key));
        }
        let status = response.status().as_u16();
        if let (401, Some(tokens)) = (status, &door.tokens) {
            tokens.forget().await;
        }
        let retry_after = retry_after(response.headers());
        let body = read(&mut response, MAX_ERROR).await.unwrap_or_default();
        Err(cleaned(parse_error(status, retry_after, &body, &request.messages), key.as_deref(), &request.messages))
    }

    fn asked(&self, mode: StreamMode) -> (&Target, Vec<u8>) {
        let Self { place, door, request, marks, .. } = self;
        let stream = mode != StreamMode::Whole;
        if let (Some(completions), Some(fim)) = (&door.completions, &request.fim) {
            let body = completions_body(request, fim, &door.model, mode, completions.format.as_ref());
            return (&completions.to, body);
        }
        let body = match door.dialect {
            Dialect::OpenAi => chat_body(request, &door.model, mode, &place.capability),
            Dialect::Anthropic => {
                written(&messages_body(request, Flavor::Anthropic(&door.model), stream, *marks), request)
            }
            Dialect::AnthropicOnVertex => written(&messages_body(request, Flavor::Vertex, stream, *marks), request),
        };
        (if stream { &door.stream } else { &door.whole }, body)
    }
}

/// The body as bytes. Nearly all of it is the messages, so that there is room for it from the start.
fn written(body: &Value, request: &ModelRequest) -> Vec<u8> {
    let messages: usize = request.messages.iter().map(|message| message.content.len()).sum();
    let mut bytes = Vec::with_capacity(messages + messages / 4 + 512);
    match serde_json::to_writer(&mut bytes, body) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

/// Tells a server that speaks OpenAI's protocol of the trace.
fn pass_on(headers: &mut HeaderMap, trace: &Passed) {
    for (name, value) in [("traceparent", &trace.parent), ("tracestate", &trace.state)] {
        if let Some(value) = value {
            headers.insert(name, value.clone());
        }
    }
}

/// The reader of a dialect's stream.
pub(super) enum Reader {
    OpenAi(ChatStream),
    /// The one that is no JSON on the wire.
    Bedrock(ConverseStream),
    Anthropic(MessageStream),
}

impl Reader {
    fn push(&mut self, piece: &[u8]) -> Result<Vec<ModelEvent>, UpstreamFailure> {
        match self {
            Self::OpenAi(reader) => reader.push(piece),
            Self::Anthropic(reader) => reader.push(piece),
            Self::Bedrock(reader) => reader.push(piece),
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::OpenAi(reader) => reader.is_done(),
            Self::Anthropic(reader) => reader.is_done(),
            // counts follow the stop
            Self::Bedrock(_) => false,
        }
    }

    fn finish(self) -> Result<Vec<ModelEvent>, UpstreamFailure> {
        match self {
            Self::OpenAi(reader) => reader.finish(),
            Self::Anthropic(reader) => reader.finish(),
            Self::Bedrock(reader) => reader.finish(),
        }
    }
}

pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    parse_retry_after(text("retry-after"), text("retry-after-ms"), jiff::Timestamp::now())
}

/// Reads a body up to `limit` bytes; a longer one is cut for errors and refused for answers by what parses it.
pub(super) async fn read(response: &mut Reply, limit: usize) -> Result<Vec<u8>, UpstreamFailure> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut body = Vec::with_capacity(announced.min(limit).min(MOST_AHEAD));
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > limit {
            return Err(UpstreamFailure::Protocol { reason: format!("more than {limit} bytes") });
        }
    }
    Ok(body)
}

/// The events of an answer. `clean` is what is done to a failure before it is told.
pub(super) fn events(
    response: Reply,
    reader: Reader,
    clean: impl Fn(UpstreamFailure) -> UpstreamFailure + Send + Unpin + 'static,
) -> ModelStream {
    Box::pin(Events { response, reader: Some(reader), ready: Vec::new().into_iter(), clean })
}

struct Events<C> {
    response: Reply,
    /// `None` behind the end.
    reader: Option<Reader>,
    ready: std::vec::IntoIter<ModelEvent>,
    clean: C,
}

impl<C> Events<C> {
    /// What the next piece of the body brings.
    fn take(&mut self, piece: Result<Option<Bytes>, CallError>) -> Result<(), UpstreamFailure> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let ready = match piece {
            Ok(Some(piece)) => reader.push(&piece)?,
            Ok(None) => self.reader.take().map(Reader::finish).transpose()?.unwrap_or_default(),
            Err(error) => return Err(UpstreamFailure::StreamBroken { reason: error.cause() }),
        };
        self.ready = ready.into_iter();
        Ok(())
    }
}

impl<C: Fn(UpstreamFailure) -> UpstreamFailure + Unpin> Stream for Events<C> {
    type Item = Result<ModelEvent, UpstreamFailure>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(event) = this.ready.next() {
                return Poll::Ready(Some(Ok(event)));
            }
            if this.reader.as_ref().is_none_or(Reader::is_done) {
                return Poll::Ready(None);
            }
            let piece = ready!(this.response.poll_chunk(cx));
            if let Err(failure) = this.take(piece) {
                this.reader = None;
                return Poll::Ready(Some(Err((this.clean)(failure))));
            }
        }
    }
}

pub(super) fn unreachable(error: &CallError) -> UpstreamFailure {
    if error.is_builder() {
        // nobody was asked: as a failing server it would count against all models
        door::bad_endpoint()
    } else if error.is_timeout() && !error.is_connect() {
        UpstreamFailure::Timeout
    } else {
        UpstreamFailure::Unavailable { reason: error.cause() }
    }
}
