//! What GitLab is told when a model server failed.
//!
//! The mapping is settled once for every endpoint: a refused request (4xx) is 421, because a 5xx would open GitLab's
//! circuit breaker for all models; 429 keeps its `Retry-After`; 5xx and refused connections are 503; a time-out is 504;
//! what is no answer at all is 502. The connection check is always 421, the only status whose text GitLab shows to the
//! administrator.

use std::time::Duration;

use crate::model::{ChatMessage, UpstreamFailure};

/// Which endpoint answers: the connection check differs from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// `POST /v1/prompts/model_configuration%2Fcheck`.
    ConnectionCheck,
    /// Every other endpoint.
    Feature,
}

/// The HTTP answer for a failed model call: body `{"detail": detail}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureAnswer {
    /// 421, 429, 502, 503 or 504.
    pub status: u16,
    /// Names the model and the cause; for 421 it begins with `<code>: <reason>`.
    pub detail: String,
    /// For the `Retry-After` header, in whole seconds rounded up by [`FailureAnswer::retry_after_seconds`].
    pub retry_after: Option<Duration>,
}

impl FailureAnswer {
    /// The value of the `Retry-After` header, if there is one.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after.map(|d| d.as_secs() + u64::from(d.subsec_nanos() > 0))
    }

    /// The JSON body.
    pub fn body(&self) -> serde_json::Value {
        serde_json::json!({ "detail": self.detail })
    }
}

/// Maps a failed call to the HTTP answer. `model` is the identifier of the request (never an endpoint or a key).
pub fn answer_for(failure: &UpstreamFailure, model: &str, surface: Surface) -> FailureAnswer {
    let (code, reason, retry_after) = code_and_reason(failure);
    let retry_after = retry_after.filter(|d| !d.is_zero());
    if surface == Surface::ConnectionCheck {
        return FailureAnswer { status: 421, detail: format!("{code}: {reason} (model '{model}')"), retry_after };
    }
    let status = match (failure, code) {
        (_, 408 | 504) => 504,
        (_, 429) => 429,
        (UpstreamFailure::Status { .. }, 300..=499) if code != 424 => 421,
        (UpstreamFailure::Protocol { .. } | UpstreamFailure::StreamBroken { .. }, _) => 502,
        _ => 503,
    };
    let detail = match status {
        421 => format!("{code}: {reason} (model '{model}')"),
        429 => format!("Too many requests. Please try again later. Model '{model}' limits the rate."),
        _ => format!("Model '{model}' failed: {reason}"),
    };
    FailureAnswer { status, detail, retry_after }
}

fn code_and_reason(failure: &UpstreamFailure) -> (u16, String, Option<Duration>) {
    match failure {
        UpstreamFailure::Status { code, reason, retry_after } => (*code, reason.clone(), *retry_after),
        UpstreamFailure::Throttled { retry_after } => (429, "Too Many Requests".into(), *retry_after),
        UpstreamFailure::Unavailable { reason } => (503, format!("unavailable: {reason}"), None),
        UpstreamFailure::Timeout => (408, "Request Timeout".into(), None),
        UpstreamFailure::Protocol { reason } => (502, format!("not a model's answer: {reason}"), None),
        UpstreamFailure::StreamBroken { reason } => (502, format!("the stream broke off: {reason}"), None),
    }
}

/// The text for the `error` line of a chat stream: names model and cause.
pub fn chat_message(failure: &UpstreamFailure, model: &str) -> String {
    let text = answer_for(failure, model, Surface::Feature).detail;
    // GitLab selects its "too long" text by these words
    let lower = text.to_ascii_lowercase();
    let too_long = ["maximum context length", "context window", "context_length_exceeded", "input is too long"];
    if too_long.iter().any(|words| lower.contains(words)) { format!("prompt is too long: {text}") } else { text }
}

/// Whether asking again may help; the `retryable` of a chat `error` line. GitLab then repeats twice at once.
pub fn is_retryable(failure: &UpstreamFailure) -> bool {
    match failure {
        UpstreamFailure::Status { code, .. } => matches!(code, 408 | 424 | 500..),
        UpstreamFailure::Throttled { .. } => false,
        UpstreamFailure::Unavailable { .. } | UpstreamFailure::StreamBroken { .. } => true,
        UpstreamFailure::Timeout | UpstreamFailure::Protocol { .. } => false,
    }
}

