//! One line, written straight into a buffer: JSON with the field names of GitLab's own gateway, or text for people.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::SystemTime;

use serde::Serialize;

/// Fields in the form in which they stand in a line: each begins with its separator, so that parts that were written
/// at different times are simply put one behind the other.
#[derive(Clone, Debug)]
pub struct Fields {
    text: Vec<u8>,
    json: bool,
}

impl Fields {
    /// No fields yet.
    pub fn new(json: bool, capacity: usize) -> Self {
        Self { text: Vec::with_capacity(capacity), json }
    }

    /// Adds a field; one that is null is left out.
    pub fn add(&mut self, name: &str, value: impl Serialize) {
        let start = self.text.len();
        if self.json {
            self.text.extend_from_slice(b",\"");
            // names are ours, plain ASCII
            self.text.extend_from_slice(name.as_bytes());
            self.text.extend_from_slice(b"\":");
        } else {
            self.text.push(b' ');
            self.text.extend_from_slice(name.as_bytes());
            self.text.push(b'=');
        }
        let value_start = self.text.len();
        // fails for maps whose keys are no text only, and leaves no half a value behind
        if serde_json::to_writer(&mut self.text, &value).is_err() || self.text.get(value_start..) == Some(b"null") {
            self.text.truncate(start);
        }
    }

    /// Adds a field of digits and a point, exactly so.
    pub fn add_number(&mut self, name: &str, digits: &str) {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if plain {
            self.add(name, 0);
            self.text.truncate(self.text.len() - 1);
            self.text.extend_from_slice(digits.as_bytes());
        }
    }

    /// Puts others behind.
    pub fn append(&mut self, others: &Self) {
        self.text.extend_from_slice(&others.text);
    }

    /// Where the next field begins.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Takes a part out again: `from` to `to`, both what [`Fields::len`] was between two fields.
    pub fn remove(&mut self, from: usize, to: usize) {
        if from <= to && to <= self.text.len() {
            self.text.drain(from..to);
        }
    }

    /// A copy of a part, as [`Fields::remove`] takes one out.
    pub fn part(&self, from: usize, to: usize) -> Self {
        Self { text: self.text.get(from..to).unwrap_or_default().to_vec(), json: self.json }
    }
}

/// What every line begins with.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Its level.
    pub level: tracing::Level,
    /// Who says it.
    pub logger: &'a str,
    /// `mlops` as all lines of GitLab's own gateway, or ours: `audit`, `prompt`.
    pub kind: &'a str,
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static SECOND: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// A scratch buffer that grew beyond this is given back.
const SCRATCH_KEPT: usize = 16 << 10;

/// Writes a line, its end included, and hands it on.
pub(super) fn with_line<R>(
    json: bool,
    head: Head<'_>,
    message: std::fmt::Arguments<'_>,
    parts: &[&Fields],
    then: impl FnOnce(&[u8]) -> R,
) -> R {
    SCRATCH.with(|scratch| {
        // a line that is written while one is written (by a `Display` that logs) gets a buffer of its own
        let mut own = Vec::new();
        let mut borrowed = scratch.try_borrow_mut().ok();
        let line = borrowed.as_deref_mut().unwrap_or(&mut own);
        line.clear();
        line.shrink_to(SCRATCH_KEPT);
        if json {
            begin_json(line, head, message)
        } else {
            begin_text(line, head, message)
        }
        for part in parts {
            line.extend_from_slice(&part.text);
        }
        line.extend_from_slice(if json { b"}\n" } else { b"\n" });
        then(line)
    })
}

fn begin_json(line: &mut Vec<u8>, head: Head<'_>, message: std::fmt::Arguments<'_>) {
    line.extend_from_slice(b"{\"message\":");
    match message.as_str() {
        Some(text) => drop(serde_json::to_writer(&mut *line, text)),
        None => drop(serde_json::to_writer(&mut *line, &message)),
    }
    line.extend_from_slice(b",\"logger\":");
    drop(serde_json::to_writer(&mut *line, head.logger));
    line.extend_from_slice(b",\"level\":\"");
    line.extend_from_slice(level(head.level).as_bytes());
    line.extend_from_slice(b"\",\"timestamp\":\"");
    timestamp(line, SystemTime::now());
    line.extend_from_slice(b"\",\"type\":\"");
    line.extend_from_slice(head.kind.as_bytes());
    line.extend_from_slice(b"\",\"stage\":\"main\"");
}

