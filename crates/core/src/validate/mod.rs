//! Rules that need more than one object, or GitLab's answer: the API server's CEL rules cannot express them.
//!
//! Each rule is a function that returns the finding that refuses, or nothing. Their order in [`model`] is the order in
//! which they are told. `offered` holds what GitLab's answer decides, `warnings` what works and yet deserves a word.

mod offered;
mod warnings;

use std::collections::BTreeSet;

use duo_api::condition::ACCEPTED;
use duo_api::gateway::AIGatewaySpec;
use duo_api::{Feature, Platform, SelfHostedModelSpec};
use duo_gateway_config::model_key;

pub use offered::{family, family_incompatible, feature_came, features_offered, managed_offline, unfit_features};
pub use warnings::{gateway_warnings, warnings};

use crate::claims::{Claimant, winner_over};
use crate::conditions::Finding;
use crate::desired;
use crate::implementation;

/// Another SelfHostedModel of the same gateway.
#[derive(Clone, Debug)]
pub struct Sibling {
    /// Age, namespace and name.
    pub claimant: Claimant,
    /// Its declaration.
    pub spec: SelfHostedModelSpec,
}

/// Why a model is not accepted before GitLab is asked.
pub fn model(
    me: &Claimant,
    spec: &SelfHostedModelSpec,
    gateway: &AIGatewaySpec,
    siblings: &[Sibling],
) -> Option<Finding> {
    not_supported(spec, gateway)
        .or_else(|| provider_not_configured(spec, gateway))
        .or_else(|| settings_refused(me, spec))
        .or_else(|| name_claimed(me, spec, siblings))
        .or_else(|| indistinguishable(me, spec, siblings))
}

/// A setting that GitLab's own image does not have.
fn not_supported(spec: &SelfHostedModelSpec, gateway: &AIGatewaySpec) -> Option<Finding> {
    let refused = implementation::refused_of_model(gateway.implementation, spec);
    (!refused.is_empty()).then(|| {
        Finding::fails(ACCEPTED, "NotSupportedByImplementation", implementation::sentence(&refused)).by_person()
    })
}

/// A setting that the CRD admits and the gateway does not take.
fn settings_refused(me: &Claimant, spec: &SelfHostedModelSpec) -> Option<Finding> {
    let mistake = desired::mistake(&me.name, spec)?;
    Some(Finding::fails(ACCEPTED, "SettingsRefused", mistake).by_person())
}

/// Vertex AI is called in a project and a location, which only the AIGateway tells.
fn provider_not_configured(spec: &SelfHostedModelSpec, gateway: &AIGatewaySpec) -> Option<Finding> {
    if gateway.providers.as_ref().is_some_and(|providers| providers.vertex_ai.is_some()) {
        return None;
    }
    let own = (spec.platform == Platform::VertexAI).then(|| "spec.platform".to_owned());
    let fallback = || {
        let found = spec.fallbacks.iter().find(|fallback| fallback.platform == Platform::VertexAI);
        found.map(|fallback| format!("spec.fallbacks[{}].platform", fallback.name))
    };
    own.or_else(fallback).map(|field| {
        Finding::fails(
            ACCEPTED,
            "ProviderNotConfigured",
            format!(
                "{field}: VertexAI needs spec.providers.vertexAI of AIGateway {}: project and location",
                spec.gateway_ref.name
            ),
        )
        .by_person()
    })
}

/// A model's name is unique in GitLab, so two resources cannot both have it.
fn name_claimed(me: &Claimant, spec: &SelfHostedModelSpec, siblings: &[Sibling]) -> Option<Finding> {
    let rivals = siblings.iter().filter(|other| other.spec.display_name == spec.display_name);
    let winner = winner_over(me, rivals.map(|other| &other.claimant))?;
    let whose = format!(
        "spec.displayName {:?} belongs to the older SelfHostedModel {}/{}",
        spec.display_name, winner.namespace, winner.name
    );
    Some(claimed("NameClaimed", &whose, "choose another name", winner))
}

/// A claim that lost: until the winner is gone, or a person ends it.
fn claimed(reason: &'static str, whose: &str, cure: &str, winner: &Claimant) -> Finding {
    if winner.leaving {
        Finding::fails(ACCEPTED, reason, format!("{whose}, which is being deleted"))
    } else {
        Finding::fails(ACCEPTED, reason, format!("{whose}; {cure}")).by_person()
    }
}

