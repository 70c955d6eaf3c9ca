//! Rules that need more than one object, or GitLab's answer: the API server's CEL rules cannot express them.
//!
//! Each rule is a function that returns the finding that refuses, or nothing. Their order in [`model`] and
//! [`assignment`] is the order in which they are told.

use std::collections::BTreeSet;

use duo_api::condition::ACCEPTED;
use duo_api::gateway::{AIGatewaySpec, Implementation};
use duo_api::instance::LicenseStatus;
use duo_api::{AssignmentProvider, Family, Feature, Platform, SelfHostedModelSpec};
use duo_gateway_config::model_key;

use crate::claims::{Claimant, winner_over};
use crate::conditions::Finding;
use crate::desired;
use crate::implementation;
use crate::observed::Instance;
use crate::tiers;

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

/// Why GitLab would not serve the model's family. `exists`: GitLab holds the model already.
pub fn family(instance: &Instance, family: Family, exists: bool) -> Option<Finding> {
    let known = &instance.capabilities.families;
    if !known.is_empty() && !known.iter().any(|name| name == family.graphql()) {
        return Some(
            Finding::fails(
                ACCEPTED,
                "FamilyNotSupported",
                format!(
                    "spec.family: GitLab {} does not know {family}{}; it knows {}",
                    instance.version,
                    family_came(family),
                    known.join(", ")
                ),
            )
            .by_person(),
        );
    }
    (family.is_beta() && !exists && !instance.testing_terms_accepted()).then(|| {
        Finding::fails(
            ACCEPTED,
            "TestingTermsNotAccepted",
            format!(
                "spec.family: {family} is in beta; an administrator has to accept GitLab's testing terms first (Admin, \
                 GitLab Duo, self-hosted models: there is no API for it)"
            ),
        )
        .by_person()
    })
}

/// When a family came, as far as that is known.
fn family_came(family: Family) -> &'static str {
    match family {
        Family::Gemini | Family::Qwen | Family::Embedding => ", which came between 18.10 and 19.5",
        _ => "",
    }
}

/// From which GitLab on self-hosted models may serve a feature (GitLab's documentation of 18.9 and the 19.x line).
pub fn feature_came(feature: Feature) -> &'static str {
    match feature {
        Feature::CodeGenerations
        | Feature::CodeCompletions
        | Feature::DuoChat
        | Feature::DuoChatExplainCode
        | Feature::DuoChatWriteTests
        | Feature::DuoChatRefactorCode
        | Feature::DuoChatFixCode => "17.9",
        Feature::DuoChatTroubleshootJob => "17.10",
        Feature::ReviewMergeRequest => "18.3",
        Feature::DuoAgentPlatform | Feature::DuoAgentPlatformAgenticChat => "18.4",
        Feature::GenerateCommitMessage
        | Feature::SummarizeNewMergeRequest
        | Feature::DuoChatExplainVulnerability
        | Feature::ResolveVulnerability
        | Feature::SummarizeReview
        | Feature::GlabAskGitCommand
        | Feature::DuoChatSummarizeComments => "18.1.2",
        Feature::FeatureDiscoverySearch
        | Feature::ResolveDependencyBump
        | Feature::ReviewMergeRequestDap
        | Feature::SastVulnerabilityFpDetection
        | Feature::SastVulnerabilityResolution
        | Feature::SecretVulnerabilityFpDetection
        | Feature::SecurityReview => "18.10 to 19.5",
    }
}

/// GitLab lists them only where the testing terms are accepted (18.9 and 19.x).
fn is_beta_feature(feature: Feature) -> bool {
    !matches!(feature_came(feature), "17.9" | "18.3" | "18.4")
}

/// GitLab does not offer them with Premium (18.9).
fn needs_ultimate(feature: Feature) -> bool {
    matches!(feature, Feature::DuoChatExplainVulnerability | Feature::ResolveVulnerability)
}

/// Features of an assignment that GitLab does not offer, told apart by why.
pub fn features_offered(instance: &Instance, features: &[Feature]) -> Option<Finding> {
    let known = &instance.capabilities.features;
    let (missing, unknown): (Vec<Feature>, Vec<Feature>) = features
        .iter()
        .copied()
        .filter(|feature| instance.feature(feature.key()).is_none())
        .partition(|feature| known.is_empty() || known.iter().any(|name| name == feature.graphql()));
    let refuse = |reason, text: String| Some(Finding::fails(ACCEPTED, reason, text).by_person());
    if !unknown.is_empty() {
        let list: Vec<String> =
            unknown.iter().map(|feature| format!("{feature} (since {})", feature_came(*feature))).collect();
        let text = format!("spec.features: GitLab {} does not have {}", instance.version, list.join(", "));
        return refuse("FeatureNotSupported", text);
    }
    if missing.is_empty() {
        return None;
    }
    let terms = instance.testing_terms_accepted();
    let list: Vec<String> = missing
        .iter()
        .map(|feature| {
            let why = match () {
                () if is_beta_feature(*feature) && !terms => {
                    "it is in beta: an administrator has to accept the testing terms"
                }
                () if needs_ultimate(*feature) => "it needs Ultimate",
                () => "see its version and licence",
            };
            format!("{feature} (since {}; {why})", feature_came(*feature))
        })
        .collect();
    refuse(
        "FeatureNotListed",
        format!("spec.features: GitLab {} does not offer {} now", instance.version, list.join(", ")),
    )
}

