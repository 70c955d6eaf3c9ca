//! Faults that every kind of server can have.

use serde_json::json;

use super::{Broken, KEY, Row, Status, Wait, row};
use crate::support::Step;
use crate::support::raw::{begin, chunk, whole};

pub const JSON: &str = "application/json";
pub const SSE: &str = "text/event-stream";

/// More than any answer, error or event may have; less than what the largest body that is read to its end has.
const LARGE: usize = 10 << 20;

/// Steps that make each of these a chunk that comes for itself.
pub fn chunks<'a>(kind: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Step> {
    std::iter::once(begin(kind)).chain(pieces.into_iter().map(|piece| Step::Later(chunk(piece)))).collect()
}

pub fn with(mut steps: Vec<Step>, more: impl IntoIterator<Item = Step>) -> Vec<Step> {
    steps.extend(more);
    steps
}

/// An answer with a status, more headers, and a body of a declared length.
fn status(code: u16, headers: &str, kind: &str, body: &[u8]) -> Vec<Step> {
    let head = format!(
        "HTTP/1.1 {code} Words of its own\r\ncontent-type: {kind}\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    vec![Step::Say([head.as_bytes(), body].concat().into())]
}

/// A refusal that repeats the key, in the words that most servers use.
fn refusal(code: u16) -> Vec<Step> {
    let body = json!({
        "error": {"type": "some_error", "message": format!("no good: {KEY}"), "code": code},
        "message": format!("no good: {KEY}"),
    });
    status(code, "", JSON, body.to_string().as_bytes())
}

/// What the connection check says of each.
pub fn checks() -> Vec<(Vec<Step>, &'static str)> {
    vec![
        (refusal(400), "400: "),
        (refusal(401), "401: "),
        (refusal(404), "404: "),
        (status(429, "retry-after: 7\r\n", JSON, b"{}"), "429: "),
        (refusal(500), "500: "),
        (vec![whole("text/html", b"<html>Sign in</html>")], "502: "),
        (vec![Step::Reset], "503: "),
    ]
}

/// Answers with an error's status.
pub fn statuses() -> Vec<Row> {
    let page = b"<!doctype html><title>Bad gateway</title>";
    let long = json!({"error": {"message": "x ".repeat(LARGE / 2)}, "message": "x"}).to_string();
    vec![
        row("400", None, refusal(400), Status(421, "400: Bad Request")),
        row("401", None, refusal(401), Status(421, "401: Unauthorized")),
        row("403", None, refusal(403), Status(421, "403: Forbidden")),
        row("404", None, refusal(404), Status(421, "404: Not Found")),
        row("429", None, status(429, "retry-after: 7\r\n", JSON, b"{}"), Wait("7")),
        row("429, with a page", None, status(429, "retry-after: 9\r\n", "text/html", page), Wait("9")),
        row("500", None, refusal(500), Status(503, "Internal Server Error")),
        row("502 of a proxy", None, status(502, "", "text/html", page), Status(503, "Bad Gateway")),
        row("503", None, refusal(503), Status(503, "Service Unavailable")),
        row("504", None, refusal(504), Status(504, "Request Timeout")),
        row("sent elsewhere", None, status(302, "location: http://127.0.0.1:1/\r\n", JSON, b""), Status(421, "302: ")),
        row("a page for a 404", None, status(404, "", "text/html", page), Status(421, "404: Not Found")),
        row("half an error", None, status(400, "", JSON, b"{\"error\": {\"mess"), Status(421, "400: Bad Request")),
        row("10 MB of an error", None, status(400, "", JSON, long.as_bytes()), Status(421, "400: Bad Request")),
    ]
}

/// Faults that only time brings to light: before the first piece and after it.
pub fn stalls(begun: Vec<Step>, word: &[u8]) -> Vec<Row> {
    let mut rows = silences();
    rows.push(row("stalled", Some(true), with(begun.clone(), [Step::Hang]), Broken));
    rows.push(row("never at its end", Some(true), with(begun, [Step::Drip(chunk(word))]), Broken));
    rows
}

/// Those of a server that has not begun its answer.
pub fn silences() -> Vec<Row> {
    vec![
        row("silent", None, vec![Step::Hang], Status(504, "Request Timeout")),
        row("a head and then silence", None, vec![begin(JSON), Step::Hang], Status(504, "Request Timeout")),
    ]
}

/// Faults on HTTP's own level. `part` stands in the detail of a connection that fails, `no_answer` in that of a whole
/// answer that is none.
pub fn transport(part: &'static str, no_answer: &'static str) -> Vec<Row> {
    let page = || b"<!doctype html><title>Sign in</title>".to_vec();
    vec![
        row("closed without a word", None, vec![], Status(503, part)),
        row("reset", None, vec![Step::Reset], Status(503, part)),
        row("half a head", None, vec![Step::Say("HTTP/1.1 200 OK\r\ncont".into())], Status(503, part)),
        row("not HTTP", None, vec![Step::Say("SSH-2.0-OpenSSH_9.6\r\n".into())], Status(503, part)),
        row(
            "a head without end",
            None,
            vec![Step::Say("HTTP/1.1 200 OK\r\n".into()), Step::Endless("x: y\r\n".repeat(1000).into())],
            Status(503, part),
        ),
        row("a page", None, vec![whole("text/html", &page())], Status(502, "")),
        row("a page as JSON", Some(false), vec![whole(JSON, &page())], Status(502, no_answer)),
        row("10 MB of a page", None, vec![whole("text/html", &[page(), vec![b' '; LARGE]].concat())], Status(502, "")),
        row("nothing", Some(false), vec![whole(JSON, b"")], Status(502, no_answer)),
        row("a list", Some(false), vec![whole(JSON, b"[1]")], Status(502, no_answer)),
        row("an empty object", Some(false), vec![whole(JSON, b"{}")], Status(502, no_answer)),
        row("not UTF-8", Some(false), vec![whole(JSON, b"{\"choices\": \"\xff\xfe\"}")], Status(502, no_answer)),
        row(
            "an answer without end",
            Some(false),
            vec![begin(JSON), Step::Endless(chunk(&[b' '; 1 << 16]))],
            Status(502, no_answer),
        ),
    ]
}
