//! Signs of life in a stream of events: a comment whenever nothing else went out for a while, so that proxies between the
//! model and the editor do not take a model that thinks for a connection that is dead. GitLab's own gateway sends one
//! every 15 s, too.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::time::{Instant, sleep};

use crate::answer::BrokenOff;

/// So long nothing goes out before a ping does.
pub(super) const SILENCE: Duration = Duration::from_secs(15);
/// A comment: clients of server-sent events pass it over.
const PING: &[u8] = b": ping\r\n\r\n";

/// The stream with pings in its silences.
pub(super) fn pinged(
    events: impl Stream<Item = Result<Bytes, BrokenOff>> + Send,
    silence: Duration,
) -> impl Stream<Item = Result<Bytes, BrokenOff>> + Send {
    let state = (Box::pin(events), Box::pin(sleep(silence)), Instant::now());
    stream::unfold(state, move |(mut events, mut timer, mut last)| async move {
        loop {
            tokio::select! {
                biased;
                event = events.next() => {
                    last = Instant::now();
                    return event.map(|event| (event, (events, timer, last)));
                }
                () = &mut timer => {
                    let now = Instant::now();
                    let silent = now.saturating_duration_since(last) >= silence;
                    if silent {
                        last = now;
                    }
                    // looked at when it goes off, so that a piece costs no new timer
                    timer.as_mut().reset(last + silence);
                    if silent {
                        return Some((Ok(Bytes::from_static(PING)), (events, timer, last)));
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(piece: Option<Result<Bytes, BrokenOff>>) -> Option<String> {
        piece.map(|piece| String::from_utf8(piece.ok().unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_silence_is_pinged_again_and_again_until_a_piece_or_the_end_comes() {
        let (say, said) = tokio::sync::mpsc::channel::<&'static str>(4);
        let pieces = stream::unfold(said, |mut said| async move {
            let piece = said.recv().await?;
            Some((Ok(Bytes::from(piece)), said))
        });
        let mut seen = Box::pin(pinged(pieces, Duration::from_millis(5)));
        for piece in ["one", "two"] {
            for _ in 0..3 {
                assert_eq!(text(seen.next().await).unwrap(), ": ping\r\n\r\n");
            }
            say.send(piece).await.unwrap();
            while text(seen.next().await).unwrap() != piece {}
        }
        drop(say);
        while text(seen.next().await).is_some() {}
    }

    #[tokio::test]
    async fn pieces_that_come_in_time_go_out_as_they_are() {
        let pieces = ["a", "b", "c"].map(|piece| Ok(Bytes::from(piece)));
        let seen: Vec<_> =
            pinged(stream::iter(pieces), Duration::from_secs(3600)).map(|one| text(Some(one))).collect().await;
        assert_eq!(seen, ["a", "b", "c"].map(|piece| Some(piece.to_owned())));
    }
}
