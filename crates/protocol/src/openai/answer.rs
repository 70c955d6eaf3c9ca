//! Whole answers.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use crate::model::{ModelAnswer, StopReason, UpstreamFailure, Usage};

#[derive(serde::Deserialize)]
struct Answer {
    choices: Option<Vec<Choice>>,
    usage: Option<UsageCounts>,
}

#[derive(serde::Deserialize)]
struct Choice {
    message: Option<Message>,
    // of the completions API
    text: Option<String>,
    finish_reason: Option<String>,
}

#[derive(serde::Deserialize)]
struct Message {
    content: Option<Content>,
}

/// `content` of a message: a string, or a list of parts.
pub(super) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// Read without the detour over a tree of values that an untagged `enum` takes: each chunk of a stream has one.
impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of parts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Content, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(parts)).map(Content::Parts)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[derive(serde::Deserialize)]
pub(super) struct Part {
    text: Option<String>,
}

impl Content {
    pub(super) fn into_text(self) -> String {
        match self {
            Content::Text(text) => text,
            Content::Parts(parts) => parts.into_iter().filter_map(|part| part.text).collect(),
        }
    }
}

#[derive(serde::Deserialize)]
pub(super) struct UsageCounts {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(serde::Deserialize)]
pub(super) struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

impl UsageCounts {
    pub(super) fn usage(&self) -> Usage {
        Usage {
            input_tokens: self.prompt_tokens.unwrap_or_default(),
            output_tokens: self.completion_tokens.unwrap_or_default(),
            cache_read_tokens: self.prompt_tokens_details.as_ref().and_then(|d| d.cached_tokens).unwrap_or_default(),
            cache_write_tokens: 0,
        }
    }
}

/// Reads the body of a 2xx answer to a request without a stream.
///
/// # Errors
/// [`UpstreamFailure::Protocol`] for HTML, half a JSON, or JSON without a choice; [`UpstreamFailure::Status`] for an
/// error object under a 200.
pub fn parse_answer(body: &[u8]) -> Result<ModelAnswer, UpstreamFailure> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| UpstreamFailure::Protocol { reason: describe(body) })?;
    let Some(choice) = answer.choices.and_then(|choices| choices.into_iter().next()) else {
        if let Ok(value) = serde_json::from_slice::<serde_json::Value>(body)
            && let Some(failure) = super::error::error_object(&value, &[])
        {
            return Err(failure);
        }
        return Err(UpstreamFailure::Protocol { reason: "the answer has no choices".into() });
    };
    Ok(ModelAnswer {
        text: choice.message.and_then(|m| m.content).map(Content::into_text).or(choice.text).unwrap_or_default(),
        stop: choice.finish_reason.as_deref().map_or(StopReason::EndTurn, StopReason::from_openai),
        usage: answer.usage.map(|u| u.usage()),
    })
}

/// What a body that is no JSON answer looks like, without quoting it.
pub(crate) fn describe(body: &[u8]) -> String {
    let start = body.trim_ascii_start();
    match start.first() {
        None => "an empty body".into(),
        Some(b'<') => "HTML or XML instead of JSON; check the endpoint, it usually ends in /v1".into(),
        Some(b'{' | b'[') => "broken or unexpected JSON".into(),
        Some(_) => "text instead of JSON".into(),
    }
}