/// Features that do not take this family, with those that they take: by the instance's own lists, else by our copy.
pub fn unfit_features<'a>(
    instance: &'a Instance,
    features: &[Feature],
    family: Option<Family>,
) -> Vec<(Feature, Vec<&'a str>)> {
    let Some(family) = family else { return Vec::new() };
    features
        .iter()
        .filter_map(|feature| Some((*feature, tiers::families(instance, *feature)?)))
        .filter(|(_, families)| !families.contains(&family.key()))
        .collect()
}

/// The finding for features that do not take the model's family. GitLab would refuse each of them.
pub fn family_incompatible(unfit: &[(Feature, Vec<&str>)], family: Option<Family>) -> Option<Finding> {
    let family = family.filter(|_| !unfit.is_empty())?;
    let list: Vec<String> =
        unfit.iter().map(|(feature, takes)| format!("{feature} (takes {})", takes.join(", "))).collect();
    Some(
        Finding::fails(
            ACCEPTED,
            "FamilyIncompatible",
            format!(
                "spec.modelRef: a model of family {family} cannot serve {}; name another model for them",
                list.join(", ")
            ),
        )
        .by_person(),
    )
}

/// GitLab's own models are in GitLab's cloud, which an offline licence switches off.
pub fn managed_offline(provider: Option<AssignmentProvider>, license: Option<&LicenseStatus>) -> Option<Finding> {
    let offline = license.is_some_and(|license| license.type_ == "offline_cloud");
    (provider == Some(AssignmentProvider::GitLabManaged) && offline).then(|| {
        Finding::fails(
            ACCEPTED,
            "OfflineLicense",
            "spec.provider: GitLab's own models do not work with an offline licence; name a model or use Disabled",
        )
        .by_person()
    })
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

/// What of a gateway deserves a Warning event, but works.
pub fn gateway_warnings(spec: &AIGatewaySpec) -> Vec<(&'static str, String)> {
    let prompts = spec.logging.as_ref().is_some_and(|logging| logging.prompts).then(|| {
        let text = "spec.logging.prompts: all prompts and answers are logged, with the source code in them; whoever reads \
                    the gateway's logs reads it";
        ("PromptLoggingEnabled", text.to_owned())
    });
    let image = spec.gitlab_image.clone().unwrap_or_default();
    let of_gitlab = spec.implementation == Implementation::GitLab || spec.agent_platform.is_some();
    let own = spec.implementation == Implementation::GitLab && spec.image.is_none();
    let agents = spec.agent_platform.as_ref().is_some_and(|platform| platform.image.is_none());
    let guessed = (image.tag.is_none() && (own || agents)).then(|| {
        let text = "spec.gitlabImage.tag: the tag follows GitLab's minor version, but its newest patch cannot be known \
                    without asking a registry; name it, for security fixes";
        ("GatewayImageGuessed", text.to_owned())
    });
    let bundle = (of_gitlab && spec.gitlab.ca_bundle_ref.is_some()).then(|| {
        let text = "spec.gitlab.caBundleRef: GitLab's image trusts these authorities in place of the public ones; the \
                    bundle has to hold all that are needed";
        ("CABundleReplacesPublic", text.to_owned())
    });
    let bypass =
        image.environment.iter().find(|(name, value)| name.contains("BYPASS") && *value != "false").map(|(name, _)| {
            let text = format!("spec.gitlabImage.environment: {name} lets requests through that nobody has signed");
            ("AuthenticationBypassed", text)
        });
    prompts.into_iter().chain(guessed).chain(bundle).chain(bypass).collect()
}

/// What deserves a Warning event, but works.
pub fn warnings(spec: &SelfHostedModelSpec) -> Vec<(&'static str, String)> {
    let missing_v1 = spec.platform == Platform::OpenAICompatible
        && spec.endpoint.as_deref().is_some_and(|url| !url.trim_end_matches('/').ends_with("/v1"));
    missing_v1
        .then(|| {
            (
                "EndpointWithoutV1",
                format!(
                    "spec.endpoint {} does not end in /v1; OpenAI-compatible servers such as vLLM answer 404 without it",
                    spec.endpoint.as_deref().unwrap_or_default()
                ),
            )
        })
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Capabilities;
    use duo_api::SecretKeyRef;

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
    fn logged_prompts_earn_a_warning() {
        let mut spec = gateway("{}");
        assert!(gateway_warnings(&spec).is_empty());
        spec.logging = serde_yaml_ng::from_str("{prompts: true}").unwrap();
        assert_eq!(gateway_warnings(&spec)[0].0, "PromptLoggingEnabled");
    }

    #[test]
    fn a_missing_v1_earns_a_warning() {
        let mut spec = spec("A", None);
        assert!(warnings(&spec).is_empty());
        spec.endpoint = Some("http://vllm:8000".into());
        assert_eq!(warnings(&spec)[0].0, "EndpointWithoutV1");
    }

    fn instance(terms: bool) -> Instance {
        let row = |key: &str, state: &str| crate::observed::Feature {
            key: key.into(),
            provider: "unassigned".into(),
            model_id: None,
            release_state: Some(state.into()),
            families: vec![],
        };
        let mut features = vec![row("code_completions", "GA")];
        if terms {
            features.push(row("summarize_review", "EXPERIMENT"));
        }
        Instance {
            version: "18.9.0".into(),
            capabilities: Capabilities {
                has_model_provider: false,
                endpoint_required: true,
                timeout_setting: true,
                agent_platform_url: true,
                agent_platform_secure: true,
                families: vec!["MISTRAL".into(), "LLAMA3".into()],
                features: vec!["CODE_COMPLETIONS".into(), "SUMMARIZE_REVIEW".into()],
            },
            settings: None,
            models: Some(vec![]),
            features,
        }
    }

    #[test]
    fn beta_families_wait_for_the_testing_terms() {
        assert_eq!(reason(family(&instance(false), Family::Llama3, false)), Some("TestingTermsNotAccepted"));
        assert_eq!(reason(family(&instance(false), Family::Llama3, true)), None);
        assert_eq!(reason(family(&instance(true), Family::Llama3, false)), None);
        assert_eq!(reason(family(&instance(false), Family::Mistral, false)), None);
        assert_eq!(reason(family(&instance(true), Family::Qwen, false)), Some("FamilyNotSupported"));
    }

    #[test]
    fn features_that_the_instance_lacks_or_hides_are_named() {
        let lacks = features_offered(&instance(true), &[Feature::SecurityReview]);
        assert!(lacks.as_ref().is_some_and(|f| f.message.contains("SecurityReview")));
        assert_eq!(reason(lacks), Some("FeatureNotSupported"));
        assert_eq!(reason(features_offered(&instance(false), &[Feature::SummarizeReview])), Some("FeatureNotListed"));
        assert_eq!(reason(features_offered(&instance(true), &[Feature::SummarizeReview])), None);
    }

    #[test]
    fn what_is_missing_is_told_with_what_it_needs() {
        let told = |terms, feature| features_offered(&instance(terms), &[feature]).unwrap().message;
        assert!(told(true, Feature::SecurityReview).contains("SecurityReview (since 18.10 to 19.5)"));
        assert!(told(false, Feature::SummarizeReview).contains("testing terms"));
        let mut premium = instance(true);
        premium.capabilities.features.push("RESOLVE_VULNERABILITY".into());
        let ultimate = features_offered(&premium, &[Feature::ResolveVulnerability]).unwrap().message;
        assert!(ultimate.contains("Ultimate") && !ultimate.contains("testing terms"), "{ultimate}");
        let gemini = family(&premium, Family::Gemini, false).unwrap().message;
        assert!(gemini.contains("between 18.10 and 19.5"), "{gemini}");
    }

    #[test]
    fn a_family_is_fit_for_a_feature_by_the_instances_list_and_else_by_ours() {
        let unfit = |instance: &Instance, feature, family| {
            unfit_features(instance, &[feature], family).into_iter().map(|(feature, _)| feature).collect::<Vec<_>>()
        };
        let mut seen = instance(true);
        let review = Feature::ReviewMergeRequest;
        assert_eq!(unfit(&seen, review, Some(Family::Codestral)), [review]);
        assert!(unfit(&seen, review, Some(Family::Mistral)).is_empty());
        assert!(unfit(&seen, review, None).is_empty());
        // GitLab's own word is worth more than our copy, and what neither knows is left to GitLab
        seen.features.push(crate::observed::Feature {
            key: review.key().into(),
            provider: "unassigned".into(),
            model_id: None,
            release_state: None,
            families: vec!["codestral".into()],
        });
        assert!(unfit(&seen, review, Some(Family::Codestral)).is_empty());
        assert_eq!(unfit(&seen, review, Some(Family::Mistral)), [review]);
        assert!(unfit(&seen, Feature::SecurityReview, Some(Family::Embedding)).is_empty());
        let list = unfit_features(&seen, &[review], Some(Family::Mistral));
        let told = family_incompatible(&list, Some(Family::Mistral)).unwrap();
        assert!(told.message.contains("ReviewMergeRequest (takes codestral)"), "{}", told.message);
        assert_eq!(family_incompatible(&[], Some(Family::Mistral)), None);
    }

    #[test]
    fn gitlabs_own_models_need_a_licence_that_is_online() {
        let license = |kind: &str| LicenseStatus { type_: kind.into(), ..LicenseStatus::default() };
        let (managed, offline) = (Some(AssignmentProvider::GitLabManaged), license("offline_cloud"));
        assert_eq!(reason(managed_offline(managed, Some(&offline))), Some("OfflineLicense"));
        assert_eq!(reason(managed_offline(managed, Some(&license("online_cloud")))), None);
        assert_eq!(reason(managed_offline(managed, None)), None);
        assert_eq!(reason(managed_offline(Some(AssignmentProvider::Disabled), Some(&offline))), None);
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