fn begin_text(line: &mut Vec<u8>, head: Head<'_>, message: std::fmt::Arguments<'_>) {
    timestamp(line, SystemTime::now());
    line.extend_from_slice(b" [");
    line.extend_from_slice(level(head.level).as_bytes());
    line.extend_from_slice(b"] ");
    // one line per line, whatever is in it
    let text = message.to_string().replace(['\n', '\r'], " ");
    line.extend_from_slice(text.as_bytes());
    line.extend_from_slice(b" [");
    line.extend_from_slice(head.logger.as_bytes());
    line.push(b']');
}

fn level(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warning",
        tracing::Level::INFO => "info",
        tracing::Level::DEBUG => "debug",
        tracing::Level::TRACE => "trace",
    }
}

/// `2026-11-23T13:49:51.123456Z`. The calendar is asked once a second.
pub(crate) fn timestamp(out: &mut Vec<u8>, at: SystemTime) {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SECOND.with(|cached| {
        let mut own = (0, String::new());
        let mut borrowed = cached.try_borrow_mut().ok();
        let (second, text) = borrowed.as_deref_mut().unwrap_or(&mut own);
        if *second != since.as_secs() || text.is_empty() {
            text.clear();
            let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
            let calendar = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            let _ = write!(text, "{calendar:.0}");
            text.truncate(text.len().saturating_sub(1));
            *second = since.as_secs();
        }
        out.extend_from_slice(text.as_bytes());
    });
    out.push(b'.');
    let micros = since.subsec_micros();
    let digits = [100_000, 10_000, 1_000, 100, 10, 1].map(|unit| b'0' + u8::try_from(micros / unit % 10).unwrap_or(0));
    out.extend_from_slice(&digits);
    out.push(b'Z');
}

/// Seconds with microseconds: what is finer is noise.
pub fn seconds(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn line(json: bool, fields: &Fields) -> String {
        let head = Head { level: tracing::Level::WARN, logger: "l", kind: "mlops" };
        with_line(json, head, format_args!("a \"b\"\n{}", 1), &[fields], |line| {
            String::from_utf8(line.to_vec()).unwrap()
        })
    }

    #[test]
    fn fields_of_every_kind_make_one_line_of_json() {
        let mut fields = Fields::new(true, 0);
        fields.add("text", "x\u{1}\"\\ü");
        fields.add("number", 1.5);
        fields.add("list", ["a", "b"]);
        fields.add("nothing", None::<u8>);
        fields.add("not_a_number", f64::NAN);
        fields.add_number("cost", "0.000012000001");
        let text = line(true, &fields);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(text.contains("\"cost\":0.000012000001"), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["message"], "a \"b\"\n1");
        assert_eq!((value["level"].as_str(), value["type"].as_str()), (Some("warning"), Some("mlops")));
        assert_eq!(value["text"], "x\u{1}\"\\ü");
        assert_eq!(value["list"], serde_json::json!(["a", "b"]));
        assert!(value.get("nothing").is_none() && value.get("not_a_number").is_none());
    }

    #[test]
    fn text_lines_are_one_line_too() {
        let mut fields = Fields::new(false, 0);
        fields.add("text", "x\ny");
        let text = line(false, &fields);
        assert!(text.ends_with(" [warning] a \"b\" 1 [l] text=\"x\\ny\"\n"), "{text}");
    }

    #[test]
    fn timestamps_are_those_of_the_calendar() {
        for (seconds, micros, expected) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, 999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400, 7, "2000-02-29T00:00:00.000007Z"),
            (1_795_441_791, 123_456, "2026-11-23T13:49:51.123456Z"),
        ] {
            let mut out = Vec::new();
            timestamp(&mut out, SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_field_can_be_taken_out_again() {
        let mut fields = Fields::new(true, 0);
        fields.add("a", 1);
        let (from, _) = (fields.len(), fields.add("b", 2));
        let to = fields.len();
        fields.add("c", 3);
        fields.remove(from, to);
        assert_eq!(String::from_utf8(fields.text).unwrap(), ",\"a\":1,\"c\":3");
    }
}
