//! Which part of an object matters to whom: its own controller must not be woken by its own status writes, dependents
//! only by what they read.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

use duo_api::annotations::EXTERNAL_ID;
use duo_api::{AIGateway, FeatureAssignment, SelfHostedModel};
use kube::Resource;
use serde::de::DeserializeOwned;

/// What of an object wakes whom: a hash for its own controller, another for its dependents.
pub(super) struct Relevance {
    pub(super) own: u64,
    pub(super) dependents: u64,
}

/// One of our kinds.
pub(super) trait Primary:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    fn conditions(&self) -> &[duo_api::Condition];
    /// What dependents read in the status beside the conditions.
    fn outcome(&self) -> Option<&str>;

    fn relevance(&self) -> Relevance {
        let meta = self.meta();
        // Own status writes do not wake the own controller.
        let own =
            hash(&(meta.generation, &meta.annotations, &meta.finalizers, meta.deletion_timestamp.is_some(), &meta.uid));
        let conditions: Vec<_> =
            self.conditions().iter().map(|c| (&c.type_, format!("{:?}", c.status), &c.reason)).collect();
        let external = meta.annotations.as_ref().and_then(|annotations| annotations.get(EXTERNAL_ID));
        let dependents = hash(&(
            meta.generation,
            meta.deletion_timestamp.is_some(),
            &meta.uid,
            conditions,
            self.outcome(),
            external,
        ));
        Relevance { own, dependents }
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Primary for AIGateway {
    fn conditions(&self) -> &[duo_api::Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn outcome(&self) -> Option<&str> {
        self.status.as_ref().and_then(|status| status.config_hash.as_deref())
    }
}

impl Primary for SelfHostedModel {
    fn conditions(&self) -> &[duo_api::Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn outcome(&self) -> Option<&str> {
        self.status.as_ref().and_then(|status| status.gitlab_id.as_deref())
    }
}

impl Primary for FeatureAssignment {
    fn conditions(&self) -> &[duo_api::Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn outcome(&self) -> Option<&str> {
        None
    }
}
