//! One client of the soak: asks for this and that, sometimes goes away, and judges what it gets.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::line::{Line, Way};
use crate::asks::{self, Endpoint, Pace, Wire};
use crate::http1::Reader;

/// GitLab waits this long (its request timeout); whoever has no answer then has none.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of wrong answers no more are kept.
const MOST_WRONG: usize = 20;

/// What became of all requests.
#[derive(Default)]
pub struct Tally {
    /// Asked.
    pub requests: u64,
    /// By kind.
    pub outcomes: BTreeMap<String, u64>,
    /// Answers that the contract does not know, in words.
    pub wrong: Vec<String>,
    /// Without an end after [`PATIENCE`].
    pub late: u64,
    /// The longest that one took.
    pub slowest: Duration,
}

/// What is asked for, and how it is told that the answer is whole.
const KINDS: [(Endpoint, Wire, &str); 16] = [
    (Endpoint::Completion, Wire::OpenAi, "\"choices\""),
    (Endpoint::Completion, Wire::Bedrock, "\"choices\""),
    (Endpoint::Explain, Wire::OpenAi, "line.price * line.count"),
    (Endpoint::Explain, Wire::Bedrock, "line.price * line.count"),
    (Endpoint::SuggestionStream, Wire::OpenAi, "event: stream_end"),
    (Endpoint::SuggestionStream, Wire::Bedrock, "event: stream_end"),
    (Endpoint::ExplainStream, Wire::OpenAi, ""),
    (Endpoint::ExplainStream, Wire::Bedrock, ""),
    (Endpoint::Suggestion, Wire::OpenAi, "\"choices\""),
    (Endpoint::Suggestion, Wire::Bedrock, "\"choices\""),
    (Endpoint::ExplainLines, Wire::OpenAi, ""),
    (Endpoint::ExplainLines, Wire::Bedrock, ""),
    (Endpoint::Embeddings, Wire::OpenAi, "\"predictions\""),
    (Endpoint::Search, Wire::OpenAi, super::DOCUMENT),
    (Endpoint::Chat, Wire::OpenAi, "\"type\":"),
    (Endpoint::UserToken, Wire::OpenAi, "\"token\""),
];

/// A client.
pub struct Client {
    dice: u64,
    gateway: Way,
    upstream: SocketAddr,
    tokens: Rc<[String]>,
    tally: Rc<RefCell<Tally>>,
    stream: Option<Line>,
}

/// How an exchange ended.
enum End {
    /// A whole answer.
    Whole(u16, Vec<u8>, bool),
    /// It broke off after its head: status and what there was.
    Broken(u16, Vec<u8>),
    /// No head came.
    Nothing,
    /// We went away.
    Left,
}

