//! The frames of `application/vnd.amazon.eventstream`, written from the format's description: total length (4 bytes),
//! header length (4), CRC-32 of these 8 bytes, headers (name length 1, name, type 1 byte = 7 for a string, value
//! length 2, value), payload, CRC-32 of all before. Numbers are big-endian. It must not know what frames mean.

use bytes::{BufMut, Bytes, BytesMut};

/// The header value type of a string.
const STRING: u8 = 7;
/// Total length, header length and their checksum.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// An event frame of `:event-type` with a JSON payload.
pub fn event(event_type: &str, payload: &serde_json::Value) -> Bytes {
    json_frame("event", ":event-type", event_type, payload)
}

/// An exception frame of `:exception-type` with a JSON payload.
pub fn exception(exception_type: &str, payload: &serde_json::Value) -> Bytes {
    json_frame("exception", ":exception-type", exception_type, payload)
}

fn json_frame(message_type: &str, type_header: &str, type_value: &str, payload: &serde_json::Value) -> Bytes {
    frame(
        &[(type_header, type_value), (":content-type", "application/json"), (":message-type", message_type)],
        payload.to_string().as_bytes(),
    )
}

/// A frame of string headers and a payload. Header names are at most 255 bytes and values at most 65,535.
pub fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    let mut encoded = BytesMut::new();
    for (name, value) in headers {
        encoded.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        encoded.put_slice(name.as_bytes());
        encoded.put_u8(STRING);
        encoded.put_u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
        encoded.put_slice(value.as_bytes());
    }
    let total = PRELUDE + encoded.len() + payload.len() + CHECKSUM;
    let mut frame = BytesMut::with_capacity(total);
    frame.put_u32(u32::try_from(total).unwrap_or(u32::MAX));
    frame.put_u32(u32::try_from(encoded.len()).unwrap_or(u32::MAX));
    frame.put_u32(crc32fast::hash(&frame));
    frame.put_slice(&encoded);
    frame.put_slice(payload);
    frame.put_u32(crc32fast::hash(&frame));
    frame.freeze()
}

/// The frame with its last checksum wrong.
pub fn with_wrong_checksum(frame: &Bytes) -> Bytes {
    let mut broken = BytesMut::from(&frame[..]);
    if let Some(last) = broken.last_mut() {
        *last ^= 0xff;
    }
    broken.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message without headers and payload, as in the vectors that ship with AWS's SDKs (`empty_message`).
    #[test]
    fn an_empty_frame_is_the_published_vector() {
        assert_eq!(hex::encode(frame(&[], b"")), "000000100000000005c248eb7d98c8ff");
    }

    #[test]
    fn lengths_and_headers_are_where_the_format_puts_them() {
        let frame = event("messageStop", &serde_json::json!({"stopReason": "end_turn"}));
        let total = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        assert_eq!(total, frame.len());
        assert_eq!(&frame[12..25], b"\x0b:event-type\x07");
        assert_eq!(&frame[25..38], b"\x00\x0bmessageStop");
    }

    #[test]
    fn a_wrong_checksum_changes_the_last_byte_only() {
        let good = event("a", &serde_json::json!({}));
        let bad = with_wrong_checksum(&good);
        assert_eq!(good[..good.len() - 1], bad[..bad.len() - 1]);
        assert_ne!(good, bad);
    }
}
