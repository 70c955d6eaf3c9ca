//! What has not changed is looked at again: wakes all that belongs to a gateway at its moments ([`crate::rhythm`]).
//!
//! One clock for all. With a timer for each object the controllers would remember a kibibyte of each of thousands.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use duo_api::AIGateway;

use crate::context::Context;
use crate::session::key;
use crate::start;
use crate::watches::Router;

/// Steps of the clock in a period.
const STEPS: u32 = 100;
/// Where somebody chose a very short period.
const SHORTEST: Duration = Duration::from_millis(20);
/// Where the period is long: gateways that have the same moment by chance are spread over it no further.
const LONGEST: Duration = Duration::from_secs(1);

/// Goes on until the task is dropped.
pub(crate) async fn run(ctx: Arc<Context>, router: Router) -> Infallible {
    let step = (ctx.resync / STEPS).clamp(SHORTEST, LONGEST);
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(step).await;
        let now = Instant::now();
        for gateway in ctx.stores.gateways.state() {
            let (namespace, name) = key(&gateway);
            if is_worked_on(&gateway, &ctx) && ctx.sessions.rhythm(&namespace, &name).falls_between(last, now) {
                router.wake_all_of(&namespace, &name).await;
            }
        }
        last = now;
    }
}

/// One that nobody has looked at yet comes up in its turn ([`crate::start`]).
fn is_worked_on(gateway: &AIGateway, ctx: &Context) -> bool {
    !gateway.spec.suspend && !start::is_new(gateway, ctx) && ctx.shard.works_on(Some(gateway))
}
