//! Leader election on a `coordination.k8s.io/v1` Lease, so that one replica writes.
//!
//! After client-go's algorithm: a lease counts as expired when it has not changed for its duration *as seen by this
//! process's monotonic clock*; clocks of other machines are never compared. Writes carry the resource version that was
//! read, so of two candidates one is refused. Who cannot renew stops leading before others may take over:
//!
//! ```text
//! renewal sent                    renew deadline 10 s          duration 15 s
//! |------- is_valid() ------------|---- calls end here --------| others may take over
//! ```
//!
//! No write to another system may start when [`Leadership::is_valid`] is false, and each has to end within
//! [`Leadership::remaining`].

mod decision;
#[cfg(test)]
mod properties;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use decision::{Decision, Observer};

/// Which lease, who we are, and the times.
#[derive(Clone)]
pub struct Config {
    /// Namespace of the lease.
    pub namespace: String,
    /// Name of the lease.
    pub name: String,
    /// Unique per process, not per pod: a restarted container must not take itself for its predecessor.
    pub identity: String,
    /// How long others wait before they take over. Whole seconds.
    pub duration: Duration,
    /// Without a renewal for so long this process stops leading. Less than `duration`.
    pub renew_deadline: Duration,
    /// Between two attempts of a leader.
    pub retry: Duration,
    /// Between two looks of a candidate: so long a lease that is given back lies idle at most.
    pub poll: Duration,
    /// Written on the lease by its holder, beside what others put there.
    pub annotations: BTreeMap<String, String>,
    /// Called after each attempt, whatever came of it.
    pub alive: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Config {
    /// 15 s, 10 s, 2 s, as client-go; candidates look each second. The identity is the pod's (host's) name plus a random part.
    pub fn new(namespace: &str, name: &str) -> Self {
        let host = std::env::var("HOSTNAME").ok().filter(|h| !h.is_empty()).unwrap_or_else(|| "local".into());
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: format!("{host}_{}", uuid::Uuid::new_v4()),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
            poll: Duration::from_secs(1),
            annotations: BTreeMap::new(),
            alive: None,
        }
    }
}

/// Whether this process leads. Cheap to clone.
#[derive(Clone)]
pub struct Leadership {
    /// When the renewal that is valid now was sent; `None` before the first, after a loss and after a release.
    renewed: Arc<Mutex<Option<Instant>>>,
    leads: watch::Receiver<bool>,
    lost: CancellationToken,
    /// `None`: election is off, this process always leads.
    times: Option<(Duration, Duration)>,
}

impl Leadership {
    /// Without election: this process always leads.
    pub fn always() -> Self {
        let (_, leads) = watch::channel(true);
        Self { renewed: Arc::default(), leads, lost: CancellationToken::new(), times: None }
    }

    /// Waits until this process leads. `false` when the election ended before that.
    pub async fn wait_until_leader(&self) -> bool {
        if self.times.is_none() {
            return true;
        }
        self.leads.clone().wait_for(|leads| *leads).await.is_ok()
    }

    /// Whether a write may start now: the last renewal is younger than the renew deadline.
    pub fn is_valid(&self) -> bool {
        self.left(|(deadline, _)| deadline).is_some()
    }

    /// How long a write that starts now may take: until others may take over. `None` when none may start.
    /// Without election a day.
    pub fn remaining(&self) -> Option<Duration> {
        self.is_valid().then(|| self.left(|(_, duration)| duration)).flatten()
    }

    /// Cancelled when leadership is lost. It is not won again: the process ends and starts anew.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    fn left(&self, until: impl Fn((Duration, Duration)) -> Duration) -> Option<Duration> {
        let Some(times) = self.times else {
            return Some(Duration::from_secs(86_400));
        };
        let renewed = (*self.renewed.lock().unwrap_or_else(PoisonError::into_inner))?;
        until(times).checked_sub(renewed.elapsed()).filter(|left| !left.is_zero())
    }
}

/// A running election.
pub struct Election {
    leadership: Leadership,
    release: CancellationToken,
    task: JoinHandle<()>,
}

impl Election {
    /// Starts to compete. A candidate stops when `stop` is cancelled; a leader goes on renewing until it is released, so
    /// that work under way can end.
    pub fn start(client: Client, config: Config, stop: CancellationToken) -> Self {
        let (leads_tx, leads) = watch::channel(false);
        let leadership = Leadership {
            renewed: Arc::default(),
            leads,
            lost: CancellationToken::new(),
            times: Some((config.renew_deadline, config.duration)),
        };
        let release = CancellationToken::new();
        let competitor = Competitor {
            api: Api::namespaced(client, &config.namespace),
            observer: Observer::new(&config.identity, config.duration),
            config,
            leadership: leadership.clone(),
            leads: leads_tx,
        };
        let task = tokio::spawn(competitor.run(stop, release.clone()));
        Self { leadership, release, task }
    }

    /// Whether this process leads.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Gives the lease back, so that another replica takes over at once. Call it when nothing writes any more.
    pub async fn release(self) {
        self.release.cancel();
        let _ended_or_panicked = self.task.await;
    }
}

