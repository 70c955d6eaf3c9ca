//! The running program: starts listeners and background tasks, and stops them in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::app::App;
use crate::config_store::{Fingerprint, LoadError, Mounted};
use crate::listen::{Service, Stages, With};
use crate::logging::{self, LevelSwitch, Sink};
use crate::settings::Settings;
use crate::{admin, docs_index, listen, reload, server, tls};

/// Beyond the longest model call: for the answer's way out.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// At the end, for spans that wait to be sent.
const SPAN_PATIENCE: Duration = Duration::from_secs(3);
/// At the end, for log lines that wait to be written.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The mounted configuration cannot be used.
    #[error("configuration: {0}")]
    Config(#[from] LoadError),
    /// A listener could not be opened.
    #[error("cannot listen on {0}")]
    Listen(#[source] std::io::Error),
    /// No threads or no event queue.
    #[error("the system gives no threads or no event queue")]
    Runtime(#[source] std::io::Error),
    /// The log file could not be opened.
    #[error("AIGW_LOGGING__TO_FILE: {0}")]
    Log(#[source] std::io::Error),
    /// Logging was set up before.
    #[error("logging: {0}")]
    Logging(#[from] tracing_subscriber::util::TryInitError),
}

impl StartError {
    /// Whether what was configured is at fault, and starting again would not help.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Config(_) | Self::Log(_))
    }
}

/// A running gateway. Dropping it ends everything at once; [`Gateway::stop`] ends it in good order.
pub struct Gateway {
    app: Arc<App>,
    api: SocketAddr,
    metrics: SocketAddr,
    stages: Stages,
    servers: Vec<JoinHandle<()>>,
    background: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Starts. Needs neither GitLab nor a model server: keys are fetched in the background.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(settings: Settings, sink: Sink, level: Option<LevelSwitch>) -> Result<Self, StartError> {
        let mounted: Option<(Mounted, Fingerprint)> = match &settings.config_file {
            Some(file) => Some(Mounted::load(file)?),
            None => None,
        };
        // before they are read, so that no change is missed
        let certificate_seen = settings.tls.files.as_ref().map(tls::reload::seen).unwrap_or_default();
        let app = Arc::new(App::new(settings, mounted.as_ref().map(|(mounted, _)| mounted), sink, level)?);
        let api = listen::bind(&app.settings.api).await.map_err(StartError::Listen)?;
        let metrics = listen::bind(&app.settings.metrics).await.map_err(StartError::Listen)?;
        let (api_addr, metrics_addr) =
            (api.local_addr().map_err(StartError::Listen)?, metrics.local_addr().map_err(StartError::Listen)?);

        let mut background = vec![tokio::spawn(app.auth.keys.clone().keep_fresh())];
        if let (Some((_, seen)), Some(file)) = (mounted, app.settings.config_file.clone()) {
            background.push(tokio::spawn(reload::watch(app.clone(), file, seen)));
        }

        background.push(tokio::spawn(docs_index::watch(app.clone())));
        if let Some(files) = app.settings.tls.files.clone() {
            background.push(tokio::spawn(tls::reload::watch(app.clone(), files, certificate_seen)));
        }

        let stages = Stages::default();
        let (shared, patient, certified) = (app.clone(), app.clone(), app.clone());
        let api_service = Service {
            // hyper keeps room for the future as long as the connection lives: a pointer's, not the future's own
            handler: With(move |request, client| Box::pin(server::handle(shared.clone(), request, client))),
            tls: Arc::new(move || certified.tls()),
            limits: app.settings.limits.clone(),
            counts: app.metrics.listeners.clone(),
        };
        let patience = move || patient.active().longest_call() + LAST_WORDS;
        let serve_api = listen::serve(api, api_service, stages.clone(), patience);
        let shared = app.clone();
        let metrics_service = Service {
            handler: With(move |request, _| admin::handle(shared.clone(), request)),
            // asked by Prometheus and the operator inside the cluster
            tls: Arc::new(|| None),
            limits: app.settings.limits.clone(),
            counts: app.metrics.listeners.clone(),
        };
        let serve_metrics = listen::serve(metrics, metrics_service, stages.clone(), || LAST_WORDS);
        let servers = vec![tokio::spawn(serve_api), tokio::spawn(serve_metrics)];
        let active = app.active();
        tracing::info!(
            api = %api_addr,
            metrics = %metrics_addr,
            tls = app.certificate().is_some(),
            connections = app.settings.limits.connections,
            issuers = active.sources.issuers.iter().map(|url| crate::auth::shown(url)).collect::<Vec<_>>().join(" "),
            models = active.directory.models.len(),
            undeclared_models = active.directory.undeclared,
            hash = active.hash.as_deref(),
            "listening"
        );
        warn_of_switches(&app.settings);
        Ok(Self { app, api: api_addr, metrics: metrics_addr, stages, servers, background })
    }

    /// Where the API listens.
    pub fn api_addr(&self) -> SocketAddr {
        self.api
    }

    /// Where metrics are served.
    pub fn metrics_addr(&self) -> SocketAddr {
        self.metrics
    }

    /// Not ready from now on, accepting for the drain time (endpoints in front need it to notice), then no new
    /// connections; returns when the last answer is out, at the latest one model call later.
    pub async fn stop(mut self) {
        self.app.start_draining();
        self.stages.draining.cancel();
        let drain = self.app.active().drain;
        tracing::info!(seconds = drain.as_secs_f64(), "stopping: no longer ready, still accepting");
        tokio::time::sleep(drain).await;
        self.stages.closing.cancel();
        tracing::info!("no longer accepting, finishing what is under way");
        for server in std::mem::take(&mut self.servers) {
            let _ = server.await;
        }
        self.app.traces.close(SPAN_PATIENCE).await;
        tracing::info!("stopped");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stages.killed.cancel();
        for task in self.servers.iter().chain(&self.background) {
            task.abort();
        }
    }
}

fn warn_of_switches(settings: &Settings) {
    if settings.bypass.everyone || settings.bypass.with_header {
        tracing::warn!(
            "AIGW_AUTH__BYPASS_EXTERNAL…: authentication is switched off; whoever reaches the port can use the models"
        );
    }
    if settings.bypass.signature {
        tracing::warn!(
            "AIGW_AUTH__BYPASS_JWT_SIGNATURE: signatures of tokens are not checked; whoever reaches the port and writes a \
             token can use the models"
        );
    }
}

/// Runs until SIGTERM or SIGINT, then stops in good order; a second signal stops at once. The runtime is made here, so
/// that all the asynchronous code is compiled once, with this library.
///
/// # Errors
/// [`StartError`].
pub fn run(settings: Settings) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(StartError::Runtime)?;
    let sink = Sink::open(&settings.logging).map_err(StartError::Log)?;
    let ended = runtime.block_on(run_with(settings, sink.clone()));
    sink.flush(LOG_PATIENCE);
    ended
}

async fn run_with(settings: Settings, sink: Sink) -> Result<(), StartError> {
    logging::panics::install(sink.clone());
    let level = logging::install(sink.clone(), settings.logging.level)?;
    let gateway = Gateway::start(settings, sink, Some(level)).await?;
    signal().await;
    tokio::select! {
        () = gateway.stop() => {}
        () = signal() => tracing::warn!("second signal: stopped at once"),
    }
    Ok(())
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut stream) => {
                stream.recv().await;
            }
            Err(error) => {
                tracing::error!(error = %error, "signals cannot be waited for");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::interrupt()) => {}
    }
}
