//! Bedrock's answers when they are none: the whole way from the socket to our events, with bytes that were changed, cut
//! off, or made up. Nothing panics, nothing waits for what cannot come, and what arrives is never another answer.
//!
//! `tests/corpus/bedrock` keeps what once was, or could be, read wrongly; each file is the body of an answer to
//! ConverseStream (`*.frames`) or Converse (`*.json`).

use std::sync::{Arc, Mutex};

use duo_protocol::model::{ModelEvent, StopReason, UpstreamFailure};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::{Stand, complete, conversation, stream};
use crate::support::eventstream::{event, exception, frame};
use crate::support::recorder::{Recorder, Reply};

struct Bedrock {
    stand: Stand,
    reply: Arc<Mutex<Reply>>,
    _server: Recorder,
}

impl Bedrock {
    async fn start() -> Self {
        let reply = Arc::new(Mutex::new(Reply::json("{}")));
        let answer = reply.clone();
        let server = Recorder::start(move |_| answer.lock().unwrap().clone()).await;
        let config = format!(
            "providers: {{bedrock: {{region: us-east-1, endpoint: '{}', credentials: true}}}}\n\
             models: [{{name: m, family: claude_3, identifier: bedrock/anthropic.claude-3-haiku-20240307-v1:0}}]",
            server.url
        );
        let stand = Stand::new(&config, &[("AWS_BEARER_TOKEN_BEDROCK", "k")]);
        Self { stand, reply, _server: server }
    }

    async fn streamed(&self, body: Vec<u8>, pieces: usize, stalls: bool) -> Result<Vec<ModelEvent>, UpstreamFailure> {
        let reply = Reply::new("application/vnd.amazon.eventstream", body);
        *self.reply.lock().unwrap() = Reply { pieces, stalls, ..reply };
        stream(self.stand.place(), conversation()).await
    }

    async fn whole(&self, body: Vec<u8>) -> Result<duo_protocol::model::ModelAnswer, UpstreamFailure> {
        *self.reply.lock().unwrap() = Reply::new("application/json", body);
        complete(self.stand.place(), conversation()).await
    }
}

const TEXTS: [&str; 3] = ["def ", "häuser", "\n  end"];

