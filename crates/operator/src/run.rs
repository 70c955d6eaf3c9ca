//! The running operator: servers, election, watches, controllers, orderly stop.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use duo_core::shards::{Scope, WHOLE};
use duo_runtime::apply::Applier;
use duo_runtime::backoff::{Backoff, Curve};
use duo_runtime::lease::{Config as LeaseConfig, Election, Leadership};
use duo_runtime::metrics::Metrics;
use duo_runtime::{CancellationToken, admin, client, events, shutdown};
use futures::StreamExt;
use kube::runtime::Controller;
use kube::runtime::controller::{Action, Config as ControllerConfig};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::DropGuard;

use crate::cli::RunArgs;
use crate::context::Context;
use crate::error::{Error, Next};
use crate::fresh::Fresh;
use crate::own_writes::OwnWrites;
use crate::pace::Paces;
use crate::report::Reporter;
use crate::session::Sessions;
use crate::shard::{self, Shard};
use crate::{aside, assignment, gateway, housekeeping, model, rounds, watches};

/// Name of the Lease, and of this controller in events and metrics.
pub(crate) const NAME: &str = "duo-operator";
/// Objects of a kind that are worked on at the same time. Most of the time of one is waiting; calls to one GitLab are
/// bounded by its own gate.
const CONCURRENCY: u16 = 32;
/// After a race with another writer.
const SOON: Duration = Duration::from_millis(300);
/// No reconcile takes longer: each of its calls has a limit, and there are not that many.
const LONGEST: Duration = Duration::from_secs(600);
/// A runtime that does not get to this in time is stuck.
const BEAT: Duration = Duration::from_secs(5);
/// Silence after which `/livez` fails: several times the longest step between two signs of life.
const SILENCE: Duration = Duration::from_secs(60);
/// Our kinds are listed anew after this many resync periods.
const RELIST_PERIODS: u32 = 12;
/// Child objects that were as declared are not read again for so long unless a watch tells a change of them: a gateway that
/// comes up is looked at a dozen times.
const UNREAD: Duration = Duration::from_secs(15);
/// Changes of one object within this time are one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// Why the operator stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The cluster cannot be reached or the kubeconfig is unusable.
    #[error(transparent)]
    Kube(#[from] duo_runtime::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another with {flag}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// Signals cannot be received.
    #[error("cannot receive signals: {0}")]
    Signal(std::io::Error),
    /// The HTTP client for gateway pods cannot be made.
    #[error("cannot make an HTTP client: {0}")]
    Http(reqwest::Error),
    /// The other shards would take it for dead.
    #[error("a shard needs its lease, by which the others know that it lives; leave out --leader-elect=false")]
    ShardWithoutLease,
    /// Another replica took over.
    #[error("the lease was lost; ending, so that two replicas never write")]
    LeaseLost,
    /// A watch or a controller ended by itself, which is a fault.
    #[error("{0} ended unexpectedly")]
    TaskEnded(String),
}

