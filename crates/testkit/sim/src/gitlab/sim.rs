//! The heart that all parts of the simulated GitLab share: stored state, journal, faults, keys, the outgoing client.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::asks::breaker::Breakers;
use super::faults::Faults;
use super::graphql::schema::{self, Schemas};
use super::journal::Journal;
use super::oidc::Keys;
use super::state::State;
use super::version::Version;
use super::{Config, asks};
use crate::hosts::HostMap;

const DEFINITIONS_CACHED: Duration = Duration::from_secs(30 * 60);

/// Schemas by version and number of models.
type SchemasByShape = HashMap<(Version, usize), Arc<Schemas>>;

/// By release and number of filler types: several MB each, the same for all instances of a process.
static SCHEMAS: OnceLock<Mutex<SchemasByShape>> = OnceLock::new();

/// The running GitLab, without its listener.
pub struct Sim {
    state: Mutex<State>,
    external_url: OnceLock<String>,
    record: Option<Mutex<File>>,
    filler_types: usize,
    definitions_fetched: Mutex<Option<Instant>>,
    /// Requests in and out.
    pub journal: Journal,
    /// Faults in force.
    pub faults: Faults,
    /// Names that resolve here.
    pub hosts: HostMap,
    /// Signing keys.
    pub keys: Arc<Keys>,
    /// Client for calls to the gateway and the probes.
    pub http: reqwest::Client,
    /// Circuit breakers of the calls to the gateway.
    pub breakers: Breakers,
    /// Pauses and limits of the calls to the gateway.
    pub pace: asks::Pace,
}

impl Sim {
    /// Builds it from its configuration; nothing listens yet.
    ///
    /// # Errors
    /// A file of the configuration cannot be read or written, or no client can be built.
    pub fn new(config: &Config) -> io::Result<Self> {
        let state = config.initial_state()?;
        let record = match &config.record {
            Some(path) => Some(Mutex::new(File::options().create(true).append(true).open(path)?)),
            None => None,
        };
        let sim = Self {
            state: Mutex::new(state),
            external_url: OnceLock::new(),
            record,
            filler_types: config.introspection_filler_types,
            definitions_fetched: Mutex::default(),
            journal: Journal::default(),
            faults: Faults::default(),
            hosts: config.hosts.clone(),
            keys: match &config.keys {
                Some(keys) => Arc::clone(keys),
                None => Arc::new(Keys::generate()?),
            },
            http: client(config)?,
            breakers: Breakers::default(),
            pace: config.pace.clone(),
        };
        // a broken schema is a start-up error, not the first caller's
        sim.schemas(sim.read(|state| state.instance.version)).map_err(io::Error::other)?;
        Ok(sim)
    }

    /// Reads the state.
    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock())
    }

    /// Changes the state.
    pub fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.lock())
    }

    /// The schema of a release, built once in a process.
    ///
    /// # Errors
    /// The SDL of the release is broken.
    pub fn schemas(&self, version: Version) -> Result<Arc<Schemas>, String> {
        let built = SCHEMAS.get_or_init(Mutex::default);
        let mut built = built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schemas) = built.get(&(version, self.filler_types)) {
            return Ok(Arc::clone(schemas));
        }
        let schemas = Arc::new(schema::build(version, self.filler_types)?);
        built.insert((version, self.filler_types), Arc::clone(&schemas));
        Ok(schemas)
    }

    /// The instance's own URL, without a slash at the end: issuer of its tokens.
    pub fn external_url(&self) -> &str {
        self.external_url.get().map_or("", String::as_str)
    }

    /// Sets the URL, once the port is known.
    pub fn set_external_url(&self, url: &str) {
        // a second call would mean a second listener, which does not exist
        let _ = self.external_url.set(url.trim_end_matches('/').to_owned());
    }

    /// Whether the model definitions have to be fetched again; the fetch counts as done then.
    pub fn definitions_due(&self) -> bool {
        let mut fetched = self.definitions_fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let due = fetched.is_none_or(|at| at.elapsed() > DEFINITIONS_CACHED);
        if due {
            *fetched = Some(Instant::now());
        }
        due
    }

    /// Appends a request to the record file, one JSON object a line, with the engine's verdict.
    pub fn record(&self, line: &str, query: &str, name: Option<&str>, variables: &Value, accepted: bool) {
        let Some(file) = &self.record else { return };
        // one write a line: several instances may append to one file
        let entry = format!(
            "{}\n",
            json!({"schema": line, "query": query, "operation_name": name, "variables": variables, "accepted": accepted})
        );
        if let Err(error) = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(entry.as_bytes()) {
            tracing::warn!(%error, "the record file cannot be written");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client of outgoing calls: names through the host map, no redirects, no proxy.
fn client(config: &Config) -> io::Result<reqwest::Client> {
    let builder = || {
        reqwest::Client::builder()
            .dns_resolver(Arc::new(config.hosts.clone()))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
    };
    let built = match &config.ca_file {
        Some(path) => {
            let certificates =
                reqwest::Certificate::from_pem_bundle(&std::fs::read(path)?).map_err(io::Error::other)?;
            builder().tls_certs_only(certificates).build()
        }
        // an image without system certificates can still call plain HTTP
        None => builder().build().or_else(|_| builder().tls_certs_only(Vec::new()).build()),
    };
    built.map_err(io::Error::other)
}
