//! The stream of a watch: passed on event by event, each of them numbered.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use serde_json::{Value, json};

use super::exchange::Cut;
use super::{Fault, Named, Shared, answers, lock};

/// Passes a watch on. `what` is the watched resource.
pub(super) fn events(
    upstream: impl Stream<Item = reqwest::Result<Bytes>> + Send + Unpin + 'static,
    what: String,
    shared: Arc<Shared>,
) -> impl Stream<Item = Result<Bytes, Cut>> + Send {
    let state = State { upstream, what, shared, buffer: BytesMut::new(), ended: false };
    futures::stream::unfold(state, |mut state| async move {
        let item = state.next().await?;
        Some((item, state))
    })
}

struct State<S> {
    upstream: S,
    what: String,
    shared: Arc<Shared>,
    buffer: BytesMut,
    ended: bool,
}

impl<S: Stream<Item = reqwest::Result<Bytes>> + Unpin> State<S> {
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        loop {
            if self.ended {
                return None;
            }
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1).freeze();
                match self.event(&line) {
                    None => return Some(Ok(line)),
                    Some(Fault::EventLost) => {}
                    Some(Fault::StreamGone) => {
                        self.ended = true;
                        let gone = json!({"type": "ERROR", "object": answers::status(410, "Expired")});
                        return Some(Ok(Bytes::from(format!("{gone}\n"))));
                    }
                    Some(_) => {
                        self.ended = true;
                        return Some(Err(Cut));
                    }
                }
                continue;
            }
            match self.upstream.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(_)) => {
                    self.ended = true;
                    return Some(Err(Cut));
                }
                None => {
                    self.ended = true;
                    let rest = self.buffer.split().freeze();
                    return (!rest.is_empty()).then_some(Ok(rest));
                }
            }
        }
    }

    /// Takes note of an event; bookmarks are none.
    fn event(&self, line: &[u8]) -> Option<Fault> {
        let kind =
            serde_json::from_slice::<Value>(line).ok().and_then(|event| event["type"].as_str().map(str::to_owned))?;
        if kind == "BOOKMARK" {
            return None;
        }
        let name = format!("event {kind} {}", self.what);
        let named = Named { name, write: false, list: false, watch: None };
        lock(&self.shared.plan).meet(named, true).1
    }
}