/// Runs until a signal arrives or something that cannot be mended happens.
///
/// # Errors
/// See [`RunError`]; the process should end with a non-zero code.
pub async fn run(args: RunArgs) -> Result<(), RunError> {
    let stop = shutdown::on_signal().map_err(RunError::Signal)?;
    let kube = client::connect().await?;
    // A renewal of the lease waits for nothing else.
    let lease_client = client::connect().await?;
    let metrics = Metrics::new("duo_operator");
    let health = admin::Health::new();
    health.set_ready("caches", false);
    let listen = |address, flag| move |source| RunError::Listen { address, flag, source };
    let servers = CancellationToken::new();
    let _servers_end: DropGuard = servers.clone().drop_guard();
    admin::serve_health(args.health_addr, health.clone(), servers.clone())
        .await
        .map_err(listen(args.health_addr, "--health-addr"))?;
    admin::serve_metrics(args.metrics_addr, metrics.clone(), servers.clone())
        .await
        .map_err(listen(args.metrics_addr, "--metrics-addr"))?;

    tokio::spawn(beat(health.clone(), servers.clone()));

    // A standby is ready too: it answers, and an update of the Deployment must not wait for the lease.
    let leases = args.leader_namespace.clone().unwrap_or_else(|| kube.default_namespace().to_owned());
    let shard_name = args.shard_name.as_deref().unwrap_or(WHOLE);
    let scope = Scope::new(args.shard_selector.clone(), args.watch_namespace.clone());
    if args.shard_name.is_some() && !args.leader_elect {
        return Err(RunError::ShardWithoutLease);
    }
    let election = args.leader_elect.then(|| {
        let config = LeaseConfig::new(&leases, &shard::lease_name(shard_name));
        let annotations = shard::lease_annotations(&scope);
        let health = health.clone();
        let alive = Arc::new(move || health.beat("election", SILENCE));
        Election::start(lease_client, LeaseConfig { alive: Some(alive), annotations, ..config }, stop.clone())
    });
    let leadership = election.as_ref().map_or_else(Leadership::always, Election::leadership);
    if election.is_some() {
        health.set_ready("caches", true);
    }
    // A standby keeps its caches current, so that it works a moment after it has the lease.
    let mut watching = JoinSet::new();
    let (work, works) = tokio::sync::watch::channel(false);
    // Each period all is read again, whatever the watches told.
    let resync = Duration::from_secs(args.resync);
    let applier = Applier::new(kube.clone(), NAME).trusting(UNREAD.min(resync / 2));
    let known = watches::Known { fresh: Fresh::new(kube.clone()), applier, own: OwnWrites::default() };
    let watches = watches::start(
        &kube,
        &known,
        &watches::Scope(args.watch_namespace.clone(), RELIST_PERIODS * resync),
        works,
        &mut watching,
    );
    let leads = tokio::select! {
        leads = leadership.wait_until_leader() => leads,
        () = stop.cancelled() => false,
        what = watching.join_next() => return Err(ended(what)),
    };
    let result = if leads {
        metrics.set_leader(true);
        let shard = Shard::new(shard_name, scope, kube.clone(), &leases);
        let lead = Lead { metrics: &metrics, health: &health, leadership, shard, watching, work };
        lead.run(&args, (kube, known), watches, stop).await
    } else {
        Ok(())
    };
    if let Some(election) = election {
        election.release().await;
    }
    result
}

/// Shows that the runtime gets to its tasks.
async fn beat(health: admin::Health, stop: CancellationToken) {
    while !stop.is_cancelled() {
        health.beat("runtime", SILENCE);
        tokio::time::sleep(BEAT).await;
    }
}

fn ended(what: Option<Result<&'static str, tokio::task::JoinError>>) -> RunError {
    RunError::TaskEnded(match what {
        Some(Ok(name)) => name.to_owned(),
        Some(Err(error)) => error.to_string(),
        None => "everything".to_owned(),
    })
}

/// What the leading replica works with.
struct Lead<'a> {
    metrics: &'a Metrics,
    health: &'a admin::Health,
    leadership: Leadership,
    shard: Shard,
    watching: JoinSet<&'static str>,
    /// From `true` on changes wake somebody.
    work: tokio::sync::watch::Sender<bool>,
}

