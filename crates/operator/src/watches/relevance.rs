//! Which part of an object matters to whom: its own controller must not be woken by its own status writes, dependents
//! only by what they read.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

use duo_api::annotations::{CREATE_PENDING, EXTERNAL_ID, EXTERNAL_INSTANCE, SHARD};
use duo_api::condition::{CONFIG_ACCEPTED, CONNECTION_VERIFIED, GATEWAY_URL_CONFIGURED, READY, SYNCED, TOKEN_VALID};
use duo_api::{AIGateway, FeatureAssignment, SelfHostedModel};
use kube::Resource;
use serde::de::DeserializeOwned;

/// What of an object wakes whom: one hash for its own controller, two for who reads what is declared and what became of
/// it.
pub(super) struct Relevance {
    pub(super) own: u64,
    pub(super) declared: u64,
    pub(super) state: u64,
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
    /// The conditions that others read.
    const TOLD: &'static [&'static str];
    /// What dependents read in the status beside the conditions.
    fn outcome(&self) -> Option<&str>;

    fn relevance(&self) -> Relevance {
        let meta = self.meta();
        // Own status writes do not wake the own controller, nor does the mark around a create: one that GitLab refuses
        // would be tried again at once.
        let annotations: Vec<_> =
            meta.annotations.iter().flatten().filter(|(key, _)| key.as_str() != CREATE_PENDING).collect();
        let gone = meta.deletion_timestamp.is_some();
        let own = hash(&(meta.generation, annotations, &meta.labels, &meta.finalizers, gone, &meta.uid));
        let declared = hash(&(meta.generation, meta.deletion_timestamp.is_some(), &meta.uid));
        let told = self.conditions().iter().filter(|condition| Self::TOLD.contains(&condition.type_.as_str()));
        // A new declaration that leaves all as it was is news to who waited for its being looked at.
        let conditions: Vec<_> =
            told.map(|c| (&c.type_, format!("{:?}", c.status), &c.reason, c.observed_generation)).collect();
        let annotation = |name| meta.annotations.as_ref().and_then(|annotations| annotations.get(name));
        let external = (annotation(EXTERNAL_ID), annotation(EXTERNAL_INSTANCE), annotation(SHARD), &meta.labels);
        let state = hash(&(conditions, self.outcome(), external));
        Relevance { own, declared, state }
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Primary for AIGateway {
    const TOLD: &'static [&'static str] = &[TOKEN_VALID, GATEWAY_URL_CONFIGURED, CONFIG_ACCEPTED, READY];

    fn conditions(&self) -> &[duo_api::Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn outcome(&self) -> Option<&str> {
        self.status.as_ref().and_then(|status| status.config_hash.as_deref())
    }
}

impl Primary for SelfHostedModel {
    const TOLD: &'static [&'static str] = &[SYNCED, CONNECTION_VERIFIED, READY];

    fn conditions(&self) -> &[duo_api::Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn outcome(&self) -> Option<&str> {
        self.status.as_ref().and_then(|status| status.gitlab_id.as_deref())
    }
}

impl Primary for FeatureAssignment {
    const TOLD: &'static [&'static str] = &[SYNCED];

    fn conditions(&self) -> &[duo_api::Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn outcome(&self) -> Option<&str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_mark_around_a_create_wakes_nobody_and_other_annotations_do() {
        let model: SelfHostedModel = serde_json::from_value(json!({
            "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": "SelfHostedModel",
            "metadata": {"name": "m", "namespace": "a"},
            "spec": {"gatewayRef": {"name": "duo"}, "displayName": "M", "platform": "Bedrock", "family": "Mixtral",
                     "identifier": "bedrock/m"},
        }))
        .unwrap();
        let with = |key: &str| {
            let mut model = model.clone();
            model.annotations_mut().insert(key.to_owned(), "M".to_owned());
            model.relevance().own
        };
        assert_eq!(with(CREATE_PENDING), model.relevance().own);
        assert_ne!(with(duo_api::annotations::ABANDON), model.relevance().own);
    }
}
