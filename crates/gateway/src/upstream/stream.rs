//! What holds for every model stream: it has a first item before it counts as begun, it ends in time, and one that
//! ends without the model's own end is broken, never a short answer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use duo_protocol::model::{ModelAnswer, ModelEvent, UpstreamFailure};
use futures::{Stream, StreamExt, stream};
use tokio::time::{Instant, Sleep, sleep_until};

use super::ModelStream;

/// Waits for the first item, puts the deadline on the rest and adds the check of the end.
pub(super) async fn started(mut inner: ModelStream, deadline: Instant) -> Result<ModelStream, UpstreamFailure> {
    let first = match inner.next().await {
        Some(first) => first?,
        None => return Err(cut_off()),
    };
    let stopped = matches!(first, ModelEvent::Stop(_));
    Ok(Box::pin(Started { first: Some(first), inner: Some(inner), stopped, deadline: Box::pin(sleep_until(deadline)) }))
}

struct Started {
    first: Option<ModelEvent>,
    /// `None` behind the end.
    inner: Option<ModelStream>,
    stopped: bool,
    /// One timer for all pieces: each piece would register and remove its own.
    deadline: Pin<Box<Sleep>>,
}

impl Stream for Started {
    type Item = Result<ModelEvent, UpstreamFailure>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let last = match inner.as_mut().poll_next(cx) {
            Poll::Ready(Some(Ok(event))) => {
                this.stopped |= matches!(event, ModelEvent::Stop(_));
                return Poll::Ready(Some(Ok(event)));
            }
            Poll::Ready(Some(Err(failure))) => Some(broken(failure)),
            Poll::Ready(None) => (!this.stopped).then(cut_off),
            Poll::Pending => {
                ready!(this.deadline.as_mut().poll(cx));
                Some(UpstreamFailure::StreamBroken { reason: "it did not end in time".to_owned() })
            }
        };
        this.inner = None;
        Poll::Ready(last.map(Err))
    }
}

/// A whole answer as a stream.
pub(super) fn whole(answer: ModelAnswer) -> ModelStream {
    let mut events = vec![Ok(ModelEvent::Text(answer.text)), Ok(ModelEvent::Stop(answer.stop))];
    events.extend(answer.usage.map(|usage| Ok(ModelEvent::Usage(usage))));
    Box::pin(stream::iter(events))
}

fn cut_off() -> UpstreamFailure {
    UpstreamFailure::StreamBroken { reason: "it ended before the answer was complete".to_owned() }
}

/// Whatever happens after the first piece is a broken stream.
fn broken(failure: UpstreamFailure) -> UpstreamFailure {
    match failure {
        failure @ UpstreamFailure::StreamBroken { .. } => failure,
        other => UpstreamFailure::StreamBroken { reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use duo_protocol::model::StopReason;

    use super::*;

    fn events(items: Vec<Result<ModelEvent, UpstreamFailure>>) -> ModelStream {
        Box::pin(stream::iter(items))
    }

    fn text(piece: &str) -> Result<ModelEvent, UpstreamFailure> {
        Ok(ModelEvent::Text(piece.to_owned()))
    }

    async fn collect(mut events: ModelStream) -> Result<ModelAnswer, UpstreamFailure> {
        let (mut text, mut stop, mut usage) = (String::new(), StopReason::EndTurn, None);
        while let Some(event) = events.next().await {
            match event? {
                ModelEvent::Text(piece) => text.push_str(&piece),
                ModelEvent::Stop(reason) => stop = reason,
                ModelEvent::Usage(counts) => usage = Some(counts),
            }
        }
        Ok(ModelAnswer { text, stop, usage })
    }

    async fn run(items: Vec<Result<ModelEvent, UpstreamFailure>>) -> Result<ModelAnswer, UpstreamFailure> {
        let deadline = Instant::now() + std::time::Duration::from_secs(3600);
        collect(started(events(items), deadline).await?).await
    }

    #[tokio::test]
    async fn a_stream_that_ends_without_a_stop_is_broken_and_not_a_short_answer() {
        let complete = run(vec![text("a"), text("b"), Ok(ModelEvent::Stop(StopReason::EndTurn))]).await.unwrap();
        assert_eq!(complete.text, "ab");
        for items in [vec![text("a")], vec![]] {
            assert!(matches!(run(items).await, Err(UpstreamFailure::StreamBroken { .. })));
        }
    }

    #[tokio::test]
    async fn a_failure_as_first_item_keeps_its_kind_and_later_ones_are_broken_streams() {
        let throttled = || Err(UpstreamFailure::Throttled { retry_after: None });
        assert_eq!(run(vec![throttled()]).await, Err(UpstreamFailure::Throttled { retry_after: None }));
        assert!(matches!(run(vec![text("a"), throttled()]).await, Err(UpstreamFailure::StreamBroken { .. })));
    }

    #[tokio::test]
    async fn a_stream_that_stalls_is_ended_by_the_deadline() {
        let stalled: ModelStream = Box::pin(stream::iter(vec![text("a")]).chain(stream::pending()));
        let deadline = Instant::now() + std::time::Duration::from_millis(20);
        let failure = collect(started(stalled, deadline).await.unwrap()).await.unwrap_err();
        assert!(matches!(failure, UpstreamFailure::StreamBroken { reason } if reason.contains("in time")));
    }
}
