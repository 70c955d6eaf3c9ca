//! The running operator: servers, election, watches, controllers, orderly stop.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

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
use crate::report::Reporter;
use crate::session::Sessions;
use crate::{assignment, gateway, model, watches};

/// Name of the Lease, and of this controller in events and metrics.
pub(crate) const NAME: &str = "duo-operator";
/// Objects of a kind that are worked on at the same time.
const CONCURRENCY: u16 = 16;
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
    let metrics = Metrics::new("duo_operator");
    let health = admin::Health::new();
    health.set_ready("caches", false);
    let listen = |address, flag| move |source| RunError::Listen { address, flag, source };
    let servers = CancellationToken::new();
    let _servers_end: DropGuard = servers.clone().drop_guard();
    admin::serve_health(args.health_addr, health.clone(), servers.clone())
        .await
        .map_err(listen(args.health_addr, "--health-addr"))?;
    admin::serve_metrics(args.metrics_addr, metrics.clone(), servers)
        .await
        .map_err(listen(args.metrics_addr, "--metrics-addr"))?;

    // A standby is ready too: it answers, and an update of the Deployment must not wait for the lease.
    let election = args.leader_elect.then(|| {
        let namespace = args.leader_namespace.clone().unwrap_or_else(|| kube.default_namespace().to_owned());
        Election::start(kube.clone(), LeaseConfig::new(&namespace, NAME), stop.clone())
    });
    let leadership = election.as_ref().map_or_else(Leadership::always, Election::leadership);
    if election.is_some() {
        health.set_ready("caches", true);
    }
    let leads = tokio::select! {
        leads = leadership.wait_until_leader() => leads,
        () = stop.cancelled() => false,
    };
    let result = if leads {
        metrics.set_leader(true);
        lead(&args, kube, &metrics, &health, leadership, stop).await
    } else {
        Ok(())
    };
    if let Some(election) = election {
        election.release().await;
    }
    result
}

async fn lead(
    args: &RunArgs,
    kube: kube::Client,
    metrics: &Metrics,
    health: &admin::Health,
    leadership: Leadership,
    stop: CancellationToken,
) -> Result<(), RunError> {
    tracing::info!(resync_seconds = args.resync, namespaces = ?args.watch_namespace, "leading");
    let mut watching = JoinSet::new();
    let scope = watches::Scope(args.watch_namespace.clone());
    let (stores, wakes) = watches::start(&kube, &scope, &mut watching);
    let calls = metrics.calls("gitlab");
    let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| NAME.to_owned());
    let ctx = Arc::new(Context {
        applier: duo_runtime::apply::Applier::new(kube.clone(), NAME),
        sessions: Sessions::new(
            kube.clone(),
            Arc::new(move |call: duo_gitlab::CallOutcome| calls.observe(call.operation, call.result, call.duration)),
            leadership.clone(),
        ),
        gateways: stores.gateways.clone(),
        models: stores.models.clone(),
        assignments: stores.assignments.clone(),
        reporter: Reporter::new(events::Publisher::new(kube.clone(), NAME, &instance), metrics),
        leadership: leadership.clone(),
        resync: Duration::from_secs(args.resync),
        patience: args.patience(),
        contests: crate::contests::Contests::default(),
        gateway_image: args.gateway_image.clone(),
        lookout: crate::gateway::Lookout::default(),
        // Pods are asked directly, never through a proxy.
        http: reqwest::Client::builder().no_proxy().build().map_err(RunError::Http)?,
        pods_assumed: false,
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

    let ended = |what: Option<Result<&'static str, tokio::task::JoinError>>| {
        RunError::TaskEnded(match what {
            Some(Ok(name)) => name.to_owned(),
            Some(Err(error)) => error.to_string(),
            None => "everything".to_owned(),
        })
    };
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
                    let action = match reconcile(object, ctx).await {
                        Ok(next) => driver.next(key, next, running),
                        Err(error) => driver.failed(key, &names, &error, running),
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

    fn failed(
        &self,
        key: ObjectRef<K>,
        names: &(String, String),
        error: &Error,
        running: duo_runtime::metrics::Running,
    ) -> Action {
        running.error(error.category());
        let wait = self.backoff.failure(key, error.retry_after());
        // Races with other writers are daily business; they are told only when they go on.
        if error.category() == "KubernetesConflict" {
            tracing::debug!(kind = self.kind, namespace = names.0, name = names.1, %error, "came too late, trying again");
        } else {
            tracing::warn!(kind = self.kind, namespace = names.0, name = names.1, %error, retry_seconds = wait.as_secs_f32(), "reconcile failed");
        }
        Action::requeue(wait)
    }
}
