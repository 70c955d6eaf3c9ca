//! What this GitLab takes: families and features by its version, its terms and its licence.

use duo_api::condition::ACCEPTED;
use duo_api::instance::LicenseStatus;
use duo_api::{AssignmentProvider, Family, Feature};

use crate::conditions::Finding;
use crate::observed::Instance;
use crate::tiers;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Capabilities;

    fn reason(finding: Option<Finding>) -> Option<&'static str> {
        finding.map(|finding| finding.reason)
    }

    fn instance(terms: bool) -> Instance {
        let row = |key: &str, state: &str| crate::observed::Feature {
            key: key.into(),
            provider: "unassigned".into(),
            model_id: None,
            release_state: Some(state.into()),
            families: [].into(),
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
        let mut hidden = instance(false);
        hidden.features.clear();
        let hidden = features_offered(&hidden, &[Feature::CodeCompletions]).unwrap().message;
        assert!(hidden.contains("(since 17.9; see its version and licence)"), "no beta: {hidden}");
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
            families: ["codestral".into()].into(),
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
}
