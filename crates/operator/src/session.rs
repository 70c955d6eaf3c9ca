//! One open conversation with the GitLab of an AIGateway: client, last observation, last health check.
//!
//! Sessions are shared by all resources of a gateway, so that they look at GitLab together and not each by itself. A
//! changed token, URL or CA bundle opens a new session; the last good one is kept for deletions whose Secret has gone.

mod look;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use duo_api::AIGateway;
use duo_core::observed::{Instance, Probe};
use duo_core::ownership::Home;
use duo_core::rights::Facts;
use duo_gitlab::{Client, ClientConfig, Shared, Token};
use duo_runtime::lease::Leadership;
use kube::ResourceExt;
use tokio::sync::Mutex;

use crate::error::Error;
use crate::fresh::Fresh;
use crate::inputs::{self, InputError};
use crate::pace::Paces;
use crate::rhythm::Rhythm;
use crate::{aside, convert, rights};

pub(crate) use look::Written;
use look::{Known, Wanted};

/// Limit of one ordinary call to GitLab; below the lease, so that no write outlives the leadership it began under.
const CALL_TIMEOUT: Duration = Duration::from_secs(8);

/// A look this old is new enough to write by: own writes since are in it, and GitLab refuses what others made impossible.
const FRESH: Duration = Duration::from_secs(3);
/// A reconcile that waits longer for a look that another began makes room for others.
const PATIENCE: Duration = Duration::from_secs(1);

/// What this program calls itself to GitLab.
const AGENT: &str = concat!("duo-operator/", env!("CARGO_PKG_VERSION"));

/// Namespace and name of an AIGateway.
pub(crate) type GatewayKey = (String, String);

/// The key of a gateway.
pub(crate) fn key(gateway: &AIGateway) -> GatewayKey {
    (gateway.namespace().unwrap_or_default(), gateway.name_any())
}

/// An open conversation.
pub(crate) struct Session {
    /// Typed calls.
    pub client: Client,
    identity: Identity,
    rhythm: Rhythm,
    known: Arc<Known>,
    /// Who holds it looks.
    turn: Arc<Mutex<()>>,
    health: Mutex<Option<(Instant, Arc<Vec<Probe>>)>>,
    access: Mutex<Option<(Instant, Access)>>,
    instance_id: std::sync::Mutex<Option<String>>,
}

/// Why a token does not do, found out by asking what GitLab answers with one sentence.
#[derive(Clone, Debug)]
pub(crate) struct Denied {
    /// Bounded reason.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// What was found out, if the token could be asked about.
    pub facts: Option<Arc<Facts>>,
}

/// What a token may do, or why it does not do.
pub(crate) type Access = Result<Arc<Facts>, Denied>;

/// What a session depends on.
#[derive(Clone, PartialEq, Eq)]
struct Identity {
    url: String,
    token: Token,
    ca_bundle: Option<Vec<u8>>,
}

/// All open sessions.
pub(crate) struct Sessions {
    fresh: Fresh,
    open: Mutex<HashMap<GatewayKey, Arc<Session>>>,
    shared: Shared,
    observer: duo_gitlab::CallObserver,
    leadership: Leadership,
    prepare: Option<Prepare>,
    agent: String,
    paces: Paces,
    start: Instant,
    resync: Duration,
}

/// What becomes of a new client before it is used: a dry run takes its hands away.
pub(crate) type Prepare = Arc<dyn Fn(Client) -> Client + Send + Sync>;

impl Sessions {
    pub(crate) fn new(
        fresh: Fresh,
        observer: duo_gitlab::CallObserver,
        leadership: Leadership,
        paces: Paces,
        resync: Duration,
    ) -> Self {
        let (open, shared, start, prepare) = (Mutex::default(), Shared::default(), Instant::now(), None);
        let agent = AGENT.to_owned();
        Self { fresh, open, shared, observer, leadership, prepare, agent, paces, start, resync }
    }

    /// Names the shard to GitLab, for its logs.
    pub(crate) fn of_shard(self, name: &str) -> Self {
        if name.is_empty() { self } else { Self { agent: format!("{AGENT} (shard {name})"), ..self } }
    }

    /// Hands each new client to `prepare`.
    pub(crate) fn prepared(self, prepare: Prepare) -> Self {
        Self { prepare: Some(prepare), ..self }
    }

    /// When the resources of a gateway are looked at again.
    pub(crate) fn rhythm(&self, namespace: &str, gateway: &str) -> Rhythm {
        Rhythm::new(self.start, self.resync, namespace, gateway)
    }

