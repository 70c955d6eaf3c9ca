//! A simulated GitLab: GraphQL administration of Duo Self-Hosted, a little REST, OIDC keys, the Duo health check, and
//! users who ask Duo something, which really calls the AI gateway.
//!
//! Built from GitLab's documented schema and observed behaviour, traps included; every trap is on by default. It knows
//! nothing of the operator or the gateway of this repository. Control plane over HTTP: see [`control`].

pub mod asks;
pub mod auth;
pub mod catalog;
pub mod connection_check;
pub mod control;
pub mod faults;
pub mod graphql;
pub mod journal;
pub mod oidc;
pub mod probes;
pub mod rest;
pub mod rights;
pub mod server;
pub mod sim;
pub mod state;
pub mod tls;
pub mod urls;
pub mod version;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinHandle;

pub use self::asks::{Ask, Outcome, Pace, What};
pub use self::faults::{Action, Fault};
pub use self::journal::Entry;
pub use self::oidc::TokenOptions;
pub use self::state::State;
pub use self::version::Version;
use crate::hosts::HostMap;

/// How the simulated GitLab starts. `Config::default()` suits tests: a free loopback port, 19.5.0, all traps on.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, visible_alias = "listen", env = "DUO_SIM_ADDR", default_value = "127.0.0.1:0")]
    pub addr: SocketAddr,
    /// Release to pretend to be; decides the schema.
    #[arg(long = "gitlab-version", visible_alias = "version", default_value = "19.5.0")]
    pub version: Version,
    /// The instance's own URL, issuer of its tokens; left out: the address it listens on.
    #[arg(long)]
    pub external_url: Option<String>,
    /// Token of the administrator, instead of the built-in one.
    #[arg(long, env = "DUO_SIM_ADMIN_TOKEN", hide_env_values = true)]
    pub admin_token: Option<String>,
    /// File that holds the token of the administrator.
    #[arg(long, conflicts_with = "admin_token")]
    pub admin_token_file: Option<PathBuf>,
    /// The administrator has a Duo seat (else one probe of the health check fails for it).
    #[arg(long)]
    pub admin_seat: bool,
    /// Kind of licence: `offline_cloud`, `online_cloud`, `legacy_license` or `none`.
    #[arg(long, default_value = "offline_cloud")]
    pub license: String,
    /// Plan of the licence: `ultimate` or `premium`.
    #[arg(long, default_value = "ultimate")]
    pub plan: String,
    /// Add-ons, e.g. `duo_enterprise`.
    #[arg(long, value_delimiter = ',', default_value = "duo_enterprise")]
    pub add_ons: Vec<String>,
    /// The testing terms (beta models and features) are accepted.
    #[arg(long)]
    pub terms_accepted: bool,
    /// Outbound requests to the local network are allowed: bears on the host probe.
    #[arg(long)]
    pub allow_local_requests: bool,
    /// Host names, addresses and networks that the outbound URL check lets through, e.g. `127.0.0.0/8`.
    #[arg(long, value_delimiter = ',')]
    pub outbound_allowlist: Vec<String>,
    /// 19.x: a compatible runner and the flow settings are there, so that the health check can be green.
    #[arg(long)]
    pub flows_ready: bool,
    /// JSON file merged (RFC 7386) into the initial state.
    #[arg(long)]
    pub state_file: Option<PathBuf>,
    /// PEM file of the authorities that GitLab trusts when it calls the gateway by https.
    #[arg(long)]
    pub ca_file: Option<PathBuf>,
    /// PEM chain; with a key the listener speaks https only.
    #[arg(long, requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// PEM private key of the chain.
    #[arg(long, requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// File to which every GraphQL request is appended as a line of JSON (`schema`, `query`, `variables`, `accepted`),
    /// so that a second engine can judge it again; may hold what variables held, model keys included.
    #[arg(long, env = "DUO_SIM_RECORD")]
    pub record: Option<PathBuf>,
    /// Unrelated types that swell the introspection answer (about 2 kB each) to a real instance's several MB.
    #[arg(long, default_value_t = 1500)]
    pub introspection_filler_types: usize,
    /// Names that resolve for this GitLab beside the system's.
    #[arg(skip)]
    pub hosts: HostMap,
    /// Pauses between retries and limits of calls to the gateway.
    #[arg(skip)]
    pub pace: Pace,
    /// Signing keys of somebody else, for many instances in one process: making them takes a tenth of a second.
    #[arg(skip)]
    pub keys: Option<Arc<oidc::Keys>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            version: Version::default(),
            external_url: None,
            admin_token: None,
            admin_token_file: None,
            admin_seat: false,
            license: "offline_cloud".to_owned(),
            plan: "ultimate".to_owned(),
            add_ons: vec!["duo_enterprise".to_owned()],
            terms_accepted: false,
            allow_local_requests: false,
            outbound_allowlist: Vec::new(),
            flows_ready: false,
            state_file: None,
            ca_file: None,
            tls_cert: None,
            tls_key: None,
            record: std::env::var_os("DUO_SIM_RECORD").map(PathBuf::from),
            introspection_filler_types: 1500,
            hosts: HostMap::new(),
            pace: Pace::default(),
            keys: None,
        }
    }
}

