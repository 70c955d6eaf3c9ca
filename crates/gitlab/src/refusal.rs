//! What is to be read from an answer that is none, and from a connection that failed: GitLab's words, its `Retry-After`, the
//! innermost cause.

use std::error::Error as StdError;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use url::Url;

/// Longest wait that a `Retry-After` can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The chain of causes, without URLs: proxies' URLs may carry passwords.
pub(crate) struct Causes {
    pub(crate) text: String,
    pub(crate) tls: bool,
}

impl Causes {
    pub(crate) fn of(error: &reqwest::Error) -> Self {
        let mut innermost = String::new();
        let mut tls = false;
        let mut current: Option<&(dyn StdError + 'static)> = error.source();
        while let Some(cause) = current {
            innermost = cause.to_string();
            tls |= cause.is::<rustls::Error>();
            // an io::Error shows its inner error in get_ref() only; its source() is already the one after that
            let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            current = match inner {
                Some(inner) => Some(inner),
                None => cause.source(),
            };
        }
        if innermost.is_empty() {
            innermost = "connection failed".into();
        }
        Self { text: innermost, tls }
    }
}

pub(crate) fn is_html(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("text/html"))
}

pub(crate) fn redirect_target(from: &Url, headers: &HeaderMap) -> String {
    headers
        .get(header::LOCATION)
        .and_then(|v| v.to_str().ok())
        .and_then(|location| from.join(location).ok())
        .map_or_else(|| "an address it does not name".into(), |url| url.origin().ascii_serialization())
}

/// `Retry-After` is a number of seconds or an HTTP date (RFC 9110).
pub(crate) fn retry_after(headers: &HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
            Duration::from_secs(u64::try_from(at.as_second() - now.as_second()).unwrap_or(0))
        }
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// GitLab's words out of an error body: GraphQL `errors[].message`, REST `message` or `error` (+ description).
pub(crate) fn error_words(body: &[u8], html: bool, status: StatusCode) -> String {
    let reason = || status.canonical_reason().unwrap_or("no reason given").to_owned();
    if html {
        return format!("{} (an HTML page)", reason());
    }
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else {
        return reason();
    };
    let text = |v: &serde_json::Value| v.as_str().map(str::to_owned);
    if let Some(errors) = json.get("errors").and_then(|e| e.as_array()) {
        let all: Vec<_> = errors.iter().filter_map(|e| e.get("message").and_then(text)).collect();
        if !all.is_empty() {
            return all.join("; ");
        }
    }
    let error = json.get("error").and_then(text);
    let description = json.get("error_description").or(json.get("message")).and_then(text);
    match (error, description) {
        (Some(e), Some(d)) => format!("{e}: {d}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => reason(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_and_never_more_than_an_hour() {
        let now: jiff::Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let cases = [
            ("17", Some(17)),
            (" 17 ", Some(17)),
            ("Sun, 22 Nov 2026 10:00:30 GMT", Some(30)),
            ("Sun, 22 Nov 2026 09:00:00 GMT", Some(0)),
            ("999999", Some(3600)),
            ("soon", None),
            ("-5", None),
        ];
        for (value, seconds) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn error_bodies_of_graphql_rest_and_oauth_give_their_words() {
        let status = StatusCode::UNAUTHORIZED;
        for (body, words) in [
            (r#"{"errors":[{"message":"Invalid token"}]}"#, "Invalid token"),
            (r#"{"message":"401 Unauthorized"}"#, "401 Unauthorized"),
            (r#"{"error":"insufficient_scope","error_description":"needs api"}"#, "insufficient_scope: needs api"),
            ("gibberish", "Unauthorized"),
        ] {
            assert_eq!(error_words(body.as_bytes(), false, status), words);
        }
        assert_eq!(error_words(b"<html>", true, status), "Unauthorized (an HTML page)");
    }
}
