//! A decoder for `text/event-stream`, fed with byte chunks as they come.
//!
//! It takes LF, CRLF and CR line ends and characters split between chunks; the result does not depend on where the
//! chunks are cut.

use std::borrow::Cow;

/// One event: its name (`message` when the stream names none is left empty) and its data lines joined by LF.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The `event:` field, or empty.
    pub event: String,
    /// The `data:` fields.
    pub data: String,
}

/// A line or event is longer than the decoder keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {0} bytes")]
pub struct SseTooLong(pub usize);

/// Longest line and longest event, in bytes.
const LIMIT: usize = 1 << 20;

/// The decoder's state between chunks.
#[derive(Debug, Default)]
pub struct SseDecoder {
    line: Vec<u8>,
    event: String,
    data: Option<String>,
    /// The last byte was CR: an LF that follows belongs to it.
    after_cr: bool,
    begun: bool,
}

impl SseDecoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a chunk and returns the events it completes.
    ///
    /// # Errors
    /// A line or event over 1 MiB; the decoder is not to be used further.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Vec<SseEvent>, SseTooLong> {
        let mut out = Vec::new();
        let mut rest = chunk;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else {
                self.keep(rest)?;
                break;
            };
            if self.line.is_empty() && end <= LIMIT {
                // nearly all lines come whole
                out.extend(self.end_of_line(&rest[..end])?);
            } else {
                self.keep(&rest[..end])?;
                let line = std::mem::take(&mut self.line);
                out.extend(self.end_of_line(&line)?);
            }
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
        }
        Ok(out)
    }

    /// The stream has ended: an event that lacks only its blank line is still given out (servers forget it after
    /// `[DONE]`).
    pub fn finish(&mut self) -> Option<SseEvent> {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.end_of_line(&line).ok()?;
        }
        self.dispatch()
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), SseTooLong> {
        if self.line.len() + part.len() > LIMIT {
            return Err(SseTooLong(LIMIT));
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_of_line(&mut self, bytes: &[u8]) -> Result<Option<SseEvent>, SseTooLong> {
        let mut line = std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed);
        if !std::mem::replace(&mut self.begun, true)
            && let Some(without_bom) = line.strip_prefix('\u{feff}')
        {
            line = without_bom.to_owned().into();
        }
        if line.is_empty() {
            return Ok(self.dispatch());
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) if data.len() + value.len() > LIMIT => return Err(SseTooLong(LIMIT)),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "event" => self.event = value.to_owned(),
            // comments (empty field), id, retry and unknown fields
            _ => {}
        }
        Ok(None)
    }

    fn dispatch(&mut self) -> Option<SseEvent> {
        let event = std::mem::take(&mut self.event);
        self.data.take().map(|data| SseEvent { event, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<SseEvent> {
        let mut decoder = SseDecoder::new();
        let mut out: Vec<SseEvent> = chunks.into_iter().flat_map(|chunk| decoder.push(chunk).unwrap()).collect();
        out.extend(decoder.finish());
        out
    }

    fn data(events: &[SseEvent]) -> Vec<&str> {
        events.iter().map(|e| e.data.as_str()).collect()
    }

    #[test]
    fn line_ends_comments_names_and_a_missing_last_blank_line() {
        let table: [(&str, &[&str]); 8] = [
            ("data: a\n\ndata: b\n\n", &["a", "b"]),
            ("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]),
            ("data: a\r\rdata:b\r\r", &["a", "b"]),
            (": ping\n\ndata: a\n\n", &["a"]),
            ("data: a\ndata: b\n\n", &["a\nb"]),
            ("data: a\r\ndata: b\r\n\r\n", &["a\nb"]),
            ("data: a\n\ndata: [DONE]", &["a", "[DONE]"]),
            ("\u{feff}data: a\n\nid: 1\n\n", &["a"]),
        ];
        for (stream, wanted) in table {
            assert_eq!(data(&decode([stream.as_bytes()])), wanted, "{stream:?}");
        }
        let named = decode(["event: error\ndata: x\n\n".as_bytes()]);
        assert_eq!(named[0].event, "error");
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut decoder = SseDecoder::new();
        let chunk = vec![b'x'; 64 * 1024];
        assert!((0..17).any(|_| decoder.push(&chunk).is_err()));
    }

    proptest! {
        #[test]
        fn the_events_do_not_depend_on_the_chunks(
            parts in proptest::collection::vec(
                prop_oneof![Just("data: "), Just("data:é€😀"), Just("\n"), Just("\r\n"), Just("\r"), Just("event: e"), Just(":c"), Just("x")],
                0..40,
            ),
            cuts in proptest::collection::vec(1usize..7, 1..60),
        ) {
            let stream = parts.concat();
            let whole = decode([stream.as_bytes()]);
            let mut chunks = Vec::new();
            let mut rest = stream.as_bytes();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = tail;
            }
            prop_assert_eq!(decode(chunks), whole);
        }

        #[test]
        fn no_bytes_make_it_panic(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..10)) {
            decode(chunks.iter().map(Vec::as_slice));
        }
    }
}
