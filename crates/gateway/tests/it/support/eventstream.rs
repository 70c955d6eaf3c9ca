//! Frames of `application/vnd.amazon.eventstream`, written as AWS describes them and nothing checked: total length,
//! header length, checksum of both, headers (all strings), payload, checksum of everything.

use bytes::Bytes;

fn header(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(u8::try_from(name.len()).unwrap());
    out.extend(name.as_bytes());
    out.push(7);
    out.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    out.extend(value.as_bytes());
}

/// One frame.
pub fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        self::header(&mut block, name, value);
    }
    let total = u32::try_from(16 + block.len() + payload.len()).unwrap();
    let mut out = Vec::new();
    out.extend(total.to_be_bytes());
    out.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out.extend(block);
    out.extend(payload);
    out.extend(crc32fast::hash(&out).to_be_bytes());
    out
}

/// An event of Bedrock's.
pub fn event(kind: &str, payload: &serde_json::Value) -> Vec<u8> {
    frame(
        &[(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")],
        payload.to_string().as_bytes(),
    )
}

/// An exception inside the stream.
pub fn exception(kind: &str, message: &str) -> Vec<u8> {
    frame(
        &[(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")],
        serde_json::json!({ "message": message }).to_string().as_bytes(),
    )
}

/// A whole answer of ConverseStream.
pub fn answer(events: &[(&str, serde_json::Value)]) -> Bytes {
    events.iter().flat_map(|(kind, payload)| event(kind, payload)).collect::<Vec<u8>>().into()
}
