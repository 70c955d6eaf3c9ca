//! What all requests share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::active::Active;
use crate::auth::{Authenticator, KeyRing};
use crate::body::Memory;
use crate::config_store::{LoadError, Mounted};
use crate::docs_index::DocsIndex;
use crate::listen::Tls;
use crate::logging::{LevelSwitch, Sink};
use crate::metrics::{Elsewhere, Metrics};
use crate::model_check::ModelChecks;
use crate::model_health::ModelHealth;
use crate::resilience::Allowances;
use crate::settings::{ModelLimit, Settings};
use crate::telemetry::Traces;
use crate::tls::{self, Certificate};

/// The running gateway.
pub struct App {
    /// What the process was told.
    pub settings: Settings,
    /// Judges tokens.
    pub auth: Authenticator,
    /// Counts.
    pub metrics: Metrics,
    /// Sends traces.
    pub traces: Traces,
    /// Which models fail.
    pub models: ModelHealth,
    /// Checks of models that the operator asked for.
    pub checks: ModelChecks,
    /// The documentation that can be searched.
    pub docs: DocsIndex,
    /// What callers have used of their limits.
    pub allowances: Arc<Allowances>,
    /// Log lines.
    pub sink: Sink,
    /// Memory for the bodies of all requests.
    pub bodies: Memory,
    active: ArcSwap<Active>,
    /// The certificate that the environment names.
    own_certificate: ArcSwapOption<Certificate>,
    own_certificate_trouble: Mutex<Option<String>>,
    draining: AtomicBool,
    trouble: Mutex<Option<String>>,
    level: Option<LevelSwitch>,
}

impl App {
    /// Loads the configuration and joins all parts; contacts nobody.
    ///
    /// # Errors
    /// The mounted configuration or a file it names cannot be used.
    pub fn new(
        settings: Settings,
        mounted: Option<&Mounted>,
        sink: Sink,
        level: Option<LevelSwitch>,
    ) -> Result<Self, LoadError> {
        let mut active = Active::build(&settings, mounted, None)?;
        let keys = KeyRing::new(active.sources.clone(), settings.key_refresh_pause);
        let auth = Authenticator::new(keys);
        if let Some(level) = &level {
            level.set(active.log_level);
        }
        let traces = Traces::default();
        let metrics = Metrics::new(Elsewhere {
            log_lines_dropped: sink.dropped(),
            token_checks: auth.checks.clone(),
            spans: traces.counters.clone(),
        });
        active.tracer = traces.tracer(active.trace_destination.clone(), None, &active.upstream.http.general);
        let own = settings.tls.files.as_ref().map(|files| tls::reload::load(files, &settings.tls.ciphers, None));
        let app = Self {
            bodies: Memory::new(settings.body_memory, metrics.listeners.clone()),
            metrics,
            traces,
            auth,
            models: ModelHealth::default(),
            checks: ModelChecks::default(),
            docs: DocsIndex::default(),
            allowances: Arc::default(),
            sink,
            active: ArcSwap::from_pointee(active),
            draining: AtomicBool::new(false),
            trouble: Mutex::default(),
            level,
            settings,
            own_certificate: ArcSwapOption::new(own.transpose()?),
            own_certificate_trouble: Mutex::default(),
        };
        app.announce_certificate(None);
        app.announce_prompt_logging(false);
        app.show_limits();
        Ok(app)
    }

    /// The configuration in force.
    pub fn active(&self) -> Arc<Active> {
        self.active.load_full()
    }

    /// Puts a new state of the mounted folder in force.
    ///
    /// # Errors
    /// It cannot be used; the last one stays in force.
    pub fn take_over(&self, mounted: &Mounted) -> Result<(), LoadError> {
        let old = self.active();
        let mut new = Active::build(&self.settings, Some(mounted), Some(&old))?;
        let former = old.tracer.as_ref().filter(|_| new.same_way(&old));
        new.tracer = self.traces.tracer(new.trace_destination.clone(), former, &new.upstream.http.general);
        if new.sources.issuers != old.sources.issuers || !new.same_way(&old) {
            self.auth.keys.set_sources(new.sources.clone());
        }
        if let Some(level) = &self.level {
            level.set(new.log_level);
        }
        let certificate = self.certificate();
        self.active.store(Arc::new(new));
        self.announce_certificate(certificate.as_ref());
        self.announce_prompt_logging(old.prompt_logging);
        self.show_limits();
        self.set_trouble(None);
        Ok(())
    }

