//! Error bodies and `Retry-After`.

use std::time::Duration;

use serde_json::Value;

use crate::failure::{phrase, scrub};
use crate::model::{ChatMessage, UpstreamFailure};

/// A wait longer than this is not believed.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Reads an answer with an error status. `asked` is the request's conversation: what the server repeats of it is cut
/// from the reason. Forms: `{"error":{"message","type","code"}}` (OpenAI, Azure), `{"error":"…"}`,
/// `{"message":…,"code":…}` (vLLM before 0.10), `{"detail":…}` (FastAPI); anything else gives the status' phrase.
pub fn parse_error(status: u16, retry_after: Option<Duration>, body: &[u8], asked: &[ChatMessage]) -> UpstreamFailure {
    match status {
        429 => return UpstreamFailure::Throttled { retry_after },
        408 | 504 => return UpstreamFailure::Timeout,
        _ => {}
    }
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let words = value.as_ref().and_then(words).map(|(message, code)| reason(status, &message, code.as_deref(), asked));
    let reason = match words {
        Some(words) => words,
        None if body.trim_ascii_start().first() == Some(&b'<') => format!("{} (HTML page)", phrase(status)),
        None => phrase(status).to_owned(),
    };
    UpstreamFailure::Status { code: status, reason, retry_after }
}

fn reason(status: u16, message: &str, code: Option<&str>, asked: &[ChatMessage]) -> String {
    let message = scrub(message, asked);
    let code = code.map(|code| scrub(code, asked)).filter(|code| !code.is_empty() && !message.contains(code.as_str()));
    // key faults: servers repeat the key in words of their own, so say it in ours
    if status == 401 {
        return format!("{}: the model server refused the API key", phrase(status));
    }
    let mut out = phrase(status).to_owned();
    if !message.is_empty() && message != out {
        out.push_str(": ");
        out.push_str(&message);
    }
    if let Some(code) = code {
        out.push_str(&format!(" ({code})"));
    }
    out
}

/// An error object in a place where an answer was due (HTTP 200, or inside a stream).
pub(super) fn error_object(value: &Value, asked: &[ChatMessage]) -> Option<UpstreamFailure> {
    value
        .get("error")
        .filter(|error| !error.is_null())
        .or_else(|| (value.get("object").and_then(Value::as_str) == Some("error")).then_some(value))?;
    let (message, code) = words(value)?;
    let number = value.pointer("/error/code").or_else(|| value.get("code")).and_then(Value::as_u64);
    let kind = value.pointer("/error/type").and_then(Value::as_str).unwrap_or_default();
    let status = match number.and_then(|n| u16::try_from(n).ok()).filter(|n| (400..600).contains(n)) {
        Some(status) => status,
        None if kind.contains("rate_limit") || code.as_deref().is_some_and(|c| c.contains("rate_limit")) => 429,
        None if kind.contains("invalid_request") => 400,
        None => 500,
    };
    if status == 429 {
        return Some(UpstreamFailure::Throttled { retry_after: None });
    }
    let reason = reason(status, &message, code.as_deref(), asked);
    Some(UpstreamFailure::Status { code: status, reason, retry_after: None })
}

/// Message and textual code of the known forms.
fn words(value: &Value) -> Option<(String, Option<String>)> {
    let text = |v: Option<&Value>| v.and_then(Value::as_str).map(str::to_owned);
    match value.get("error") {
        Some(Value::String(message)) => return Some((message.clone(), None)),
        Some(Value::Object(error)) => {
            let code = text(error.get("code")).or_else(|| text(error.get("type")));
            return Some((text(error.get("message")).unwrap_or_default(), code));
        }
        _ => {}
    }
    if let Some(message) = text(value.get("message")) {
        return Some((message, text(value.get("type"))));
    }
    match value.get("detail")? {
        Value::String(message) => Some((message.clone(), None)),
        // FastAPI's list repeats the input: take the messages only
        Value::Array(items) => {
            let messages: Vec<String> = items.iter().filter_map(|item| text(item.get("msg"))).take(3).collect();
            Some((messages.join("; "), None))
        }
        _ => None,
    }
}

/// The wait a server asks for: `retry-after-ms` (Azure) before `retry-after`, which holds seconds or an HTTP date.
/// `now` is needed for the date. At most one hour is believed; nonsense is `None`.
pub fn parse_retry_after(
    retry_after: Option<&str>,
    retry_after_ms: Option<&str>,
    now: jiff::Timestamp,
) -> Option<Duration> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    let wait = if let Some(ms) = retry_after_ms.and_then(number) {
        Duration::try_from_secs_f64(ms / 1000.0).ok()
    } else {
        let text = retry_after?;
        match number(text) {
            Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            None => {
                let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
                Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
            }
        }
    };
    wait.map(|wait| wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, body: &str) -> String {
        match parse_error(code, None, body.as_bytes(), &[ChatMessage::user("def secret_function_of_the_user():")]) {
            UpstreamFailure::Status { reason, .. } => reason,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_known_error_forms_give_their_message() {
        let table = [
            (
                400,
                r#"{"error":{"message":"bad stop","type":"invalid_request_error","code":"x"}}"#,
                "Bad Request: bad stop (x)",
            ),
            (
                404,
                r#"{"object":"error","message":"The model `m` does not exist.","type":"NotFoundError","code":404}"#,
                "Not Found: The model `m` does not exist. (NotFoundError)",
            ),
            (
                400,
                r#"{"error":{"code":"content_filter","message":"filtered","status":400}}"#,
                "Bad Request: filtered (content_filter)",
            ),
            (
                422,
                r#"{"detail":[{"msg":"field required","input":"def secret"}]}"#,
                "Unprocessable Entity: field required",
            ),
            (500, r#"{"error":"boom"}"#, "Internal Server Error: boom"),
            (404, r#"{"detail":"Not Found"}"#, "Not Found"),
            (502, "<html><h1>Bad Gateway</h1>", "Bad Gateway (HTML page)"),
            (503, "{\"half", "Service Unavailable"),
            (429, "", "Throttled { retry_after: None }"),
        ];
        for (code, body, wanted) in table {
            assert_eq!(status(code, body), wanted);
        }
    }

    #[test]
    fn trap_a_refused_key_is_not_repeated() {
        let reason = status(401, r#"{"error":{"message":"Incorrect API key provided: abcd****wxyz."}}"#);
        assert_eq!(reason, "Unauthorized: the model server refused the API key");
    }

    #[test]
    fn what_the_server_repeats_of_the_question_is_cut() {
        let reason = status(
            400,
            r#"{"error":{"message":"cannot parse 'def secret_function_of_the_user():' at /opt/vllm/x/y.py"}}"#,
        );
        assert!(!reason.contains("secret_function") && !reason.contains("/opt"), "{reason}");
    }

    #[test]
    fn retry_after_in_all_forms() {
        let now: jiff::Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let table = [
            (Some("7"), None, Some(7_000)),
            (Some("7"), Some("250"), Some(250)),
            (Some("Mon, 23 Nov 2026 10:00:30 GMT"), None, Some(30_000)),
            (Some("Mon, 23 Nov 2026 09:00:30 GMT"), None, Some(0)),
            (Some("86400"), None, Some(3_600_000)),
            (Some("-1"), None, None),
            (Some("soon"), None, None),
            (Some("nan"), None, None),
            (None, None, None),
        ];
        for (text, ms, wanted) in table {
            assert_eq!(parse_retry_after(text, ms, now), wanted.map(Duration::from_millis), "{text:?} {ms:?}");
        }
    }
}
