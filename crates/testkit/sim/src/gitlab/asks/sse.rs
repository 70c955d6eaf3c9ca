//! Server-sent events as editors read them: `event:` stands before `data:`, a blank line ends the event.

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its data.
    pub data: String,
}

/// The complete events of a body; comments are skipped, CRLF and LF are both line ends.
///
/// # Errors
/// A line that is no SSE, or `data:` before its `event:`.
pub fn parse(body: &str) -> Result<Vec<Event>, String> {
    let mut events = Vec::new();
    let (mut name, mut data): (Option<String>, Option<String>) = (None, None);
    // what follows the last line end is no line yet
    let complete = body.rfind('\n').map_or("", |end| &body[..=end]);
    for line in complete.lines() {
        if line.is_empty() {
            if let (Some(name), Some(data)) = (name.take(), data.take()) {
                events.push(Event { name, data });
            }
        } else if line.starts_with(':') {
        } else if let Some(value) = line.strip_prefix("event:") {
            name = Some(value.trim_start().to_owned());
        } else if let Some(value) = line.strip_prefix("data:") {
            if name.is_none() {
                return Err("data without an event name before it".to_owned());
            }
            let value = value.strip_prefix(' ').unwrap_or(value);
            data = Some(data.map_or_else(|| value.to_owned(), |held| format!("{held}\n{value}")));
        } else if !line.starts_with("id:") && !line.starts_with("retry:") {
            return Err(format!("not a line of an event stream: {line:?}"));
        }
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_line_ends_and_skips_comments() {
        for end in ["\n", "\r\n"] {
            let body = ["event: a", "data: 1", "", ": ping", "", "event: b", "data: null", "", ""].join(end);
            let names: Vec<_> = parse(&body).unwrap().into_iter().map(|event| (event.name, event.data)).collect();
            assert_eq!(names, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "null".to_owned())], "{end:?}");
        }
    }

    #[test]
    fn refuses_data_before_its_event() {
        assert!(parse("data: 1\nevent: a\n\n").is_err());
    }

    #[test]
    fn an_event_without_its_blank_line_has_not_arrived() {
        assert!(parse("event: a\ndata: 1\n").unwrap().is_empty());
    }
}
