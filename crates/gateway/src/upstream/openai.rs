//! OpenAI-compatible servers and Azure OpenAI over HTTP. The wire format itself is `duo_protocol::openai`.

use std::sync::Arc;
use std::time::Duration;

use duo_protocol::failure::cleaned;
use duo_protocol::identifier::Provider;
use duo_protocol::model::{ChatMessage, ModelAnswer, ModelEvent, ModelRequest, UpstreamFailure};
use duo_protocol::openai::{ChatStream, StreamMode, chat_body, parse_answer, parse_error, parse_retry_after};
use futures::{TryStreamExt, stream};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::{ModelStream, Place, cause};
use crate::secret::Secret;

/// A whole answer of more bytes is not one.
const MAX_ANSWER: usize = 16 << 20;
/// Of an error body no more is read.
const MAX_ERROR: usize = 64 << 10;
/// What servers take for "no key"; some refuse a call without any.
const NO_KEY: &str = "dummy_key";

pub(super) async fn complete(place: &Place, request: &ModelRequest) -> Result<ModelAnswer, UpstreamFailure> {
    let mut response = send(place, request, StreamMode::Whole).await?;
    let body = read(&mut response, MAX_ANSWER).await?;
    parse_answer(&body).map_err(|failure| cleaned(failure, key_of(place), &request.messages))
}

pub(super) async fn stream(place: &Place, request: &ModelRequest) -> Result<ModelStream, UpstreamFailure> {
    let response = match send(place, request, StreamMode::Stream { usage: true }).await {
        // old servers do not know the option
        Err(UpstreamFailure::Status { code: 400 | 422, reason, .. }) if reason.contains("stream_options") => {
            send(place, request, StreamMode::Stream { usage: false }).await?
        }
        other => other?,
    };
    Ok(events(response, key_of(place).map(str::to_owned), request.messages.clone().into()))
}

async fn send(place: &Place, request: &ModelRequest, mode: StreamMode) -> Result<reqwest::Response, UpstreamFailure> {
    let azure = place.identifier.provider == Provider::Azure;
    let url = url(place.endpoint.as_deref().unwrap_or_default(), azure);
    let body = chat_body(request, place.model(), mode, &place.capability);
    let key = key_of(place).unwrap_or(NO_KEY);
    let mut builder = place.http.post(url).json(&body);
    for (name, value) in &place.clients.common.extra_headers {
        builder = builder.header(name, value);
    }
    builder = if azure {
        builder.header(HeaderName::from_static("api-key"), sensitive("", key))
    } else {
        builder.header(AUTHORIZATION, sensitive("Bearer ", key))
    };
    let mut response = builder.send().await.map_err(|error| unreachable(&error))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    let body = read(&mut response, MAX_ERROR).await.unwrap_or_default();
    Err(cleaned(parse_error(status, retry_after, &body, &request.messages), key_of(place), &request.messages))
}

fn key_of(place: &Place) -> Option<&str> {
    place.api_key.as_ref().map(Secret::expose)
}

/// GitLab's documentation asks for the `/v1` in the endpoint; Azure's API without a version is at `/openai/v1`.
fn url(endpoint: &str, azure: bool) -> String {
    let base = endpoint.trim_end_matches('/');
    if azure && !base.ends_with("/openai/v1") {
        format!("{base}/openai/v1/chat/completions")
    } else {
        format!("{base}/chat/completions")
    }
}

/// A key that HTTP does not allow is sent as none; the server's 401 says the rest.
fn sensitive(scheme: &str, key: &str) -> http::HeaderValue {
    let mut value = http::HeaderValue::from_str(&format!("{scheme}{key}"))
        .unwrap_or_else(|_| http::HeaderValue::from_static(NO_KEY));
    value.set_sensitive(true);
    value
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    parse_retry_after(text("retry-after"), text("retry-after-ms"), jiff::Timestamp::now())
}

/// Reads a body up to `limit` bytes; a longer one is cut for errors and refused for answers by what parses it.
async fn read(response: &mut reqwest::Response, limit: usize) -> Result<Vec<u8>, UpstreamFailure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > limit {
            return Err(UpstreamFailure::Protocol { reason: format!("more than {limit} bytes") });
        }
    }
    Ok(body)
}

fn events(response: reqwest::Response, key: Option<String>, asked: Arc<[ChatMessage]>) -> ModelStream {
    struct State {
        response: reqwest::Response,
        reader: Option<ChatStream>,
        ready: std::collections::VecDeque<ModelEvent>,
    }
    let state = State { response, reader: Some(ChatStream::new()), ready: std::collections::VecDeque::new() };
    let clean = move |failure| cleaned(failure, key.as_deref(), &asked);
    let events = stream::try_unfold(state, |mut state| async move {
        loop {
            if let Some(event) = state.ready.pop_front() {
                return Ok(Some((event, state)));
            }
            let Some(reader) = &mut state.reader else { return Ok(None) };
            if reader.is_done() {
                return Ok(None);
            }
            match state.response.chunk().await {
                Ok(Some(chunk)) => state.ready.extend(reader.push(&chunk)?),
                Ok(None) => {
                    if let Some(reader) = state.reader.take() {
                        state.ready.extend(reader.finish()?);
                    }
                }
                Err(error) => return Err(UpstreamFailure::StreamBroken { reason: cause(&error) }),
            }
        }
    });
    Box::pin(events.map_err(clean))
}

fn unreachable(error: &reqwest::Error) -> UpstreamFailure {
    if error.is_builder() {
        // nobody was asked: as a failing server it would count against all models
        let reason = "Bad Request: the endpoint is not a URL that can be called".to_owned();
        UpstreamFailure::Status { code: 400, reason, retry_after: None }
    } else if error.is_timeout() && !error.is_connect() {
        UpstreamFailure::Timeout
    } else {
        UpstreamFailure::Unavailable { reason: cause(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_per_kind() {
        for (endpoint, azure, expected) in [
            ("http://vllm:8000/v1", false, "http://vllm:8000/v1/chat/completions"),
            ("http://vllm:8000/v1/", false, "http://vllm:8000/v1/chat/completions"),
            ("https://x.openai.azure.com", true, "https://x.openai.azure.com/openai/v1/chat/completions"),
            ("https://x.openai.azure.com/openai/v1/", true, "https://x.openai.azure.com/openai/v1/chat/completions"),
        ] {
            assert_eq!(url(endpoint, azure), expected);
        }
    }
}