/// The gateway finds a declared model by family, endpoint and identifier: that is all that GitLab's request carries.
fn indistinguishable(me: &Claimant, spec: &SelfHostedModelSpec, siblings: &[Sibling]) -> Option<Finding> {
    let key = |spec: &SelfHostedModelSpec| model_key(spec.family.key(), spec.endpoint.as_deref(), &spec.identifier);
    let rivals =
        siblings.iter().filter(|other| key(&other.spec) == key(spec) && other.spec.settings() != spec.settings());
    let rivals: Vec<&Sibling> = rivals.collect();
    let winner = winner_over(me, rivals.iter().map(|other| &other.claimant))?;
    let other = rivals.iter().find(|other| other.claimant == *winner)?;
    let whose = format!(
        "family, endpoint and identifier are those of the older SelfHostedModel {}/{}, but {} differs: GitLab's requests \
         do not tell the two apart",
        winner.namespace,
        winner.name,
        differing(&spec.settings(), &other.spec.settings()).join(" and ")
    );
    Some(claimed("Indistinguishable", &whose, "make them the same or use another endpoint", winner))
}

/// Fields of the two that are not the same, as `spec.<field>`.
fn differing(mine: &SelfHostedModelSpec, other: &SelfHostedModelSpec) -> Vec<String> {
    let fields = |spec| match serde_json::to_value(spec) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (mine, other) = (fields(mine), fields(other));
    let names: BTreeSet<&String> = mine.keys().chain(other.keys()).collect();
    names.into_iter().filter(|name| mine.get(*name) != other.get(*name)).map(|name| format!("spec.{name}")).collect()
}

/// Features that an older assignment of the same gateway names: (feature, winner).
pub fn claimed_features(
    me: &Claimant,
    features: &[Feature],
    others: &[(Claimant, Vec<Feature>)],
) -> Vec<(Feature, Claimant)> {
    features
        .iter()
        .filter_map(|feature| {
            let rivals = others.iter().filter(|(_, list)| list.contains(feature)).map(|(claimant, _)| claimant);
            winner_over(me, rivals).map(|winner| (*feature, winner.clone()))
        })
        .collect()
}

