//! What all requests share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::active::Active;
use crate::auth::{Authenticator, KeyRing};
use crate::config_store::{LoadError, Mounted};
use crate::docs_index::DocsIndex;
use crate::logging::{LevelSwitch, Sink};
use crate::metrics::Metrics;
use crate::model_health::ModelHealth;
use crate::settings::Settings;

/// The running gateway.
pub struct App {
    /// What the process was told.
    pub settings: Settings,
    /// Judges tokens.
    pub auth: Authenticator,
    /// Counts.
    pub metrics: Metrics,
    /// Which models fail.
    pub models: ModelHealth,
    /// The documentation that can be searched.
    pub docs: DocsIndex,
    /// Log lines.
    pub sink: Sink,
    active: ArcSwap<Active>,
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
        let active = Active::build(&settings, mounted, None)?;
        let keys = KeyRing::new(active.sources.clone(), settings.key_refresh_pause);
        let auth = Authenticator::new(keys);
        if let Some(level) = &level {
            level.set(active.log_level);
        }
        Ok(Self {
            metrics: Metrics::new(auth.checks.clone()),
            auth,
            models: ModelHealth::default(),
            docs: DocsIndex::default(),
            sink,
            active: ArcSwap::from_pointee(active),
            draining: AtomicBool::new(false),
            trouble: Mutex::default(),
            level,
            settings,
        })
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
        let new = Active::build(&self.settings, Some(mounted), Some(&old))?;
        if new.sources.issuers != old.sources.issuers || !new.same_way(&old) {
            self.auth.keys.set_sources(new.sources.clone());
        }
        if let Some(level) = &self.level {
            level.set(new.log_level);
        }
        self.active.store(Arc::new(new));
        self.set_trouble(None);
        Ok(())
    }

    /// Why the folder's present state is not in force, if it is not.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers why the folder's present state could not be put in force.
    pub fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
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
        } else if self.settings.bypass.everyone || self.auth.keys.ready() {
            None
        } else {
            Some(format!("GitLab's signing keys are not loaded: {}", self.auth.keys.trouble()))
        }
    }
}