    /// Limits as gauges: those that the environment names, and those that are kept.
    fn show_limits(&self) {
        let active = self.active.load();
        let kept: Vec<ModelLimit> = active
            .directory
            .models
            .values()
            .map(|target| ModelLimit {
                engine: target.primary().identifier.provider.as_str().to_owned(),
                model: target.primary().family.as_str().to_owned(),
                concurrent: i64::try_from(target.policy.queue.at_once).ok(),
                ..ModelLimit::default()
            })
            .collect();
        self.metrics.limits(&self.settings.model_limits, &kept);
    }

    /// Whoever reads the logs then reads the code: said whenever it is switched on.
    fn announce_prompt_logging(&self, before: bool) {
        match (before, self.active.load().prompt_logging) {
            (false, true) => tracing::warn!(
                "PRIVACY: prompts and answers of all users are written to the log (AIGW_LOGGING__ENABLE_REQUEST_LOGGING \
                 or promptLogging); they hold source code, and whatever else people send. Switch it off when you are \
                 done, and treat the logs as you treat the code"
            ),
            (true, false) => tracing::info!("prompts and answers are no longer written to the log"),
            _ => {}
        }
    }

    /// The certificate of the API listener: the mounted configuration's, else the environment's, else none and plain
    /// HTTP.
    pub fn certificate(&self) -> Option<Arc<Certificate>> {
        self.active.load().certificate.clone().or_else(|| self.own_certificate())
    }

    /// TLS of a connection of the API listener that comes in now.
    pub fn tls(&self) -> Option<Tls> {
        let accept_plain = self.active.load().accept_plain;
        self.certificate().map(|certificate| Tls { config: certificate.config.clone(), accept_plain })
    }

    /// The certificate that the environment names.
    pub fn own_certificate(&self) -> Option<Arc<Certificate>> {
        self.own_certificate.load_full()
    }

    /// Puts what the environment's files hold now in force; the last good certificate stays when it cannot be used.
    pub fn take_over_own_certificate(&self, loaded: Result<Arc<Certificate>, LoadError>) {
        let trouble = match loaded {
            Ok(new) => {
                let old = self.certificate();
                self.own_certificate.store(Some(new));
                self.announce_certificate(old.as_ref());
                None
            }
            Err(error) => {
                tracing::error!(error = %error, "the TLS certificate cannot be used; the last one stays in force");
                self.metrics.listeners.certificate_failures.inc();
                Some(format!("AIGW_FASTAPI__TLS__*: {error}"))
            }
        };
        *lock(&self.own_certificate_trouble) = trouble;
    }

    fn announce_certificate(&self, old: Option<&Arc<Certificate>>) {
        let new = self.certificate();
        self.metrics.listeners.certificate_end.set(new.as_ref().map_or(0, |new| new.validity.not_after));
        match &new {
            Some(new) if old.is_none_or(|old| !Arc::ptr_eq(old, new)) => {
                new.announce(jiff::Timestamp::now().as_second());
            }
            None if old.is_some() => tracing::info!("TLS is switched off: new connections are plain HTTP"),
            _ => {}
        }
    }

    /// Why the present state of the folder, or of the certificate's files, is not in force, if it is not.
    pub fn trouble(&self) -> Option<String> {
        let both = [lock(&self.trouble).clone(), lock(&self.own_certificate_trouble).clone()];
        both.into_iter().flatten().reduce(|one, other| format!("{one}; {other}"))
    }

    /// Remembers why the folder's present state could not be put in force.
    pub fn set_trouble(&self, trouble: Option<String>) {
        *lock(&self.trouble) = trouble;
    }

    /// Whether the gateway is about to stop.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// From now on not ready, and connections are closed after their answer.
    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Why no traffic should be sent here; `None` when it should.
    pub fn not_ready(&self) -> Option<String> {
        if self.draining() {
            Some("stopping".to_owned())
        } else if self.settings.bypass.everyone || self.settings.bypass.signature || self.auth.keys.ready() {
            None
        } else {
            Some(format!("GitLab's signing keys are not loaded: {}", self.auth.keys.trouble()))
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
