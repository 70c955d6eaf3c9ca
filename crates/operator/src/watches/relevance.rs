//! Which part of an object matters to whom: its own controller must not be woken by its own status writes, dependents
//! only by what they read.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

use duo_api::annotations::{CREATE_PENDING, EXTERNAL_ID, EXTERNAL_INSTANCE, SHARD};
use duo_api::condition::{
    CONFIG_ACCEPTED, CONNECTION_VERIFIED, GATEWAY_URL_CONFIGURED, READY, STALLED, SYNCED, TOKEN_VALID,
};
use duo_api::{AIGateway, FeatureAssignment, SelfHostedModel};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// What of an object wakes whom: one hash for its own controller, the others for who reads what is declared and what
/// became of it.
pub(super) struct Relevance {
    pub(super) own: u64,
    pub(super) declared: u64,
    /// Gateways, and those who claim the same.
    pub(super) state: u64,
    pub(super) for_models: u64,
    pub(super) for_assignments: u64,
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
    /// Those of them that models read.
    const TOLD_TO_MODELS: &'static [&'static str];
    /// Those of them that assignments read.
    const TOLD_TO_ASSIGNMENTS: &'static [&'static str];
    /// What others read in the status beside the conditions.
    fn outcome(&self) -> Option<&str>;
    /// What assignments read there.
    fn id(&self) -> Option<&str>;

    fn relevance(&self) -> Relevance {
        let meta = self.meta();
        // Own status writes do not wake the own controller, nor does the mark around a create: one that GitLab refuses
        // would be tried again at once.
        let annotations: Vec<_> =
            meta.annotations.iter().flatten().filter(|(key, _)| key.as_str() != CREATE_PENDING).collect();
        let gone = meta.deletion_timestamp.is_some();
        let own = hash(&(meta.generation, annotations, &meta.labels, &meta.finalizers, gone, &meta.uid));
        let declared = hash(&(meta.generation, meta.deletion_timestamp.is_some(), &meta.uid));
        let told = |types: &[&str]| -> Vec<_> {
            let conditions = self.conditions().iter().filter(|condition| types.contains(&condition.type_.as_str()));
            // A new declaration that leaves all as it was is news to who waited for its being looked at.
            conditions
                .map(|c| (c.type_.clone(), format!("{:?}", c.status), c.reason.clone(), c.observed_generation))
                .collect()
        };
        let annotation = |name| meta.annotations.as_ref().and_then(|annotations| annotations.get(name));
        let shard = (annotation(SHARD), &meta.labels);
        let external = (annotation(EXTERNAL_ID), annotation(EXTERNAL_INSTANCE), shard);
        Relevance {
            own,
            declared,
            state: hash(&(told(Self::TOLD), self.outcome(), external)),
            for_models: hash(&(told(Self::TOLD_TO_MODELS), self.outcome(), external)),
            for_assignments: hash(&(told(Self::TOLD_TO_ASSIGNMENTS), self.id(), shard)),
        }
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Primary for AIGateway {
    const TOLD: &'static [&'static str] = &[TOKEN_VALID, GATEWAY_URL_CONFIGURED, CONFIG_ACCEPTED, READY];
    const TOLD_TO_MODELS: &'static [&'static str] = &[TOKEN_VALID, GATEWAY_URL_CONFIGURED, CONFIG_ACCEPTED, STALLED];
    const TOLD_TO_ASSIGNMENTS: &'static [&'static str] = &[TOKEN_VALID, GATEWAY_URL_CONFIGURED, READY, STALLED];

    fn conditions(&self) -> &[duo_api::Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn outcome(&self) -> Option<&str> {
        self.status.as_ref().and_then(|status| status.config_hash.as_deref())
    }

    fn id(&self) -> Option<&str> {
        self.annotations().get(EXTERNAL_INSTANCE).map(String::as_str)
    }
}

impl Primary for SelfHostedModel {
    const TOLD: &'static [&'static str] = &[SYNCED, CONNECTION_VERIFIED, READY];
    const TOLD_TO_MODELS: &'static [&'static str] = &[];
    const TOLD_TO_ASSIGNMENTS: &'static [&'static str] = &[SYNCED, READY, STALLED];

    fn conditions(&self) -> &[duo_api::Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn outcome(&self) -> Option<&str> {
        self.status.as_ref().and_then(|status| status.gitlab_id.as_deref())
    }

    fn id(&self) -> Option<&str> {
        self.outcome()
    }
}

impl Primary for FeatureAssignment {
    const TOLD: &'static [&'static str] = &[SYNCED];
    const TOLD_TO_MODELS: &'static [&'static str] = &[];
    const TOLD_TO_ASSIGNMENTS: &'static [&'static str] = &[];

    fn conditions(&self) -> &[duo_api::Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }

    fn outcome(&self) -> Option<&str> {
        None
    }

    fn id(&self) -> Option<&str> {
        None
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn who_reads_a_condition_is_woken_by_it_and_nobody_else() {
        let gateway = |type_: &str| -> AIGateway {
            serde_json::from_value(json!({
                "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": "AIGateway",
                "metadata": {"name": "duo", "namespace": "a"},
                "spec": {"gitlab": {"url": "https://g.example.com", "tokenSecretRef": {"name": "t", "key": "t"}}},
                "status": {"conditions": [{"type": type_, "status": "True", "reason": "X", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
            }))
            .unwrap()
        };
        let nothing = gateway("Reconciling").relevance();
        for (type_, models, assignments) in [
            (TOKEN_VALID, true, true),
            (GATEWAY_URL_CONFIGURED, true, true),
            (CONFIG_ACCEPTED, true, false),
            (READY, false, true),
            (STALLED, true, true),
        ] {
            let now = gateway(type_).relevance();
            assert_eq!(now.for_models != nothing.for_models, models, "{type_}");
            assert_eq!(now.for_assignments != nothing.for_assignments, assignments, "{type_}");
        }
    }
}