/// The standard phrase of a status, for servers that give no reason.
pub fn phrase(code: u16) -> &'static str {
    match code {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        413 => "Payload Too Large",
        422 => "Unprocessable Entity",
        424 => "Failed Dependency",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        529 => "Overloaded",
        _ if code < 400 => "Redirect",
        _ if code < 500 => "Client Error",
        _ => "Server Error",
    }
}

/// Longest reason that is passed on, in characters.
const REASON_LIMIT: usize = 300;
/// This many characters in a row that also stand in the request count as the request's text.
const ECHO: usize = 24;

/// Makes a server's words fit to be shown: one line, at most 300 characters, no keys, no addresses or paths, nothing
/// that repeats 24 or more characters of what was asked. Servers echo all of these in their errors.
pub fn scrub(reason: &str, asked: &[ChatMessage]) -> String {
    let one_line: String = reason
        .chars()
        .take(4 * REASON_LIMIT)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .split_whitespace()
        .map(scrub_word)
        .collect::<Vec<_>>()
        .join(" ");
    let clean = without_echo(&one_line, asked);
    let mut out: String = clean.chars().take(REASON_LIMIT).collect();
    if clean.chars().count() > REASON_LIMIT {
        out.push('…');
    }
    out
}

/// A key shorter than this is not looked for: it would be found in ordinary words.
const SHORTEST_KEY: usize = 4;

/// The failure with what its reason repeats of the call's own key and conversation taken out. Servers do so in answers
/// of every kind, an error object under a 200 or inside a stream among them, and a key need not look like one.
pub fn cleaned(failure: UpstreamFailure, key: Option<&str>, asked: &[ChatMessage]) -> UpstreamFailure {
    let clean = |reason: String| {
        let reason = match key.filter(|key| key.len() >= SHORTEST_KEY) {
            Some(key) => reason.replace(key, "[redacted]"),
            None => reason,
        };
        without_echo(&reason, asked)
    };
    match failure {
        UpstreamFailure::Status { code, reason, retry_after } => {
            UpstreamFailure::Status { code, reason: clean(reason), retry_after }
        }
        UpstreamFailure::Unavailable { reason } => UpstreamFailure::Unavailable { reason: clean(reason) },
        UpstreamFailure::Protocol { reason } => UpstreamFailure::Protocol { reason: clean(reason) },
        UpstreamFailure::StreamBroken { reason } => UpstreamFailure::StreamBroken { reason: clean(reason) },
        failure @ (UpstreamFailure::Throttled { .. } | UpstreamFailure::Timeout) => failure,
    }
}

/// How keys begin: OpenAI and its like, AWS, Bedrock's bearer keys, JSON web tokens, GitLab, Slack,
/// Google.
const KEY_STARTS: [&str; 11] =
    ["sk-", "sk_", "AKIA", "ASIA", "ABSK", "bedrock-api-key-", "eyJ", "glpat-", "xox", "ya29", "AIza"];

fn scrub_word(word: &str) -> &str {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/');
    let key_like = |part: &str| KEY_STARTS.iter().any(|start| part.len() > start.len() && part.starts_with(start));
    let random = bare.len() >= 20
        && !bare.contains('.')
        && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_+/=*".contains(&b))
        && bare.bytes().any(|b| b.is_ascii_digit())
        && bare.bytes().any(|b| b.is_ascii_uppercase())
        && bare.bytes().any(|b| b.is_ascii_lowercase());
    if random || bare.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_').any(key_like) {
        "[redacted]"
    } else if bare.contains("://") {
        "[address]"
    } else if bare.starts_with('/') && bare.matches('/').count() >= 2 {
        "[path]"
    } else {
        word
    }
}

fn without_echo(reason: &str, asked: &[ChatMessage]) -> String {
    // the reason was folded to single blanks, so the question is, too
    let asked: Vec<String> = asked.iter().map(|m| m.content.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let repeats = |window: &[char]| {
        let window: String = window.iter().collect();
        asked.iter().any(|text| text.contains(&window))
    };
    let chars: Vec<char> = reason.chars().collect();
    let mut out = String::with_capacity(reason.len());
    let mut at = 0;
    while at < chars.len() {
        if at + ECHO <= chars.len() && repeats(&chars[at..at + ECHO]) {
            out.push_str("[…]");
            at += ECHO;
            while at < chars.len() && repeats(&chars[at + 1 - ECHO..=at]) {
                at += 1;
            }
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}