    /// The session of a gateway, by the token that its Secret holds now.
    pub(crate) async fn open(&self, gateway: &AIGateway) -> Result<Arc<Session>, SessionError> {
        let namespace = gateway.namespace().unwrap_or_default();
        let spec = &gateway.spec.gitlab;
        let token = inputs::secret_value(&self.fresh, &namespace, &spec.token_secret_ref).await?;
        let token = String::from_utf8(token).map_err(|_| InputError::NotText {
            what: format!("Secret {}/{} key {}", namespace, spec.token_secret_ref.name, spec.token_secret_ref.key),
        })?;
        let ca_bundle = match &spec.ca_bundle_ref {
            Some(reference) => Some(inputs::ca_bundle(&self.fresh, &namespace, reference).await?),
            None => None,
        };
        let identity = Identity { url: spec.url.clone(), token: Token::new(token.trim()), ca_bundle };
        let mut open = self.open.lock().await;
        if let Some(session) = open.get(&key(gateway)).filter(|session| session.identity == identity) {
            return Ok(Arc::clone(session));
        }
        let base_url = url::Url::parse(&identity.url)
            .map_err(|error| duo_gitlab::Error::Configuration { what: format!("spec.gitlab.url: {error}") })?;
        let client = Client::sharing(
            ClientConfig {
                base_url,
                token: identity.token.clone(),
                ca_bundle_pem: identity.ca_bundle.clone(),
                request_timeout: CALL_TIMEOUT,
                user_agent: self.agent.clone(),
            },
            &self.shared,
        )?
        .with_observer(Arc::clone(&self.observer))
        .with_gate(self.paces.gate(&identity.url))
        // Asked when a write is sent, not when a reconcile began: no write outlives the lease.
        .with_write_budget(Arc::new({
            let leadership = self.leadership.clone();
            move || leadership.remaining()
        }));
        let client = match &self.prepare {
            Some(prepare) => prepare(client),
            None => client,
        };
        let session = Arc::new(Session {
            client,
            identity,
            rhythm: self.rhythm(&namespace, &gateway.name_any()),
            known: Arc::default(),
            turn: Arc::default(),
            health: Mutex::default(),
            access: Mutex::default(),
            instance_id: std::sync::Mutex::default(),
        });
        open.insert(key(gateway), Arc::clone(&session));
        Ok(session)
    }

    /// The session for a deletion. Where the Secret went first, as in a namespace that is torn down, the last good token
    /// may still do. The inner error says why there is none.
    pub(crate) async fn open_for_deletion(&self, gateway: &AIGateway) -> Result<Result<Arc<Session>, String>, Error> {
        match self.open(gateway).await {
            Ok(session) => Ok(Ok(session)),
            Err(SessionError::Input(InputError::Kube(error))) => Err(error.into()),
            Err(error) => Ok(self.open.lock().await.get(&key(gateway)).cloned().ok_or_else(|| error.to_string())),
        }
    }

    /// What was seen last of the GitLab of a gateway, however old, own writes worked in; `None` where nothing was, or where
    /// a write ended nobody knows how.
    pub(crate) async fn seen(&self, gateway: &GatewayKey) -> Option<(Home, Arc<Instance>)> {
        let session = self.open.lock().await.get(gateway).cloned()?;
        Some((session.home(), session.known.last()?))
    }

    /// Lets go of what is known of a gateway that is gone.
    pub(crate) async fn forget(&self, gateway: &GatewayKey) {
        self.open.lock().await.remove(gateway);
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    GitLab(#[from] duo_gitlab::Error),
}

impl SessionError {
    /// Bounded reason.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::Input(error) => error.category(),
            Self::GitLab(error) => error.category(),
        }
    }
}

impl Session {
    /// The GitLab that is spoken to. Its id comes from this conversation's own health check: the one in a status may be
    /// that of another GitLab, of before the URL was changed.
    pub(crate) fn home(&self) -> Home {
        let id = self.instance_id.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        Home::new(&self.identity.url, id)
    }

    /// What GitLab holds, not older than `max_age`. Concurrent callers share one look.
    pub(crate) async fn observe(&self, max_age: Duration) -> Result<Arc<Instance>, duo_gitlab::Error> {
        self.look(Wanted { asked: Instant::now(), max_age, since: None }).await
    }

    /// What GitLab held when this period's look was made, with what was written here since: good enough to find that
    /// nothing is to be done.
    pub(crate) async fn observe_period(&self) -> Result<Arc<Instance>, duo_gitlab::Error> {
        let asked = Instant::now();
        self.look(Wanted { asked, max_age: FRESH, since: self.rhythm.last(asked) }).await
    }