impl Config {
    fn initial_state(&self) -> io::Result<State> {
        let mut state = State::fresh(self.version);
        state.terms_accepted = self.terms_accepted;
        state.instance.allow_local_requests = self.allow_local_requests;
        state.instance.outbound_allowlist.clone_from(&self.outbound_allowlist);
        state.instance.allow_flow_execution = self.flows_ready;
        state.instance.allow_foundational_flows = self.flows_ready;
        state.instance.compatible_runner = self.flows_ready;
        match (self.license.as_str(), &mut state.license) {
            ("none", license) => *license = None,
            (kind, Some(license)) => {
                kind.clone_into(&mut license.kind);
                self.plan.clone_into(&mut license.plan);
            }
            (_, None) => {}
        }
        state.add_ons = self
            .add_ons
            .iter()
            .filter(|name| !name.is_empty())
            .map(|name| state::AddOn { name: name.clone(), purchased: 10, active: true })
            .collect();
        let token = match &self.admin_token_file {
            Some(path) => Some(std::fs::read_to_string(path)?.trim().to_owned()),
            None => self.admin_token.clone(),
        };
        if let (Some(value), Some(token)) = (token, state.tokens.first_mut()) {
            token.value = value;
        }
        if let Some(admin) = state.users.first_mut() {
            admin.duo_seat = self.admin_seat;
        }
        if let Some(path) = &self.state_file {
            let patch = serde_json::from_slice(&std::fs::read(path)?)?;
            state = control::merged(&state, &patch).map_err(io::Error::other)?;
        }
        Ok(state)
    }
}

/// A running GitLab; stops when dropped.
pub struct Handle {
    sim: Arc<sim::Sim>,
    addr: SocketAddr,
    task: JoinHandle<()>,
}

/// Starts a GitLab.
///
/// # Errors
/// The address cannot be bound, or a file of the configuration cannot be used.
pub async fn start(config: Config) -> io::Result<Handle> {
    let sim = Arc::new(sim::Sim::new(&config)?);
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => Some(tls::acceptor(cert, key)?),
        _ => None,
    };
    let (listener, addr) = server::bind(config.addr).await?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let own = if addr.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::LOCALHOST, addr.port())) } else { addr };
    sim.set_external_url(&config.external_url.clone().unwrap_or_else(|| format!("{scheme}://{own}")));
    let task = tokio::spawn(server::run(Arc::clone(&sim), listener, tls));
    Ok(Handle { sim, addr, task })
}

impl Handle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its own URL, without a slash at the end.
    pub fn url(&self) -> String {
        self.sim.external_url().to_owned()
    }

    /// A copy of what is stored.
    pub fn state(&self) -> State {
        self.sim.read(State::clone)
    }

    /// Changes what is stored, as an administrator by hand or as time does.
    pub fn edit<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.sim.write(change)
    }

    /// Requests that came in and calls that went out.
    pub fn journal(&self) -> &journal::Journal {
        &self.sim.journal
    }

    /// Faults in force.
    pub fn faults(&self) -> &faults::Faults {
        &self.sim.faults
    }

    /// Names that resolve for this GitLab; entries take effect at once.
    pub fn hosts(&self) -> &HostMap {
        &self.sim.hosts
    }

    /// Makes a new signing key and returns its id; old ones stay published when `keep_old`.
    ///
    /// # Errors
    /// The random source fails.
    pub fn rotate_keys(&self, keep_old: bool) -> io::Result<String> {
        self.sim.keys.rotate(keep_old)
    }

    /// A token as Rails issues it for calls to the gateway, with what `options` change.
    ///
    /// # Errors
    /// Signing failed.
    pub fn issue_token(&self, options: &TokenOptions) -> io::Result<String> {
        self.sim.read(|state| self.sim.keys.issue(state, self.sim.external_url(), options))
    }

    /// A user asks Duo something; the outcome is what the user sees, and what the gateway said.
    pub async fn ask(&self, what: What, ask: &Ask) -> Outcome {
        asks::ask(&self.sim, what, ask).await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.task.abort();
    }
}
