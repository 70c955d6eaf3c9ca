//! What all reconcilers share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use duo_api::annotations::{EXTERNAL_ID, EXTERNAL_INSTANCE};
use duo_api::{AIGateway, FeatureAssignment, SelfHostedModel};
use duo_core::claims::Claimant;
use duo_core::deletion::Patience;
use duo_core::ownership::Home;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use crate::attempts::Attempts;
use crate::contests::Contests;
use crate::error::{Error, Next};
use crate::fresh::Fresh;
use crate::own_writes::OwnWrites;
use crate::places::Places;
use crate::report::Reporter;
use crate::session::Sessions;
use crate::shard::Shard;
use crate::since::Since;
use crate::turn::Waiting;
use crate::watches::Stores;

/// Shared by all reconcilers.
pub(crate) struct Context {
    /// Client of the Kubernetes API.
    pub kube: kube::Client,
    /// Secrets and ConfigMaps that were read a moment ago.
    pub fresh: Fresh,
    /// Server-side apply of child objects.
    pub applier: duo_runtime::apply::Applier,
    /// Conversations with GitLab.
    pub sessions: Sessions,
    /// All resources, as the watches saw them last.
    pub stores: Stores,
    /// Status and events.
    pub reporter: Reporter,
    /// Which gateways are ours to work on.
    pub shard: Shard,
    /// What this process wrote last to each of our objects.
    pub own: OwnWrites,
    /// Whether this process may write to GitLab.
    pub leadership: duo_runtime::lease::Leadership,
    /// How often an unchanged world is looked at.
    pub resync: Duration,
    /// How long deletions wait.
    pub patience: Patience,
    /// Who is at work.
    pub places: Places,
    /// Fights with other writers.
    pub contests: Contests,
    /// When connections were checked last.
    pub attempts: Attempts,
    /// Since when GitLab holds a model as it is declared, where that is asked for.
    pub followed: Since,
    /// Since when the pods are waited for before GitLab is told of a model, or of a feature that moves to it.
    pub waiting: Waiting,
    /// Image of the gateway where a resource names none.
    pub gateway_image: String,
    /// Whom models fail, by the gateways' pods.
    pub lookout: crate::gateway::Lookout,
    /// For asking gateway pods which configuration they serve.
    pub http: reqwest::Client,
    /// A dry run asks no pods: they are taken to serve what is rendered.
    pub pods_assumed: bool,
    /// Gateways whose undeclared child objects are gone.
    pub pruned: crate::gateway::Pruned,
}

impl Context {
    /// The gateway of this namespace and name.
    pub(crate) fn gateway(&self, namespace: &str, name: &str) -> Option<Arc<AIGateway>> {
        self.stores.gateways.get(&ObjectRef::new(name).within(namespace))
    }

    /// Models of a gateway, oldest first.
    pub(crate) fn models_of(&self, namespace: &str, gateway: &str) -> Vec<Arc<SelfHostedModel>> {
        let mut models = self.stores.models_of(namespace, gateway);
        models.sort_by_cached_key(|model| claimant(model.as_ref()));
        models
    }

    /// Assignments of a gateway, oldest first.
    pub(crate) fn assignments_of(&self, namespace: &str, gateway: &str) -> Vec<Arc<FeatureAssignment>> {
        let mut assignments = self.stores.assignments_of(namespace, gateway);
        assignments.sort_by_cached_key(|item| claimant(item.as_ref()));
        assignments
    }

    /// Ids of this gateway's models in the GitLab that is spoken to.
    pub(crate) fn held_ids(&self, namespace: &str, gateway: &str, home: &Home) -> Vec<String> {
        self.models_of(namespace, gateway).iter().filter_map(|model| held_id(model, home)).collect()
    }

    /// For how long something new may still be silent while what it rests on comes up. A dry run waits for nobody.
    pub(crate) fn may_be_silent<K: Resource>(&self, object: &K) -> Option<Duration> {
        self.own.may_be_silent(object, Instant::now()).filter(|_| !self.pods_assumed)
    }

    /// Asked before every write to GitLab: a process that lost its lease writes no more.
    pub(crate) fn may_write(&self) -> Result<(), Error> {
        if self.leadership.is_valid() { Ok(()) } else { Err(Error::NotLeading) }
    }

    /// When a resource of this gateway is looked at again without a trigger: with the gateway ([`crate::rounds`]), and by
    /// itself where there is none.
    pub(crate) fn next_look(&self, namespace: &str, gateway: &str) -> Next {
        if self.gateway(namespace, gateway).is_some() { Next::OnChange } else { Next::After(self.resync) }
    }
}

/// Id of a model in the GitLab that is spoken to; a number that it has in another GitLab means nothing there.
pub(crate) fn held_id(model: &SelfHostedModel, home: &Home) -> Option<String> {
    model.annotations().get(EXTERNAL_ID).filter(|_| made_at(model, home)).cloned()
}

/// Whether the marks on an object were made in the GitLab that is spoken to.
pub(crate) fn made_at<K: Resource>(object: &K, home: &Home) -> bool {
    home.made(object.annotations().get(EXTERNAL_INSTANCE).map(String::as_str))
}

/// The mark that says in which GitLab the others were made.
pub(crate) fn home_mark<K: Resource>(object: &K, home: &Home) -> (&'static str, Option<String>) {
    (EXTERNAL_INSTANCE, Some(home.written(object.annotations().get(EXTERNAL_INSTANCE).map(String::as_str))))
}

/// Age, namespace and name of an object, for claims.
pub(crate) fn claimant<K: Resource>(object: &K) -> Claimant {
    Claimant::new(
        object.creation_timestamp().map(|time| time.0.to_string()),
        object.namespace().unwrap_or_default(),
        object.name_any(),
    )
    .leaving(object.meta().deletion_timestamp.is_some())
}

/// The GitLab that a gateway speaks to, as far as its object tells.
pub(crate) fn told_home(gateway: &AIGateway) -> Home {
    let mark = gateway.annotations().get(EXTERNAL_INSTANCE).map(String::as_str);
    Home::read(&Home::new(&gateway.spec.gitlab.url, None).written(mark))
}

/// Now, as conditions write it.
pub(crate) fn now() -> String {
    jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap_or_default().to_string()
}

/// Seconds since the deletion of an object was asked for.
pub(crate) fn deleting_for<K: Resource>(object: &K) -> i64 {
    object
        .meta()
        .deletion_timestamp
        .as_ref()
        .map_or(0, |time| (jiff::Timestamp::now().as_second() - time.0.as_second()).max(0))
}
