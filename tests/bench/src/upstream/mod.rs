//! A model server that costs next to nothing: it looks for marks in what it is sent and writes answers that were made
//! before. On the same port it is GitLab's key discovery, and for `direct` it answers GitLab's own requests.

mod answers;
mod faults;

use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::Fallible;
use crate::asks::{Pace, Wire};
use crate::http1::find;
use answers::Answers;
pub use answers::{pause, pieces};

/// Serves until killed.
///
/// # Errors
/// No port, no key set.
pub fn run(jwks: &Path, faulty: bool) -> Fallible<()> {
    let jwks = std::fs::read_to_string(jwks)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        writeln!(std::io::stdout(), "{address}")?;
        let answers = Rc::new(Answers::new(&jwks, address));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answers = answers.clone();
            tokio::task::spawn_local(async move {
                // whoever goes away ends its connection, nothing else
                let _ = connection(stream, &answers, faulty).await;
            });
        }
    })
}

async fn connection(mut stream: TcpStream, answers: &Answers, faulty: bool) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(16 << 10);
    loop {
        let request = loop {
            if let Some(length) = complete(&buffer) {
                break &buffer[..length];
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let length = request.len();
        let ask = Ask::of(request);
        if let (true, Some(wire)) = (faulty, ask.wire())
            && let Some(fault) = faults::next()
        {
            // true: the connection can go on
            if !faults::play(fault, &mut stream, wire, answers).await? {
                return Ok(());
            }
            buffer.drain(..length);
            continue;
        }
        match ask {
            Ask::Document(path) => stream.write_all(&answers.document(&path)).await?,
            Ask::Vectors => stream.write_all(answers.vectors()).await?,
            Ask::Whole(wire) => stream.write_all(answers.whole(wire)).await?,
            Ask::Stream(wire, pace) => {
                let mut due = Instant::now();
                for piece in answers.stream(wire, pace) {
                    stream.write_all(piece).await?;
                    let pause = pause(pace);
                    if pause > Duration::ZERO {
                        due += pause;
                        tokio::time::sleep_until(due).await;
                    }
                }
            }
        }
        buffer.drain(..length);
    }
}

/// What a request is about.
enum Ask {
    Document(String),
    Vectors,
    Whole(Wire),
    Stream(Wire, Pace),
}

impl Ask {
    /// The wire of a model call, and whether it is a stream.
    fn wire(&self) -> Option<(Wire, bool)> {
        match self {
            Self::Document(_) => None,
            Self::Vectors => Some((Wire::OpenAi, false)),
            Self::Whole(wire) => Some((*wire, false)),
            Self::Stream(wire, _) => Some((*wire, true)),
        }
    }

    fn of(request: &[u8]) -> Self {
        let line = &request[..request.iter().position(|byte| *byte == b'\r').unwrap_or(0)];
        if line.starts_with(b"GET ") {
            let path = line.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            return Self::Document(String::from_utf8_lossy(path).into_owned());
        }
        if find(line, b"/embeddings ").is_some() {
            return Self::Vectors;
        }
        let has = |needle: &str| find(request, needle.as_bytes()).is_some();
        let converse = find(line, b"/model/").is_some();
        let wire = if converse || has("\"bedrock/") { Wire::Bedrock } else { Wire::OpenAi };
        let streamed = if converse { find(line, b"/converse-stream").is_some() } else { has("\"stream\":true") };
        match streamed {
            false => Self::Whole(wire),
            true => {
                let pace = Pace::ALL.into_iter().find(|pace| has(pace.mark())).unwrap_or(Pace::Quick);
                Self::Stream(wire, pace)
            }
        }
    }
}

/// The length of the first request, once it is here whole.
fn complete(buffer: &[u8]) -> Option<usize> {
    let head = find(buffer, b"\r\n\r\n")? + 4;
    let mut length = 0;
    for line in buffer[..head].split(|byte| *byte == b'\n') {
        const NAME: &[u8] = b"content-length:";
        if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            length = String::from_utf8_lossy(&line[NAME.len()..]).trim().parse().ok()?;
        }
    }
    (buffer.len() >= head + length).then_some(head + length)
}