struct Competitor {
    api: Api<Lease>,
    config: Config,
    observer: Observer,
    leadership: Leadership,
    leads: watch::Sender<bool>,
}

impl Competitor {
    async fn run(mut self, stop: CancellationToken, release: CancellationToken) {
        let (namespace, name, identity) = (&self.config.namespace, &self.config.name, &self.config.identity);
        tracing::info!(%namespace, %name, %identity, "competing for the lease");
        let mut held: Option<Lease> = None;
        loop {
            let leading = held.is_some();
            match self.attempt(&mut held).await {
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, leading, "lease"),
            }
            if let Some(alive) = &self.config.alive {
                alive();
            }
            if leading && (held.is_none() || !self.leadership.is_valid()) {
                tracing::error!("leadership lost");
                self.set_renewed(None);
                let _nobody_listens = self.leads.send(false);
                self.leadership.lost.cancel();
                return;
            }
            if !leading && held.is_some() {
                tracing::info!("leading");
                let _nobody_listens = self.leads.send(true);
            }
            tokio::select! {
                () = tokio::time::sleep(self.pause(held.is_some())) => {}
                () = release.cancelled() => break,
                () = stop.cancelled(), if held.is_none() => return,
            }
        }
        if let Some(lease) = held {
            self.give_back(lease).await;
        }
    }

    /// Until the next attempt; a leader never sleeps past its deadline.
    fn pause(&self, leading: bool) -> Duration {
        match self.leadership.left(|(deadline, _)| deadline) {
            Some(left) if leading => self.config.retry.min(left + Duration::from_millis(1)),
            _ if leading => self.config.retry,
            _ => self.config.poll.min(self.config.retry),
        }
    }

    /// One round: renew, or look and perhaps acquire. `held` is the lease as we wrote it last; `None` afterwards means that
    /// somebody else has it.
    async fn attempt(&mut self, held: &mut Option<Lease>) -> Result<()> {
        let limit = self.leadership.left(|(deadline, _)| deadline).unwrap_or(self.config.renew_deadline);
        let limit = limit.min(Duration::from_secs(5));
        if let Some(lease) = held.clone() {
            match self.write(Decision::Renew, Some(lease), limit).await {
                Ok(written) => {
                    *held = Some(written);
                    return Ok(());
                }
                // somebody wrote it: look who
                Err(e) if e.is_conflict() || e.is_not_found() => {}
                Err(e) => return Err(e),
            }
        }
        let lease = bounded("get lease", limit, self.api.get_opt(&self.config.name)).await?;
        let decision = self.observer.decide(lease.as_ref(), Instant::now());
        match decision {
            Decision::Wait => {
                *held = None;
                Ok(())
            }
            // a lease that vanished or was taken while we led: do not win it back unseen, somebody may have led meanwhile
            Decision::Create | Decision::Acquire if held.is_some() => {
                *held = None;
                Ok(())
            }
            decision => match self.write(decision, lease, limit).await {
                Ok(written) => {
                    *held = Some(written);
                    Ok(())
                }
                Err(e) if e.is_conflict() => {
                    *held = None;
                    Ok(())
                }
                Err(e) => Err(e),
            },
        }
    }

    async fn write(&mut self, decision: Decision, current: Option<Lease>, limit: Duration) -> Result<Lease> {
        let sent = Instant::now();
        let lease = decision::next(decision, current, &self.config, Timestamp::now());
        let params = PostParams::default();
        let written = match decision {
            Decision::Create => bounded("create lease", limit, self.api.create(&params, &lease)).await?,
            _ => bounded("update lease", limit, self.api.replace(&self.config.name, &params, &lease)).await?,
        };
        self.observer.note(&written, Instant::now());
        self.set_renewed(Some(sent));
        Ok(written)
    }

    fn set_renewed(&self, at: Option<Instant>) {
        *self.leadership.renewed.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    async fn give_back(&self, lease: Lease) {
        self.set_renewed(None);
        let _nobody_listens = self.leads.send(false);
        let lease = decision::released(lease, Timestamp::now());
        let params = PostParams::default();
        let limit = Duration::from_secs(5);
        match bounded("release lease", limit, self.api.replace(&self.config.name, &params, &lease)).await {
            Ok(_) => tracing::info!("lease released"),
            Err(error) => tracing::warn!(%error, "lease not released; it expires by itself"),
        }
    }
}

async fn bounded<T>(what: &str, limit: Duration, future: impl Future<Output = Result<T, kube::Error>>) -> Result<T> {
    match timeout(limit, future).await {
        Ok(result) => result.map_err(|e| Error::new(what, e)),
        Err(_) => Err(Error::Timeout { what: what.into() }),
    }
}

fn metadata(config: &Config) -> ObjectMeta {
    ObjectMeta { name: Some(config.name.clone()), namespace: Some(config.namespace.clone()), ..Default::default() }
}

fn micro(now: Timestamp) -> Option<MicroTime> {
    Some(MicroTime(now))
}

fn spec_of(lease: Option<Lease>) -> (ObjectMeta, LeaseSpec) {
    lease.map(|l| (l.metadata, l.spec.unwrap_or_default())).unwrap_or_default()
}
