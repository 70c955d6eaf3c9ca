//! Lets go of what is remembered of objects that are gone. Each deletion does so at its end; here is what passed it by: a
//! finalizer that somebody took off, a conversation that was opened once more while its gateway went. Over a year these
//! would add up, and a conversation holds a token.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use duo_runtime::Uid;
use kube::Resource;

use crate::context::Context;
use crate::session::{GatewayKey, key};

/// How often.
const PAUSE: Duration = Duration::from_secs(60);

/// Goes on until the task is dropped.
pub(crate) async fn run(ctx: Arc<Context>) -> Infallible {
    let mut known = Known::default();
    loop {
        tokio::time::sleep(PAUSE).await;
        for gateway in known.gone(ctx.stores.gateways.state().iter().map(|gateway| key(gateway)).collect()) {
            ctx.sessions.forget(&gateway).await;
            ctx.lookout.forget(&gateway).await;
        }
        let gateways = uids(ctx.stores.gateways.state());
        ctx.pruned.keep(&gateways);
        ctx.shard.keep(&gateways);
        let models = uids(ctx.stores.models.state());
        ctx.attempts.keep(&models);
        ctx.followed.keep(&models);
        let all: HashSet<Uid> =
            gateways.into_iter().chain(models).chain(uids(ctx.stores.assignments.state())).collect();
        ctx.contests.keep(&all);
        ctx.waiting.keep(&all);
        ctx.own.keep(&all);
    }
}

fn uids<K: Resource>(objects: Vec<Arc<K>>) -> HashSet<Uid> {
    objects.iter().map(|object| Uid::of(object.as_ref())).collect()
}

/// The gateways that there were the last two times.
#[derive(Default)]
struct Known([HashSet<GatewayKey>; 2]);

impl Known {
    /// Those that there are no more. Each is told twice: what was under way when it went may have remembered it again.
    fn gone(&mut self, now: HashSet<GatewayKey>) -> Vec<GatewayKey> {
        let [before, last] = std::mem::take(&mut self.0);
        let gone = before.union(&last).filter(|gateway| !now.contains(*gateway)).cloned().collect();
        self.0 = [last, now];
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_is_gone_is_forgotten_twice_and_one_that_came_back_is_not() {
        let set = |names: &[&str]| names.iter().map(|name| ("n".to_owned(), (*name).to_owned())).collect();
        let mut known = Known::default();
        let mut gone = |names: &[&str]| {
            let mut gone: Vec<String> = known.gone(set(names)).into_iter().map(|(_, name)| name).collect();
            gone.sort();
            gone
        };
        let none: [&str; 0] = [];
        assert_eq!(gone(&["a", "b", "c"]), none);
        assert_eq!(gone(&["a"]), ["b", "c"]);
        assert_eq!(gone(&["a", "c"]), ["b"]);
        assert_eq!(gone(&["a", "c"]), none);
    }
}
