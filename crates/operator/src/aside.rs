//! Setting a reconcile aside: one that would wait long for somebody else gives its place to others and begins anew later.
//!
//! It is dropped where it waits. A reconcile may be dropped anywhere, as a crash would: what it wrote is found again. It
//! is set aside only where nothing of its own is under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

tokio::task_local! {
    static ASIDE: Arc<Notify>;
}

/// Runs a reconcile; `None` when it was set aside.
pub(crate) async fn run<F: Future>(reconcile: F) -> Option<F::Output> {
    let aside = Arc::new(Notify::new());
    tokio::select! {
        biased;
        output = ASIDE.scope(Arc::clone(&aside), reconcile) => Some(output),
        () = aside.notified() => None,
    }
}

/// Waits; after `patience` the reconcile that waits is set aside. Outside of one it waits on.
pub(crate) async fn patiently<F: Future>(patience: Duration, waiting: F) -> F::Output {
    tokio::pin!(waiting);
    if let Ok(output) = tokio::time::timeout(patience, &mut waiting).await {
        return output;
    }
    match ASIDE.try_with(Arc::clone) {
        Ok(aside) => {
            aside.notify_one();
            // never goes on: it is dropped
            std::future::pending().await
        }
        Err(_) => waiting.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn who_waits_long_is_set_aside_and_who_does_not_is_not() {
        let slow = || tokio::time::sleep(Duration::from_millis(50));
        assert_eq!(run(async { 1 }).await, Some(1));
        assert_eq!(run(patiently(PATIENCE, async { 2 })).await, Some(2));
        assert_eq!(run(patiently(PATIENCE, slow())).await, None);
        assert_eq!(run(slow()).await, Some(()), "only waiting patiently counts");
        assert_eq!(
            patiently(PATIENCE, async {
                slow().await;
                3
            })
            .await,
            3
        );
    }
}
