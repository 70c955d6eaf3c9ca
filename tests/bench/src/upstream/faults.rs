//! What model servers do wrong. One call in three meets one of these, the others are answered well.

use std::cell::Cell;
use std::time::Duration;

use duo_sim::bedrock::eventstream;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::answers::{Answers, whole};
use crate::asks::{Pace, Wire};

/// One way to go wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// An error status, with or without a sensible body.
    Status(u16),
    /// 429 with `Retry-After`.
    Throttled,
    /// The connection ends before an answer.
    NoAnswer,
    /// Half of a good answer, then the connection ends.
    Half,
    /// Nothing, for longer than anybody waits.
    Silence,
    /// Half of a good answer, then nothing.
    Stall,
    /// A good answer after two seconds.
    Slow,
    /// A page of some proxy with status 200.
    Html,
    /// JSON that ends too soon, in an answer that is whole by its length.
    CutJson,
    /// A stream with an error in it (Bedrock: an exception, or a frame with a wrong checksum).
    InStream(bool),
}

const FAULTS: [Fault; 14] = [
    Fault::Status(500),
    Fault::Status(503),
    Fault::Status(400),
    Fault::Status(401),
    Fault::Status(404),
    Fault::Throttled,
    Fault::NoAnswer,
    Fault::Half,
    Fault::Silence,
    Fault::Stall,
    Fault::Slow,
    Fault::Html,
    Fault::CutJson,
    Fault::InStream(true),
];

thread_local! {
    static DICE: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) };
}

/// What the next call meets; the same sequence in each run.
pub(super) fn next() -> Option<Fault> {
    let roll = DICE.with(|dice| {
        let mut value = dice.get();
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        dice.set(value);
        value >> 11
    });
    if !roll.is_multiple_of(3) {
        return None;
    }
    let fault = FAULTS.get(usize::try_from(roll / 3).unwrap_or(0) % FAULTS.len()).copied()?;
    Some(match fault {
        Fault::InStream(_) => Fault::InStream((roll / 64).is_multiple_of(2)),
        fault => fault,
    })
}

/// Plays it; `false` when the connection is to be closed.
pub(super) async fn play(
    fault: Fault,
    stream: &mut TcpStream,
    (wire, streamed): (Wire, bool),
    answers: &Answers,
) -> std::io::Result<bool> {
    let good = match streamed {
        true => answers.stream(wire, Pace::Brisk).concat(),
        false => answers.whole(wire).to_vec(),
    };
    let half = good.get(..good.len() / 2).unwrap_or_default();
    match fault {
        Fault::Status(code) => {
            let body = json!({"error": {"message": "it does not work", "code": code}, "message": "it does not work"});
            stream.write_all(&status(code, "", &body.to_string())).await?;
        }
        Fault::Throttled => {
            stream.write_all(&status(429, "Retry-After: 1\r\n", "{\"message\":\"Too many requests\"}")).await?;
        }
        Fault::NoAnswer => return Ok(false),
        Fault::Half => {
            stream.write_all(half).await?;
            return Ok(false);
        }
        Fault::Silence => {
            tokio::time::sleep(Duration::from_secs(120)).await;
            return Ok(false);
        }
        Fault::Stall => {
            stream.write_all(half).await?;
            tokio::time::sleep(Duration::from_secs(120)).await;
            return Ok(false);
        }
        Fault::Slow => {
            tokio::time::sleep(Duration::from_secs(2)).await;
            stream.write_all(&good).await?;
        }
        Fault::Html => stream.write_all(&whole("text/html", "<html><body>Welcome to nginx!</body></html>")).await?,
        Fault::CutJson => stream.write_all(&whole("application/json", "{\"choices\": [{\"message\"")).await?,
        Fault::InStream(exception) => {
            let error = match wire {
                Wire::OpenAi => b"data: {\"error\":{\"message\":\"engine is dead\",\"code\":500}}\n\n".to_vec(),
                Wire::Bedrock if exception => {
                    eventstream::exception("modelStreamErrorException", &json!({"message": "broken"})).to_vec()
                }
                Wire::Bedrock => {
                    let frame = eventstream::event("contentBlockStop", &json!({"contentBlockIndex": 0}));
                    eventstream::with_wrong_checksum(&frame).to_vec()
                }
            };
            // behind the first piece of a good stream; a whole answer has no inside, so that it is a page there
            if !streamed {
                stream.write_all(&whole("application/json", "[]")).await?;
                return Ok(true);
            }
            if let Some(first) = answers.stream(wire, Pace::Brisk).first() {
                stream.write_all(first).await?;
            }
            stream.write_all(format!("{:x}\r\n", error.len()).as_bytes()).await?;
            stream.write_all(&error).await?;
            stream.write_all(b"\r\n0\r\n\r\n").await?;
        }
    }
    Ok(true)
}

fn status(code: u16, more: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {code} No\r\n{more}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
