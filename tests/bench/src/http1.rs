//! Reading HTTP/1.1 answers as cheaply as possible: status, where the body begins and ends, how much there was.

/// Reads one answer, piece by piece.
#[derive(Debug)]
pub struct Reader {
    head: Vec<u8>,
    state: State,
    /// Status, 0 until the head is read.
    pub status: u16,
    /// Bytes of the body so far, without its framing.
    pub body: u64,
    /// The head names a `Retry-After`.
    pub retry_after: bool,
    /// The body itself, for whoever wants to look.
    pub kept: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    ChunkSize(u64, bool),
    ChunkData(u64),
    ChunkEnd(u64),
    Trailer(u8),
    Done,
    Broken,
}

impl Default for Reader {
    fn default() -> Self {
        Self { head: Vec::with_capacity(512), state: State::Head, status: 0, body: 0, retry_after: false, kept: None }
    }
}

impl Reader {
    /// One that keeps the bodies.
    pub fn keeping() -> Self {
        Self { kept: Some(Vec::new()), ..Self::default() }
    }

    /// Ready for the next answer.
    pub fn reset(&mut self) {
        self.head.clear();
        self.state = State::Head;
        self.status = 0;
        self.body = 0;
    }

    /// The answer is complete.
    pub fn done(&self) -> bool {
        self.state == State::Done
    }

    /// What came is not an answer that this reader understands.
    pub fn broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Takes what was read from the connection.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !matches!(self.state, State::Done | State::Broken) {
            bytes = self.step(bytes);
        }
    }

    fn step<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match self.state {
            State::Head => self.head(bytes),
            State::Length(left) => {
                let (data, rest) = split(bytes, left);
                self.data(data);
                let left = left - data.len() as u64;
                self.state = if left == 0 { State::Done } else { State::Length(left) };
                rest
            }
            State::ChunkSize(size, extension) => {
                let byte = bytes[0];
                self.state = match (byte, (byte as char).to_digit(16)) {
                    (b'\n', _) if size == 0 => State::Trailer(0),
                    (b'\n', _) => State::ChunkData(size),
                    (b'\r', _) => self.state,
                    (b';', _) => State::ChunkSize(size, true),
                    _ if extension => self.state,
                    (_, Some(digit)) if size < 1 << 40 => State::ChunkSize(size * 16 + u64::from(digit), false),
                    _ => State::Broken,
                };
                &bytes[1..]
            }
            State::ChunkData(left) => {
                let (data, rest) = split(bytes, left);
                self.data(data);
                let left = left - data.len() as u64;
                self.state = if left == 0 { State::ChunkEnd(2) } else { State::ChunkData(left) };
                rest
            }
            State::ChunkEnd(left) => {
                self.state = if left == 1 { State::ChunkSize(0, false) } else { State::ChunkEnd(left - 1) };
                &bytes[1..]
            }
            // no trailers are expected: an empty line
            State::Trailer(seen) => {
                self.state = if seen == 1 { State::Done } else { State::Trailer(seen + 1) };
                &bytes[1..]
            }
            State::Done | State::Broken => &[],
        }
    }

    fn data(&mut self, data: &[u8]) {
        self.body += data.len() as u64;
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(data);
        }
    }

    fn head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let from = before.saturating_sub(3);
        let Some(at) = find(&self.head[from..], b"\r\n\r\n") else {
            if self.head.len() > 64 << 10 {
                self.state = State::Broken;
            }
            return &[];
        };
        let end = from + at + 4;
        let rest = &bytes[end - before..];
        let head = String::from_utf8_lossy(&self.head[..end]).to_ascii_lowercase();
        self.status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        self.retry_after = field("retry-after:").is_some();
        self.state = if field("transfer-encoding:") == Some("chunked") {
            State::ChunkSize(0, false)
        } else {
            match field("content-length:").and_then(|length| length.parse().ok()) {
                Some(0) => State::Done,
                Some(length) => State::Length(length),
                None => State::Broken,
            }
        };
        rest
    }
}

fn split(bytes: &[u8], left: u64) -> (&[u8], &[u8]) {
    bytes.split_at(usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()))
}

/// Where `needle` begins.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whatever_pieces_they_come_in() {
        for (text, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\nA;x=1\r\nlo world!!\r\n0\r\n\r\n",
                "hello world!!",
            ),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", ""),
        ] {
            for size in 1..text.len() {
                let mut reader = Reader { kept: Some(Vec::new()), ..Reader::default() };
                for piece in text.as_bytes().chunks(size) {
                    assert!(!reader.done());
                    reader.push(piece);
                }
                assert!(reader.done() && reader.status == 200, "{text} by {size}: {reader:?}");
                assert_eq!((reader.kept.unwrap(), reader.body), (body.as_bytes().to_vec(), body.len() as u64));
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_broken_and_what_breaks_off_is_not_done() {
        for text in ["HTTP/1.1 200 OK\r\n\r\nhello", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"] {
            let mut reader = Reader::default();
            reader.push(text.as_bytes());
            assert!(reader.broken(), "{text}");
        }
        let mut reader = Reader::default();
        reader.push(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n");
        assert!(!reader.done() && !reader.broken());
    }
}