impl Lead<'_> {
    async fn run(
        self,
        args: &RunArgs,
        (kube, known): (kube::Client, watches::Known),
        (stores, wakes, router): (watches::Stores, watches::Wakes, watches::Router),
        stop: CancellationToken,
    ) -> Result<(), RunError> {
        let Self { metrics, health, leadership, shard, mut watching, work } = self;
        tracing::info!(resync_seconds = args.resync, namespaces = ?args.watch_namespace, "leading");
        let calls = metrics.calls("gitlab");
        let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| NAME.to_owned());
        let resync = Duration::from_secs(args.resync);
        let watches::Known { fresh, applier, own } = known;
        let ctx = Arc::new(Context {
            applier,
            sessions: Sessions::new(
                fresh.clone(),
                Arc::new(move |call: duo_gitlab::CallOutcome| {
                    calls.observe(call.operation, call.result, call.duration)
                }),
                leadership.clone(),
                Paces::new(resync, args.gitlab_calls_per_hour),
                resync,
            )
            .of_shard(args.shard_name.as_deref().unwrap_or(WHOLE)),
            fresh,
            stores: stores.clone(),
            shard,
            reporter: Reporter::new(events::Publisher::new(kube.clone(), NAME, &instance), own.clone(), metrics),
            own,
            leadership: leadership.clone(),
            resync,
            patience: args.patience(),
            places: crate::places::Places::default(),
            contests: crate::contests::Contests::default(),
            attempts: crate::attempts::Attempts::default(),
            followed: crate::since::Since::default(),
            waiting: crate::turn::Waiting::default(),
            gateway_image: args.gateway_image.clone(),
            lookout: crate::gateway::Lookout::default(),
            // Pods are asked directly, never through a proxy, and lead nowhere else; no connection is kept, which would be
            // hundreds.
            http: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .pool_max_idle_per_host(0)
                .build()
                .map_err(RunError::Http)?,
            pods_assumed: false,
            pruned: gateway::Pruned::default(),
            kube,
        });
        let lost = leadership.lost();
        // All three caches first: a model must not be judged before its siblings and assignments are known.
        tokio::select! {
            () = async {
                let _ = futures::join!(
                    stores.gateways.wait_until_ready(),
                    stores.models.wait_until_ready(),
                    stores.assignments.wait_until_ready(),
                );
            } => {}
            () = stop.cancelled() => return Ok(()),
            () = lost.cancelled() => return Err(RunError::LeaseLost),
        }
        health.set_ready("caches", true);
        tracing::info!("caches are filled");
        // Changes wake from now on; what changed until now is woken with everything.
        let _nobody_else_listens = work.send(true);
        let patrol = gateway::patrol::run(Arc::clone(&ctx), router.clone());
        watching.spawn(async move { match patrol.await {} });
        let rounds = rounds::run(Arc::clone(&ctx), router.clone());
        watching.spawn(async move { match rounds.await {} });
        let kept = housekeeping::run(Arc::clone(&ctx));
        watching.spawn(async move { match kept.await {} });
        let start = crate::start::run(Arc::clone(&ctx), router);
        watching.spawn(async move {
            start.await;
            std::future::pending().await
        });

        let orphans = shard::watch_orphans(Arc::clone(&ctx), metrics.clone());
        watching.spawn(async move {
            orphans.await;
            "looking for gateways without a shard"
        });

        let mut controllers = JoinSet::new();
        controllers.spawn(control(
            stores.gateways,
            ReceiverStream::new(wakes.gateways),
            Driver::new("AIGateway", metrics, args.resync),
            Arc::clone(&ctx),
            stop.clone(),
            |object, ctx| async move { Box::pin(gateway::reconcile(object, &ctx)).await },
        ));
        controllers.spawn(control(
            stores.models,
            ReceiverStream::new(wakes.models),
            Driver::new("SelfHostedModel", metrics, args.resync),
            Arc::clone(&ctx),
            stop.clone(),
            |object, ctx| async move { model::reconcile(object, &ctx).await },
        ));
        controllers.spawn(control(
            stores.assignments,
            ReceiverStream::new(wakes.assignments),
            Driver::new("FeatureAssignment", metrics, args.resync),
            ctx,
            stop.clone(),
            |object, ctx| async move { assignment::reconcile(object, &ctx).await },
        ));

        tokio::select! {
            () = lost.cancelled() => return Err(RunError::LeaseLost),
            what = watching.join_next() => return Err(ended(what)),
            what = controllers.join_next(), if !stop.is_cancelled() => {
                if !stop.is_cancelled() {
                    return Err(ended(what));
                }
            }
        }
        // What is under way ends under the lease that it began with.
        while controllers.join_next().await.is_some() {}
        tracing::info!("stopped");
        Ok(())
    }
}

/// Waits grow to the resync period at most.
fn curve(resync: u64) -> Curve {
    Curve { initial: Duration::from_secs(1), cap: Duration::from_secs(resync.clamp(1, 300)) }
}

