//! Streams of model servers: the same events wherever the bytes are cut, an end to what is kept.

use duo_protocol::anthropic::{self, MessageStream};
use duo_protocol::model::{ModelEvent, UpstreamFailure};
use duo_protocol::openai::{self, ChatStream, SseDecoder, SseEvent};
use proptest::prelude::*;

use crate::runner::{Outcome, pieces, run, seed};

const SSE_WORDS: &[&str] = &[
    "data: ",
    "data:",
    "event: error\n",
    "event:",
    ": ping\n",
    "id: 1\n",
    "\n",
    "\n\n",
    "\r",
    "\r\n",
    "\r\n\r\n",
    "[DONE]",
    "\u{feff}",
    "é",
    "😀",
    "x",
    "retry: 1\n",
];

const CHUNK_WORDS: &[&str] = &[
    "data: ",
    "\n\n",
    "data: [DONE]\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
    "data: {\"error\":{\"message\":\"x\",\"code\":500}}\n\n",
    "{\"choices\":",
    "null",
    "\"error\"",
    "}",
    "]",
    "\"",
    "event: error\n",
    "event: content_block_delta\n",
    "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n",
    "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":3}}\n\n",
    "data: {\"type\":\"message_stop\"}\n\n",
    "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n",
];

fn sse<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<SseEvent>> {
    let mut decoder = SseDecoder::new();
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend(decoder.push(chunk).ok()?);
    }
    out.extend(decoder.finish());
    Some(out)
}

fn any_split_gives_the_same_events(input: &[u8]) -> Outcome {
    let whole = sse([input]);
    prop_assert_eq!(sse(pieces(input, seed(input))), whole.clone());
    prop_assert_eq!(sse(input.chunks(1)), whole.clone());
    // the three line ends are one
    if !input.contains(&b'\r') {
        for end in [&b"\r\n"[..], b"\r"] {
            let other: Vec<u8> =
                input.iter().flat_map(|byte| if *byte == b'\n' { end.to_vec() } else { vec![*byte] }).collect();
            prop_assert_eq!(sse([other.as_slice()]), whole.clone());
            prop_assert_eq!(sse(pieces(&other, seed(input))), whole.clone());
        }
    }
    Ok(())
}

#[test]
fn server_sent_events() {
    run("sse", SSE_WORDS, any_split_gives_the_same_events);
}

/// The text, and what came besides it.
type Read = (String, Vec<ModelEvent>, Option<UpstreamFailure>);

fn read<R>(
    mut reader: R,
    chunks: &[&[u8]],
    push: fn(&mut R, &[u8]) -> Result<Vec<ModelEvent>, UpstreamFailure>,
    finish: fn(R) -> Result<Vec<ModelEvent>, UpstreamFailure>,
) -> Read {
    let (mut text, mut others) = (String::new(), Vec::new());
    let mut take = |events: Vec<ModelEvent>| {
        for event in events {
            match event {
                ModelEvent::Text(piece) => text.push_str(&piece),
                other => others.push(other),
            }
        }
    };
    for chunk in chunks {
        match push(&mut reader, chunk) {
            Ok(events) => take(events),
            Err(failure) => return (text, others, Some(failure)),
        }
    }
    match finish(reader) {
        Ok(events) => take(events),
        Err(failure) => return (text, others, Some(failure)),
    }
    (text, others, None)
}

/// A failure drops the events of the chunk it is in, so that a whole body may show less text than its pieces.
fn same(whole: &Read, cut: &Read) -> Outcome {
    prop_assert_eq!(&whole.2, &cut.2);
    prop_assert!(cut.0.starts_with(&whole.0));
    if whole.2.is_none() {
        prop_assert_eq!(whole, cut);
        // a complete answer says why it ended, once
        prop_assert_eq!(whole.1.iter().filter(|event| matches!(event, ModelEvent::Stop(_))).count(), 1);
    }
    Ok(())
}

fn chat_chunks(input: &[u8]) -> Outcome {
    let run = |chunks: &[&[u8]]| read(ChatStream::new(), chunks, ChatStream::push, ChatStream::finish);
    let whole = run(&[input]);
    same(&whole, &run(&pieces(input, seed(input))))?;
    same(&whole, &run(&input.chunks(1).collect::<Vec<_>>()))?;
    let _ = openai::parse_answer(input);
    let failure = openai::parse_error(500, None, input, &[]);
    prop_assert!(failure.to_string().chars().count() < 600);
    Ok(())
}

fn message_events(input: &[u8]) -> Outcome {
    let run = |chunks: &[&[u8]]| read(MessageStream::new(), chunks, MessageStream::push, MessageStream::finish);
    let whole = run(&[input]);
    same(&whole, &run(&pieces(input, seed(input))))?;
    let _ = anthropic::parse_answer(input);
    Ok(())
}

#[test]
fn openai_chunks() {
    run("openai_stream", CHUNK_WORDS, chat_chunks);
}

#[test]
fn anthropic_events() {
    run("anthropic_stream", CHUNK_WORDS, message_events);
}

#[test]
fn a_line_or_an_event_without_end_is_refused_before_it_fills_the_memory() {
    for unit in ["x", "data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n", "event: e\ndata: yyyyyyyyyyyyyyyyyyyyyyy\n"] {
        let chunk = unit.repeat(64 * 1024 / unit.len());
        let mut decoder = SseDecoder::new();
        let taken = (0..64).take_while(|_| decoder.push(chunk.as_bytes()).is_ok()).count();
        assert!(taken <= 32, "{unit:?}: {taken} chunks of 64 KiB were kept");
        let mut stream = ChatStream::new();
        assert!((0..64).any(|_| stream.push(chunk.as_bytes()).is_err()), "{unit:?}");
        let mut stream = MessageStream::new();
        assert!((0..64).any(|_| stream.push(chunk.as_bytes()).is_err()), "{unit:?}");
    }
}

#[test]
fn endless_small_events_take_no_memory() {
    let mut decoder = SseDecoder::new();
    for _ in 0..1000 {
        assert_eq!(decoder.push(": ping\n\n".repeat(1000).as_bytes()).unwrap(), []);
    }
    assert!(format!("{decoder:?}").len() < 1000);
}
