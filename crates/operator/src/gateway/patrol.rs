//! A light look at the gateways' pods several times in a period: what users met is told before the period is over. It
//! asks nobody but the pods, at addresses that are known, and writes nothing; whom its news concern are woken.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};

use crate::context::Context;
use crate::session::GatewayKey;
use crate::watches::Router;

/// Looks in a period.
const LOOKS: u32 = 4;
/// Gateways are spread over the time between two looks.
const SLOTS: u32 = 8;
/// Gateways that are asked at a time.
const AT_ONCE: usize = 8;
/// Where somebody chose a very short period.
const SHORTEST: Duration = Duration::from_millis(50);

/// Goes on until the task is dropped.
pub(crate) async fn run(ctx: Arc<Context>, router: Router) -> Infallible {
    let pause = (ctx.resync / LOOKS / SLOTS).max(SHORTEST);
    let mut slot = 0;
    loop {
        tokio::time::sleep(pause).await;
        slot = (slot + 1) % SLOTS;
        let due: Vec<GatewayKey> = ctx.lookout.known().into_iter().filter(|key| slot_of(key) == slot).collect();
        let (ctx, router) = (&ctx, &router);
        stream::iter(due)
            .for_each_concurrent(AT_ONCE, |key| async move {
                let news = ctx.lookout.news(&key, &ctx.http).await;
                if !news.models.is_empty() {
                    router.news_of_models(&key, &news.models).await;
                }
                if news.refusals {
                    router.news_of_gateway(&key);
                }
            })
            .await;
    }
}

fn slot_of(key: &GatewayKey) -> u32 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    u32::try_from(hasher.finish() % u64::from(SLOTS)).unwrap_or_default()
}