/// What surrounds each reconcile of a kind.
struct Driver<K: Resource<DynamicType = ()>> {
    kind: &'static str,
    metrics: Metrics,
    backoff: Backoff<ObjectRef<K>>,
}

async fn control<K, F, Fut>(
    store: Store<K>,
    wakes: impl futures::Stream<Item = ObjectRef<K>> + Send + 'static,
    driver: Driver<K>,
    ctx: Arc<Context>,
    stop: CancellationToken,
    reconcile: F,
) -> &'static str
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + serde::de::DeserializeOwned + 'static,
    F: Fn(Arc<K>, Arc<Context>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Next, Error>> + Send + 'static,
{
    let kind = driver.kind;
    let driver = Arc::new(driver);
    Controller::for_stream(futures::stream::pending(), store)
        .reconcile_on(wakes)
        .with_config(ControllerConfig::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(
            move |object, ctx| {
                let (driver, reconcile) = (Arc::clone(&driver), reconcile.clone());
                async move {
                    let running = driver.metrics.start(driver.kind);
                    let key = ObjectRef::from_obj(object.as_ref());
                    let names = (object.namespace().unwrap_or_default(), object.name_any());
                    let _place = ctx.places.take();
                    let reconcile = tokio::time::timeout(LONGEST, aside::run(reconcile(object, Arc::clone(&ctx))));
                    let action = match reconcile.await {
                        Ok(Some(Ok(next))) => driver.next(key, next, running),
                        Ok(Some(Err(error))) => driver.failed(key, &names, &error, running),
                        Ok(None) => driver.set_aside(running),
                        Err(_) => driver.failed(key, &names, &Error::TooLong(LONGEST), running),
                    };
                    Ok::<_, Infallible>(action)
                }
            },
            |_, error, _| match *error {},
            ctx,
        )
        .for_each(|_| std::future::ready(()))
        .await;
    kind
}

impl<K: Resource<DynamicType = ()>> Driver<K> {
    fn new(kind: &'static str, metrics: &Metrics, resync: u64) -> Self {
        Self { kind, metrics: metrics.clone(), backoff: Backoff::new(curve(resync)) }
    }

    fn next(&self, key: ObjectRef<K>, next: Next, running: duo_runtime::metrics::Running) -> Action {
        match next {
            Next::Backoff(asked) => {
                running.requeue();
                Action::requeue(self.backoff.failure(key, asked))
            }
            Next::BackoffOr(asked, after) => {
                running.requeue();
                Action::requeue(self.backoff.failure(key, asked).min(after))
            }
            Next::After(wait) => {
                running.success();
                self.backoff.success(&key);
                Action::requeue(wait)
            }
            Next::OnChange => {
                running.success();
                self.backoff.success(&key);
                Action::await_change()
            }
        }
    }

    /// It would have waited long for somebody else: no failure of its own.
    fn set_aside(&self, running: duo_runtime::metrics::Running) -> Action {
        running.requeue();
        Action::requeue(Duration::from_secs(1).mul_f64(1.0 + 0.5 * duo_runtime::backoff::random()))
    }

    fn failed(
        &self,
        key: ObjectRef<K>,
        names: &(String, String),
        error: &Error,
        running: duo_runtime::metrics::Running,
    ) -> Action {
        running.error(error.category());
        let wait = self.backoff.failure(key, error.retry_after());
        // The copy at hand was a moment old; by then it is not.
        let wait = if error.category() == "KubernetesConflict" { wait.min(SOON) } else { wait };
        // Races with other writers are daily business; they are told only when they go on.
        if error.category() == "KubernetesConflict" {
            tracing::debug!(kind = self.kind, namespace = names.0, name = names.1, %error, "came too late, trying again");
        } else {
            tracing::warn!(kind = self.kind, namespace = names.0, name = names.1, %error, retry_seconds = wait.as_secs_f32(), "reconcile failed");
        }
        Action::requeue(wait)
    }
}