    /// What GitLab holds now, to decide what is written: a look of a moment ago that has all own writes in it, or a new one.
    pub(crate) async fn observe_to_write(&self) -> Result<Arc<Instance>, duo_gitlab::Error> {
        self.observe(FRESH).await
    }

    /// What GitLab held at some moment since `began`, with what was written here since: models that come up together share
    /// the look by which they are made.
    pub(crate) async fn observe_since(&self, began: Instant) -> Result<Arc<Instance>, duo_gitlab::Error> {
        self.look(Wanted { asked: Instant::now(), max_age: Duration::ZERO, since: Some(began) }).await
    }

    async fn look(&self, wanted: Wanted) -> Result<Arc<Instance>, duo_gitlab::Error> {
        if let Some(known) = self.known.get(wanted) {
            return known;
        }
        let turn = aside::patiently(PATIENCE, Arc::clone(&self.turn).lock_owned()).await;
        if let Some(known) = self.known.get(wanted) {
            return known;
        }
        let (client, known) = (self.client.clone(), Arc::clone(&self.known));
        // On a task of its own: it goes on for the others when the reconcile that began it is set aside.
        let look = tokio::spawn(async move {
            let _turn = turn;
            let began = Instant::now();
            let looked = async {
                let observation = client.observe().await?;
                let capabilities = client.capabilities().await?;
                Ok(Arc::new(convert::instance(observation, &capabilities)))
            };
            let looked = looked.await;
            known.set(began, looked)
        });
        aside::patiently(PATIENCE, look).await.unwrap_or_else(|error| {
            Err(duo_gitlab::Error::UnexpectedAnswer { operation: "observe", what: error.to_string() })
        })
    }

    /// A fresh look from which a deletion may conclude that something is gone.
    pub(crate) async fn observe_for_deletion(&self) -> Result<Arc<Instance>, duo_gitlab::Error> {
        let instance = self.observe(Duration::ZERO).await?;
        if instance.tells_absence() {
            return Ok(instance);
        }
        Err(duo_gitlab::Error::TokenLacksRights {
            operation: "deletion",
            message: "GitLab shows its models and settings to this token no more".to_owned(),
        })
    }

    /// The next look goes to GitLab: something was written, or was perhaps.
    pub(crate) async fn changed(&self) {
        self.known.void();
    }

    /// Something was written, and this is what GitLab made of it.
    pub(crate) fn wrote(&self, written: Written) {
        self.known.wrote(written);
    }

    /// GitLab's health check, not older than `max_age`; it takes seconds.
    pub(crate) async fn health(&self, max_age: Duration) -> Result<Arc<Vec<Probe>>, duo_gitlab::Error> {
        let mut cached = self.health.lock().await;
        if let Some((at, probes)) = cached.as_ref().filter(|(at, _)| at.elapsed() <= max_age) {
            let _ = at;
            return Ok(Arc::clone(probes));
        }
        let probes: Vec<Probe> = self.client.health_check().await?.into_iter().map(convert::probe).collect();
        if let Some(id) = duo_core::health::instance_id(&probes) {
            *self.instance_id.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(id);
        }
        let probes = Arc::new(probes);
        *cached = Some((Instant::now(), Arc::clone(&probes)));
        Ok(probes)
    }

    /// The last health check, however old.
    pub(crate) async fn last_health(&self) -> Option<Arc<Vec<Probe>>> {
        self.health.lock().await.as_ref().map(|(_, probes)| Arc::clone(probes))
    }

    /// What token, licence and add-ons allow, asked again after `max_age`, and at once where the token did not do.
    /// Errors other than a refusal are errors.
    pub(crate) async fn access(&self, max_age: Duration) -> Result<Access, duo_gitlab::Error> {
        let mut cached = self.access.lock().await;
        if let Some((_, access)) = cached.as_ref().filter(|(at, access)| access.is_ok() && at.elapsed() <= max_age) {
            return Ok(access.clone());
        }
        *cached = None;
        let access = match rights::ask(&self.client).await? {
            rights::Asked::Refused(error) => {
                Err(Denied { reason: "TokenInvalid", message: error.to_string(), facts: None })
            }
            rights::Asked::Facts(mut facts) => {
                if facts.administrator {
                    facts.manages = self.observe(Duration::from_secs(5)).await?.tells_absence();
                }
                let facts = Arc::new(facts);
                match duo_core::rights::denied(&facts, rights::today()) {
                    Some((reason, message)) => Err(Denied { reason, message, facts: Some(facts) }),
                    None => Ok(facts),
                }
            }
        };
        *cached = Some((Instant::now(), access.clone()));
        Ok(access)
    }
}
