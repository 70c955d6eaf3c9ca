//! Refusals: answers with an error status, and exceptions inside a stream.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::failure::{phrase, scrub};
use crate::model::{ChatMessage, UpstreamFailure};

/// A 2xx that is none of Bedrock's answers.
pub fn not_bedrocks() -> UpstreamFailure {
    UpstreamFailure::Protocol { reason: "an answer that is not Bedrock's; check the endpoint".to_owned() }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    code: Option<Value>,
    #[serde(rename = "__type")]
    kind: Option<Value>,
    message: Option<Value>,
    #[serde(rename = "Message")]
    capital: Option<Value>,
    #[serde(rename = "errorMessage")]
    other: Option<Value>,
}

/// Reads an error's body. `kind` is what was said of its kind in front of it: the header `x-amzn-errortype`, or a
/// stream's `:exception-type`. What the server repeats of `asked` is cut from the reason.
pub fn parse_error(
    status: u16,
    kind: Option<&str>,
    retry_after: Option<Duration>,
    body: &[u8],
    asked: &[ChatMessage],
) -> UpstreamFailure {
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Option<Value>| value.as_ref().and_then(Value::as_str).map(str::to_owned);
    let code = kind.map(str::to_owned).or_else(|| text(&body.code)).or_else(|| text(&body.kind));
    let code = code.as_deref().map(bare);
    match status {
        429 => return UpstreamFailure::Throttled { retry_after },
        408 | 504 => return UpstreamFailure::Timeout,
        // a quota that is used up is one that comes back
        _ if code == Some("ServiceQuotaExceededException") => return UpstreamFailure::Throttled { retry_after },
        _ => {}
    }
    let message = [&body.message, &body.capital, &body.other].into_iter().find_map(text);
    let mut reason = phrase(status).to_owned();
    for text in [code, message.as_deref()].into_iter().flatten().filter(|text| !text.is_empty()) {
        reason.push_str(": ");
        reason.push_str(&scrub(text, asked));
    }
    UpstreamFailure::Status { code: status, reason, retry_after }
}

/// AWS puts a namespace in front of the name of an error and an address behind it.
fn bare(code: &str) -> &str {
    let code = code.split_once(':').map_or(code, |(code, _)| code);
    code.split_once('#').map_or(code, |(_, code)| code)
}

/// The status that an exception inside a stream stands for.
pub(super) fn status_of(exception: &str) -> u16 {
    match exception {
        "modelStreamErrorException" => 424,
        "validationException" => 400,
        "throttlingException" => 429,
        "serviceUnavailableException" => 503,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_told_without_namespace_and_address_wherever_it_stands() {
        let forms: [(Option<&str>, &str); 5] = [
            (Some("FooException:http://internal.amazon.com/coral/"), r#"{"message": "words"}"#),
            (None, r#"{"__type": "com.amazon#FooException", "Message": "words"}"#),
            (None, r#"{"code": "FooException", "__type": "Other", "errorMessage": "words"}"#),
            (Some("FooException"), r#"{"__type": "Other", "message": "words", "more": [{}]}"#),
            (None, r#"{"code": "FooException:x", "message": "words"}"#),
        ];
        for (kind, body) in forms {
            let failure = parse_error(400, kind, None, body.as_bytes(), &[]);
            let reason = "Bad Request: FooException: words".to_owned();
            assert_eq!(failure, UpstreamFailure::Status { code: 400, reason, retry_after: None }, "{body}");
        }
    }

    #[test]
    fn what_can_be_asked_again_is_no_refusal_and_pages_give_the_phrase() {
        let wait = Some(Duration::from_secs(3));
        let quota = parse_error(400, Some("ServiceQuotaExceededException"), wait, b"{}", &[]);
        assert_eq!(quota, UpstreamFailure::Throttled { retry_after: wait });
        assert_eq!(parse_error(429, None, None, b"", &[]), UpstreamFailure::Throttled { retry_after: None });
        assert_eq!(parse_error(408, None, None, b"{}", &[]), UpstreamFailure::Timeout);
        for body in ["<html>", "[1]", r#"{"message": 7}"#, ""] {
            let failure = parse_error(502, None, None, body.as_bytes(), &[]);
            let reason = "Bad Gateway".to_owned();
            assert_eq!(failure, UpstreamFailure::Status { code: 502, reason, retry_after: None }, "{body}");
        }
    }
}
