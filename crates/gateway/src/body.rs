//! Request bodies: at most so large, here in time, and all of them together within the memory that there is for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::answer::{self, Answer};
use crate::listen::{Counts, Limits};

/// Largest body taken. GitLab's own limits of all fields together stay below it but for a chat with very many files.
pub const MAX_BODY: usize = 10 << 20;
/// Least room that a body is given at once when it comes in pieces.
const PIECE: usize = 16 << 10;
/// Memory for all bodies, at most and at least.
const MEMORY: (usize, usize) = (256 << 20, 32 << 20);

/// The memory for the bodies of all requests. Nobody waits for it: requests that find it full are better off with
/// another pod, or a moment later.
#[derive(Clone)]
pub struct Memory(Arc<Room>);

struct Room {
    used: AtomicUsize,
    limit: usize,
    counts: Counts,
}

impl Memory {
    /// For bodies of `limit` bytes together.
    pub fn new(limit: usize, counts: Counts) -> Self {
        Self(Arc::new(Room { used: AtomicUsize::new(0), limit, counts }))
    }

    fn hold(&self) -> Held {
        Held { room: self.0.clone(), bytes: 0 }
    }
}

/// An eighth of the memory that this process may have (a body is there several times while it is read and a prompt
/// made of it), within bounds.
pub fn memory_for_bodies() -> usize {
    let limit = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<usize>().ok());
    share(limit)
}

fn share(limit: Option<usize>) -> usize {
    limit.map_or(MEMORY.0, |limit| (limit / 8).clamp(MEMORY.1, MEMORY.0))
}

/// A body's part of the memory, until it is dropped.
pub struct Held {
    room: Arc<Room>,
    bytes: usize,
}

impl Held {
    /// Takes as much more as is needed for `bytes`; false when there is not enough.
    fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let room = &self.room;
        let fits = |used: usize| used.checked_add(more).filter(|used| *used <= room.limit);
        if more > 0 && room.used.fetch_update(Relaxed, Relaxed, fits).is_err() {
            room.counts.bodies_refused.inc();
            return false;
        }
        self.bytes += more;
        room.counts.body_bytes.inc_by(i64::try_from(more).unwrap_or_default());
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Relaxed);
        self.room.counts.body_bytes.dec_by(i64::try_from(self.bytes).unwrap_or_default());
    }
}

/// Reads a JSON body. A client that waits for `100 Continue` gets it when the first byte is asked for, so not before a
/// refusal that its headers alone bring about.
///
/// # Errors
/// The answer to a body that is too large (413), too slow (408), broken off (400), not JSON (422), or too much for now
/// (503).
pub async fn read(
    headers: &HeaderMap,
    mut body: Incoming,
    limits: &Limits,
    memory: &Memory,
) -> Result<(Bytes, Held), Box<Answer>> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let declared = match declared.map(usize::try_from) {
        Some(Ok(length)) if length <= MAX_BODY => Some(length),
        None => None,
        Some(_) => return Err(too_large()),
    };
    if !is_json(headers) {
        return Err(Box::new(answer::invalid(&duo_protocol::contract::Invalid::not_json())));
    }
    let mut held = memory.hold();
    if !held.grow_to(declared.unwrap_or_default()) {
        return Err(full());
    }
    let start = Instant::now();
    let end = start + limits.body;
    let (mut first, mut gathered) = (Bytes::new(), BytesMut::new());
    // made anew for each piece, but it only costs something where a piece is waited for
    let mut pause = start + limits.body_pause;
    loop {
        let piece = match timeout_at(pause.min(end), body.frame()).await {
            Err(_) => return Err(refuse(StatusCode::REQUEST_TIMEOUT, "The request body took too long")),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(refuse(StatusCode::BAD_REQUEST, "The request body broke off")),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => data,
                // trailers
                Err(_) => continue,
            },
        };
        let total = first.len() + gathered.len() + piece.len();
        if total > MAX_BODY {
            return Err(too_large());
        }
        if !held.grow_to(total) {
            return Err(full());
        }
        if total == piece.len() {
            // most bodies are one piece, which is taken as it is
            first = piece;
        } else {
            if gathered.is_empty() {
                gathered.reserve(declared.unwrap_or_default().clamp(total, total.max(PIECE) * 2));
                gathered.extend_from_slice(&std::mem::take(&mut first));
            }
            gathered.extend_from_slice(&piece);
        }
        pause = Instant::now() + limits.body_pause;
    }
    Ok((if gathered.is_empty() { first } else { gathered.freeze() }, held))
}

fn refuse(status: StatusCode, text: &str) -> Box<Answer> {
    Box::new(answer::detail(status, text))
}

fn too_large() -> Box<Answer> {
    refuse(StatusCode::PAYLOAD_TOO_LARGE, &format!("The request body is too large: at most {MAX_BODY} bytes are taken"))
}

fn full() -> Box<Answer> {
    let text = "The gateway holds as many request bodies as its memory allows; try again in a moment";
    let mut answer = refuse(StatusCode::SERVICE_UNAVAILABLE, text);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(1));
    answer
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let Some((main, sub)) = kind.split_once('/') else { return false };
    let suffix = sub.len().checked_sub("+json".len()).and_then(|at| sub.get(at..));
    main.eq_ignore_ascii_case("application")
        && (sub.eq_ignore_ascii_case("json") || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_the_memory_and_give_it_back() {
        let memory = Memory::new(100, Counts::default());
        let (mut one, mut two) = (memory.hold(), memory.hold());
        assert!(one.grow_to(60) && one.grow_to(50) && two.grow_to(40));
        assert!(!two.grow_to(41) && !memory.hold().grow_to(1) && memory.hold().grow_to(0));
        assert_eq!(memory.0.counts.body_bytes.get(), 100);
        drop(one);
        assert!(two.grow_to(100));
        drop(two);
        assert_eq!((memory.0.used.load(Relaxed), memory.0.counts.body_bytes.get()), (0, 0));
        assert_eq!(memory.0.counts.bodies_refused.get(), 2);
    }

    #[test]
    fn the_memory_for_bodies_follows_the_containers() {
        for (limit, share_of_it) in
            [(None, 256 << 20), (Some(512 << 20), 64 << 20), (Some(64 << 20), 32 << 20), (Some(usize::MAX), 256 << 20)]
        {
            assert_eq!(share(limit), share_of_it);
        }
    }

    #[test]
    fn json_is_told_by_its_content_type() {
        for (kind, json) in [
            (Some("application/json"), true),
            (Some("Application/JSON; charset=utf-8"), true),
            (Some("application/problem+json"), true),
            (Some("application/+json"), true),
            (Some("text/json"), false),
            (Some("application/jsonp"), false),
            (Some("json"), false),
            (Some("application/"), false),
            (None, false),
        ] {
            let headers = kind.map(|kind| (CONTENT_TYPE, HeaderValue::from_static(kind))).into_iter().collect();
            assert_eq!(is_json(&headers), json, "{kind:?}");
        }
    }
}