impl Client {
    /// Number `number`.
    pub fn new(
        number: usize,
        gateway: Way,
        upstream: SocketAddr,
        tokens: Rc<[String]>,
        tally: Rc<RefCell<Tally>>,
    ) -> Self {
        let dice = 0x2545_f491_4f6c_dd1d ^ ((number as u64 + 1) << 20);
        Self { dice, gateway, upstream, tokens, tally, stream: None }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) % sides
    }

    /// Asks until told to stop; the last request is seen to its end.
    pub async fn work(mut self, stop: Rc<Cell<bool>>) {
        while !stop.get() {
            let pause = self.roll(150);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.one().await;
        }
    }

    async fn one(&mut self) {
        let kind = usize::try_from(self.roll(KINDS.len() as u64)).unwrap_or(0);
        let Some((what, wire, whole)) = KINDS.get(kind).copied() else { return };
        let user = usize::try_from(self.roll(self.tokens.len() as u64)).unwrap_or(0);
        let bad_token = self.roll(50) == 0;
        let token = if bad_token { "not.a.token" } else { self.tokens.get(user).map_or("", String::as_str) };
        let mut request = asks::request(what, wire, Pace::Brisk, token, self.upstream);
        let bad_body = !bad_token && what != Endpoint::UserToken && self.roll(50) == 0;
        if bad_body && let Some(last) = request.last_mut() {
            *last = b'!';
        }
        let leave = (self.roll(12) == 0).then(|| Duration::from_millis(1 + self.dice % 300));
        let began = Instant::now();
        let end = tokio::time::timeout(PATIENCE, self.exchange(&request, leave)).await;
        let mut tally = self.tally.borrow_mut();
        tally.requests += 1;
        tally.slowest = tally.slowest.max(began.elapsed());
        let Ok(end) = end else {
            tally.late += 1;
            drop(tally);
            self.stream = None;
            return;
        };
        let verdict = match &end {
            End::Left => Ok("client left".to_owned()),
            End::Nothing => Err("no answer at all".to_owned()),
            _ if bad_token => status_is(&end, 401),
            _ if bad_body => status_is(&end, 422),
            End::Broken(200, _) if what == Endpoint::Chat => Err("a chat that broke off without an error line".into()),
            End::Broken(200, body) if !ends_well(what, whole, body) => {
                Ok("200, broken off as the model's was".to_owned())
            }
            End::Broken(status, _) => Err(format!("{status} that broke off")),
            End::Whole(200, body, _) if ends_well(what, whole, body) => Ok("200 whole".to_owned()),
            End::Whole(200, ..) => Err("200 with only a part of the answer".to_owned()),
            End::Whole(status, body, retry_after) => failure(*status, body, *retry_after),
        };
        match verdict {
            Ok(outcome) => *tally.outcomes.entry(outcome).or_default() += 1,
            Err(problem) => {
                *tally.outcomes.entry("WRONG".to_owned()).or_default() += 1;
                if tally.wrong.len() < MOST_WRONG {
                    let text = match &end {
                        End::Whole(status, body, _) | End::Broken(status, body) => {
                            format!("{status} {}", String::from_utf8_lossy(body).chars().take(300).collect::<String>())
                        }
                        _ => String::new(),
                    };
                    tally.wrong.push(format!("{what:?} {wire:?}: {problem}: {text}"));
                }
            }
        }
        drop(tally);
        if !matches!(end, End::Whole(..)) {
            self.stream = None;
        }
    }

    async fn exchange(&mut self, request: &[u8], leave: Option<Duration>) -> End {
        let mut reader = Reader::keeping();
        let read = read(&mut self.stream, &self.gateway, request, &mut reader);
        match leave {
            Some(after) => {
                if tokio::time::timeout(after, read).await.is_err() {
                    self.stream = None;
                    return End::Left;
                }
            }
            None => read.await,
        }
        let body = reader.kept.take().unwrap_or_default();
        match (reader.status, reader.done()) {
            (0, _) => End::Nothing,
            (status, true) => End::Whole(status, body, reader.retry_after),
            (status, false) => End::Broken(status, body),
        }
    }
}

/// A kept connection may have been closed meanwhile: as Ruby's client does, it is then made anew, once.
async fn read(kept: &mut Option<Line>, gateway: &Way, request: &[u8], reader: &mut Reader) {
    for _ in 0..2 {
        let fresh = kept.is_none();
        if read_once(kept, gateway, request, reader).await.is_ok() || fresh || reader.status != 0 {
            return;
        }
        *kept = None;
    }
}

async fn read_once(kept: &mut Option<Line>, gateway: &Way, request: &[u8], reader: &mut Reader) -> std::io::Result<()> {
    let stream = match kept {
        Some(stream) => stream,
        none => none.insert(gateway.connect().await?),
    };
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut buffer = Vec::with_capacity(16 << 10);
    while !reader.done() {
        buffer.clear();
        if stream.read_buf(&mut buffer).await? == 0 || reader.broken() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        reader.push(&buffer);
    }
    Ok(())
}

/// Whether nothing of the model's answer is missing.
fn ends_well(what: Endpoint, whole: &str, body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    match what {
        // five times the eight tokens; a retried or a fallback's answer is whole, too
        Endpoint::ExplainStream => text.matches("line.price").count() == 5,
        Endpoint::ExplainLines => text.matches(".price").count() == 5,
        Endpoint::SuggestionStream => text.contains(whole) && text.matches(".price").count() == 5,
        _ => text.contains(whole),
    }
}

fn status_is(end: &End, expected: u16) -> Result<String, String> {
    match end {
        End::Whole(status, ..) if *status == expected => Ok(format!("{expected} as it should be")),
        _ => Err(format!("not {expected}")),
    }
}

/// A failure that the contract knows, with the words that GitLab reads.
fn failure(status: u16, body: &[u8], retry_after: bool) -> Result<String, String> {
    let detail = serde_json::from_slice::<Value>(body).ok().and_then(|body| body.get("detail").cloned());
    match (status, detail) {
        (421 | 502 | 503 | 504, Some(_)) => Ok(format!("{status} with a detail")),
        (429, Some(_)) if retry_after => Ok("429 with Retry-After".to_owned()),
        (429, _) => Err("429 without Retry-After or detail".to_owned()),
        _ => Err(format!("status {status}")),
    }
}