/// The finding for claimed features.
pub fn features_claimed(claimed: &[(Feature, Claimant)]) -> Option<Finding> {
    (!claimed.is_empty()).then(|| {
        let list: Vec<String> = claimed
            .iter()
            .map(|(feature, winner)| format!("{feature} by {}/{}", winner.namespace, winner.name))
            .collect();
        Finding::fails(
            ACCEPTED,
            "FeatureClaimed",
            format!(
                "spec.features: older FeatureAssignments hold {}; take them out of one of the two",
                list.join(", ")
            ),
        )
        .by_person()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use duo_api::{Family, SecretKeyRef};

    fn spec(name: &str, key: Option<&str>) -> SelfHostedModelSpec {
        SelfHostedModelSpec {
            endpoint: Some("http://vllm:8000/v1".into()),
            api_key_secret_ref: key.map(|name| SecretKeyRef { name: name.into(), key: "token".into() }),
            ..SelfHostedModelSpec::new("duo", name, Platform::OpenAICompatible, Family::Mistral, "custom_openai/m")
        }
    }

    fn gateway(providers: &str) -> AIGatewaySpec {
        let text = format!("{{gitlab: {{url: 'http://g', tokenSecretRef: {{name: t}}}}, providers: {providers}}}");
        serde_yaml_ng::from_str(&text).unwrap()
    }

    fn plain(me: &Claimant, spec: &SelfHostedModelSpec, siblings: &[Sibling]) -> Option<Finding> {
        model(me, spec, &gateway("{}"), siblings)
    }

    fn claimant(day: u8, name: &str) -> Claimant {
        Claimant::new(Some(format!("2026-01-{day:02}T00:00:00Z")), "ns", name)
    }

    fn reason(finding: Option<Finding>) -> Option<&'static str> {
        finding.map(|finding| finding.reason)
    }

    #[test]
    fn the_younger_of_two_models_with_one_name_is_refused() {
        let mine = spec("A", None);
        let sibling = |day| vec![Sibling { claimant: claimant(day, "other"), spec: spec("A", None) }];
        assert_eq!(reason(plain(&claimant(2, "me"), &mine, &sibling(1))), Some("NameClaimed"));
        assert_eq!(reason(plain(&claimant(2, "me"), &mine, &sibling(3))), None);
    }

    #[test]
    fn one_key_with_two_credentials_is_refused() {
        let mine = spec("A", Some("one"));
        let other = |key| vec![Sibling { claimant: claimant(1, "other"), spec: spec("B", key) }];
        let refused = plain(&claimant(2, "me"), &mine, &other(Some("two"))).unwrap();
        assert_eq!(refused.reason, "Indistinguishable");
        assert!(refused.message.contains("but spec.apiKeySecretRef differs"), "{}", refused.message);
        assert_eq!(reason(plain(&claimant(2, "me"), &mine, &other(Some("one")))), None);
    }

    #[test]
    fn one_key_with_two_settings_is_refused_and_what_only_gitlab_sees_does_not_count() {
        let mine = spec("A", None);
        let refused = |change: fn(&mut SelfHostedModelSpec)| {
            let mut other = spec("B", None);
            change(&mut other);
            reason(plain(&claimant(2, "me"), &mine, &[Sibling { claimant: claimant(1, "other"), spec: other }]))
        };
        assert_eq!(refused(|other| other.endpoint = Some("http://vllm:8000/v1/".into())), None);
        assert_eq!(refused(|other| other.deletion_policy = duo_api::DeletionPolicy::Orphan), None);
        assert_eq!(refused(|other| other.weight = Some(2)), Some("Indistinguishable"));
        assert_eq!(refused(|other| other.prompt_caching = Some(false)), Some("Indistinguishable"));
    }

    #[test]
    fn a_setting_that_the_gateway_refuses_is_told_at_the_model() {
        let wrong = SelfHostedModelSpec { prompt_caching: Some(true), ..spec("A", None) };
        let refused = plain(&claimant(1, "me"), &wrong, &[]).unwrap();
        assert_eq!(refused.reason, "SettingsRefused");
        assert!(refused.message.starts_with("spec.promptCaching: "), "{}", refused.message);
    }

    #[test]
    fn a_setting_that_gitlabs_image_does_not_have_is_refused_beside_it_only() {
        let (me, weighed) = (claimant(1, "me"), SelfHostedModelSpec { weight: Some(2), ..spec("A", None) });
        let embedded = gateway("{}");
        let of_gitlab = AIGatewaySpec { implementation: duo_api::gateway::Implementation::GitLab, ..embedded.clone() };
        let refused = model(&me, &weighed, &of_gitlab, &[]).unwrap();
        assert_eq!(refused.reason, "NotSupportedByImplementation");
        assert!(refused.message.contains("spec.weight"), "{}", refused.message);
        assert_eq!(reason(model(&me, &weighed, &embedded, &[])), None);
        assert_eq!(reason(model(&me, &spec("A", None), &of_gitlab, &[])), None);
    }

    #[test]
    fn vertex_ai_needs_a_project() {
        let me = claimant(1, "me");
        let own = SelfHostedModelSpec::new("duo", "V", Platform::VertexAI, Family::Gemini, "vertex_ai/g");
        let fallback = serde_yaml_ng::from_str("{name: v, platform: VertexAI, identifier: vertex_ai/g}").unwrap();
        let with = SelfHostedModelSpec { fallbacks: vec![fallback], ..spec("F", None) };
        let configured = gateway("{vertexAI: {project: p, location: global}}");
        for (spec, field) in [(own, "spec.platform:"), (with, "spec.fallbacks[v].platform:")] {
            let refused = plain(&me, &spec, &[]).unwrap();
            assert_eq!(refused.reason, "ProviderNotConfigured");
            assert!(refused.message.starts_with(field), "{}", refused.message);
            assert_eq!(reason(model(&me, &spec, &configured, &[])), None);
        }
    }

    #[test]
    fn a_feature_belongs_to_the_older_assignment() {
        let others = vec![(claimant(1, "old"), vec![Feature::DuoChat])];
        let features = [Feature::DuoChat, Feature::CodeCompletions];
        let claimed = claimed_features(&claimant(2, "me"), &features, &others);
        assert_eq!(claimed.iter().map(|c| c.0).collect::<Vec<_>>(), [Feature::DuoChat]);
        assert!(features_claimed(&claimed).unwrap().message.contains("ns/old"));
        assert!(claimed_features(&claimant(1, "a"), &features, &[(claimant(2, "b"), features.to_vec())]).is_empty());
    }
}
