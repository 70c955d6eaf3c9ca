//! Anthropic's stream under any cut and any bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics to fail")]

use duo_protocol::anthropic::{MessageStream, parse_answer};
use duo_protocol::model::{ModelEvent, UpstreamFailure};
use proptest::prelude::*;

const STREAM: &str = include_str!("providers/anthropic_stream.sse");

fn read(pieces: impl Iterator<Item = Vec<u8>>) -> Result<Vec<ModelEvent>, UpstreamFailure> {
    let mut reader = MessageStream::new();
    let mut out = Vec::new();
    for piece in pieces {
        out.extend(reader.push(&piece)?);
    }
    out.extend(reader.finish()?);
    Ok(out)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_not_matter_where_the_stream_is_cut(size in 1..400_usize) {
        let whole = read(std::iter::once(STREAM.as_bytes().to_vec())).unwrap();
        prop_assert_eq!(read(STREAM.as_bytes().chunks(size).map(<[u8]>::to_vec)).unwrap(), whole);
    }

    #[test]
    fn any_bytes_are_a_failure(bytes in prop::collection::vec(any::<u8>(), 0..600), size in 1..50_usize) {
        prop_assert!(read(bytes.chunks(size).map(<[u8]>::to_vec)).is_err());
        prop_assert!(parse_answer(&bytes).is_err());
    }

    #[test]
    fn a_changed_byte_never_makes_a_stream_end_without_its_end(at in 0..STREAM.len(), byte in any::<u8>()) {
        let mut bytes = STREAM.as_bytes().to_vec();
        bytes[at] = byte;
        if let Ok(events) = read(std::iter::once(bytes)) {
            let stopped = events.iter().any(|event| matches!(event, ModelEvent::Stop(_)));
            prop_assert!(stopped);
        }
    }
}