/// A good answer, frame by frame.
fn good() -> Vec<Vec<u8>> {
    let mut frames = vec![event("messageStart", &json!({"role": "assistant"}))];
    for text in TEXTS {
        frames.push(event("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"text": text}})));
    }
    frames.push(event("contentBlockStop", &json!({"contentBlockIndex": 0})));
    frames.push(event("messageStop", &json!({"stopReason": "end_turn"})));
    let usage = json!({"inputTokens": 1, "outputTokens": 2, "totalTokens": 3});
    frames.push(event("metadata", &json!({"usage": usage, "metrics": {"latencyMs": 1}})));
    frames
}

fn text(events: &[ModelEvent]) -> String {
    events
        .iter()
        .filter_map(|event| if let ModelEvent::Text(text) = event { Some(text.as_str()) } else { None })
        .collect()
}

/// What was done to the bytes.
#[derive(Clone, Debug)]
enum Change {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index),
    Frame(Vec<u8>, Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 1..=255_u8).prop_map(|(at, bits)| Change::Flip(at, bits)),
        index().prop_map(Change::Cut),
        (index(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        index().prop_map(Change::Remove),
        (prop::collection::vec(any::<u8>(), 0..20), prop::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(head, payload)| Change::Frame(head, payload)),
    ]
}

fn changed(change: &Change) -> Vec<u8> {
    let mut bytes = good().concat();
    match change {
        Change::Flip(at, bits) => {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Change::Insert(at, more) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, more.iter().copied());
        }
        Change::Remove(at) => {
            bytes.remove(at.index(bytes.len()));
        }
        // a frame whose checksums hold and whose content is anything
        Change::Frame(kind, payload) => {
            let kind = String::from_utf8_lossy(kind).into_owned();
            let headers = [(":message-type", "event"), (":event-type", kind.as_str())];
            bytes.splice(0..0, frame(&headers, payload));
        }
    }
    bytes
}

#[test]
fn changed_bytes_are_a_failure_or_change_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bedrock = runtime.block_on(Bedrock::start());
    let whole = TEXTS.concat();
    let config = Config { cases: 192, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    runner
        .run(&(change(), 1..200_usize), |(change, pieces)| {
            let got = runtime.block_on(bedrock.streamed(changed(&change), pieces, false));
            if let Ok(events) = got {
                prop_assert_eq!(text(&events), &*whole, "{:?} gave another answer", change);
                prop_assert!(events.contains(&ModelEvent::Stop(StopReason::EndTurn)));
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_whole_answer_of_any_shape_is_read_or_refused() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bedrock = runtime.block_on(Bedrock::start());
    let good = include_str!("answers/converse.json").trim().to_owned();
    let strategy = prop_oneof![
        any::<prop::sample::Index>().prop_map({
            let good = good.clone();
            move |at| good.as_bytes()[..at.index(good.len())].to_vec()
        }),
        prop::collection::vec(any::<u8>(), 0..200),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(move |(at, byte)| {
            let mut bytes = good.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
    ];
    let mut runner = TestRunner::new(Config { cases: 128, failure_persistence: None, ..Config::default() });
    runner
        .run(&strategy, |body| {
            if let Err(failure) = runtime.block_on(bedrock.whole(body)) {
                prop_assert!(matches!(failure, UpstreamFailure::Protocol { .. }), "{:?}", failure);
            }
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn every_cut_of_a_stream_is_a_failure_until_the_answer_has_ended() {
    let bedrock = Bedrock::start().await;
    let frames = good();
    let before_the_end: usize = frames[..5].iter().map(Vec::len).sum();
    let bytes = frames.concat();
    for cut in (0..before_the_end).step_by(11).chain([before_the_end]) {
        let got = bedrock.streamed(bytes[..cut].to_vec(), 50, false).await;
        assert!(got.is_err(), "cut at {cut}: {got:?}");
    }
}

#[tokio::test]
async fn trap_a_frame_that_claims_four_gigabytes_is_not_waited_for() {
    let bedrock = Bedrock::start().await;
    for length in [u32::MAX, 64 << 20, 3] {
        let mut lie = length.to_be_bytes().to_vec();
        lie.extend(0_u32.to_be_bytes());
        lie.extend(crc32fast::hash(&lie).to_be_bytes());
        // the server sends no more and does not hang up
        let got = bedrock.streamed([good()[..2].concat(), lie].concat(), usize::MAX, true).await;
        assert!(matches!(got, Err(UpstreamFailure::StreamBroken { .. })), "{length}: {got:?}");
    }
}

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/bedrock");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let name = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn the_corpus_is_refused() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        write_corpus();
    }
    let bedrock = Bedrock::start().await;
    let corpus = corpus();
    assert!(corpus.len() >= 10, "{}", corpus.len());
    for (name, body) in corpus {
        for pieces in [1, 64, usize::MAX] {
            if name.ends_with(".json") {
                let got = bedrock.whole(body.clone()).await;
                assert!(matches!(got, Err(UpstreamFailure::Protocol { .. })), "{name}: {got:?}");
            } else {
                let got = bedrock.streamed(body.clone(), pieces, false).await;
                assert!(got.is_err(), "{name} in pieces of {pieces}: {got:?}");
            }
        }
    }
}

fn write_corpus() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/bedrock");
    std::fs::create_dir_all(&folder).unwrap();
    let good = good();
    let start = good[..3].concat();
    let with = |tail: Vec<u8>| [start.clone(), tail].concat();
    let mut wrong_checksum = good[3].clone();
    *wrong_checksum.last_mut().unwrap() ^= 1;
    let mut wrong_prelude = good[3].clone();
    wrong_prelude[9] ^= 1;
    let mut long_headers = good[3].clone();
    long_headers[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
    let kind = |kind: &str, payload: &[u8]| frame(&[(":message-type", "event"), (":event-type", kind)], payload);
    let files = [
        ("empty.frames", vec![]),
        ("html.frames", b"<html>Bad Gateway</html>".to_vec()),
        ("wrong_checksum.frames", with(wrong_checksum)),
        ("wrong_prelude_checksum.frames", with(wrong_prelude)),
        ("headers_longer_than_the_frame.frames", with(long_headers)),
        ("half_a_frame.frames", with(good[3][..good[3].len() / 2].to_vec())),
        ("no_stop.frames", good[..5].concat()),
        ("exception_in_the_middle.frames", with(exception("throttlingException", "slow down"))),
        ("unknown_exception.frames", with(exception("surpriseException", "boo"))),
        ("no_headers.frames", with(frame(&[], b"{}"))),
        ("delta_is_a_list.frames", with(kind("contentBlockDelta", b"[1,2]"))),
        ("delta_is_half_a_json.frames", with(kind("contentBlockDelta", b"{\"delta\":{\"te"))),
        (
            "delta_is_no_utf8.frames",
            with(kind("contentBlockDelta", b"{\"delta\":{\"text\":\"\xff\xfe\"},\"contentBlockIndex\":0}")),
        ),
        ("length_zero.frames", with(vec![0; 16])),
        ("html.json", b"<html>login</html>".to_vec()),
        ("half.json", b"{\"output\":{\"message\":{\"role\":\"assi".to_vec()),
        ("nested.json", "[".repeat(100_000).into_bytes()),
        ("list.json", b"[]".to_vec()),
    ];
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

#[tokio::test]
async fn exceptions_in_the_stream_keep_their_kind_before_text_and_break_it_after() {
    let bedrock = Bedrock::start().await;
    type Judge = fn(&UpstreamFailure) -> bool;
    let table: [(&str, Judge); 5] = [
        ("throttlingException", |f| matches!(f, UpstreamFailure::Throttled { .. })),
        ("validationException", |f| matches!(f, UpstreamFailure::Status { code: 400, .. })),
        ("internalServerException", |f| matches!(f, UpstreamFailure::Status { code: 500, .. })),
        ("modelStreamErrorException", |f| matches!(f, UpstreamFailure::Status { code: 424, .. })),
        ("serviceUnavailableException", |f| matches!(f, UpstreamFailure::Status { code: 503, .. })),
    ];
    for (kind, expected) in table {
        let early =
            bedrock.streamed([good()[0].clone(), exception(kind, "words")].concat(), 9, false).await.unwrap_err();
        assert!(expected(&early), "{kind}: {early:?}");
        let late =
            bedrock.streamed([good()[..2].concat(), exception(kind, "words")].concat(), 9, false).await.unwrap_err();
        assert!(matches!(late, UpstreamFailure::StreamBroken { .. }), "{kind}: {late:?}");
    }
}

#[tokio::test]
async fn blocks_that_are_no_text_are_passed_over() {
    let bedrock = Bedrock::start().await;
    let more: Value = json!({"contentBlockIndex": 1, "delta": {"reasoningContent": {"text": "hm"}}});
    let mut frames = good();
    frames.insert(1, event("contentBlockDelta", &more));
    frames.insert(1, event("somethingNew", &json!({"a": 1})));
    let events = bedrock.streamed(frames.concat(), 5, false).await.unwrap();
    assert_eq!(text(&events), TEXTS.concat());
}
