//! One feature in GitLab: what serves it.

use std::fmt;

use duo_api::{AssignmentProvider, Feature};

use super::Operation;
use crate::observed::{self, Instance};

/// What serves a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeatureTarget {
    /// A self-hosted model, by its global id.
    Model(String),
    /// Nothing: switched off.
    Disabled,
    /// GitLab's own models.
    GitLabManaged,
    /// Nothing chosen.
    Unassigned,
}

impl FeatureTarget {
    /// Lower-case provider as queries answer it; upper case of it is what mutations take.
    pub fn provider(&self) -> &'static str {
        match self {
            Self::Model(_) => "self_hosted",
            Self::Disabled => "disabled",
            Self::GitLabManaged => "vendored",
            Self::Unassigned => "unassigned",
        }
    }

    /// Model id to send. `None` must travel as an explicit null: `DISABLED` and `UNASSIGNED` do not clear the id
    /// otherwise, and the model keeps counting as in use (GitLab 18.9).
    pub fn model_id(&self) -> Option<&str> {
        match self {
            Self::Model(id) => Some(id),
            _ => None,
        }
    }
}

impl From<AssignmentProvider> for FeatureTarget {
    fn from(provider: AssignmentProvider) -> Self {
        match provider {
            AssignmentProvider::Disabled => Self::Disabled,
            AssignmentProvider::GitLabManaged => Self::GitLabManaged,
        }
    }
}

impl fmt::Display for FeatureTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(id) => write!(f, "{id}"),
            other => f.write_str(other.provider()),
        }
    }
}

/// How the feature is set, with the name of its model where GitLab lists it.
pub(super) fn found(instance: &Instance, feature: Option<&observed::Feature>) -> String {
    let Some(feature) = feature else { return "not listed".to_owned() };
    let Some(id) = &feature.model_id else { return feature.provider.clone() };
    let name = instance.model(id).map(|model| format!(" {:?}", model.name)).unwrap_or_default();
    format!("{} {id}{name}", feature.provider)
}

/// The write that makes the feature served by `target`; `None` when it already is.
pub fn plan_feature(instance: &Instance, feature: Feature, target: &FeatureTarget) -> Option<Operation> {
    let observed = instance.feature(feature.key());
    if observed.is_some_and(|row| row.provider == target.provider() && row.model_id.as_deref() == target.model_id()) {
        return None;
    }
    Some(Operation::UpdateFeature {
        feature: feature.key().to_owned(),
        target: target.clone(),
        found: found(instance, observed),
    })
}

/// Whether a feature that somebody serves now moves to another model: users must not notice.
pub fn moves(instance: &Instance, features: &[Feature], target: &FeatureTarget) -> bool {
    let served = |feature: Feature| {
        let provider = |feature: Feature| instance.feature(feature.key()).map(|row| row.provider.as_str());
        match provider(feature) {
            Some("self_hosted" | "vendored") => true,
            // GitLab falls back to Duo Chat's model.
            Some("unassigned") => feature.is_chat_sub_feature() && provider(Feature::DuoChat) == Some("self_hosted"),
            _ => false,
        }
    };
    target.model_id().is_some()
        && features.iter().any(|feature| served(*feature) && plan_feature(instance, *feature, target).is_some())
}

/// The write that takes our hands off a feature, if it still is as we set it; `None` when somebody else changed it.
///
/// A chat sub-feature returns to Duo Chat's model where there is one: an explicit unassigned row would stop GitLab's
/// fall-back to it (GitLab 18.9).
/// `chat_goes_too`: Duo Chat itself is released at the same time or its model is deleted, so there is nothing to return
/// to.
pub fn plan_unassign(
    instance: &Instance,
    feature: Feature,
    ours: &[FeatureTarget],
    chat_goes_too: bool,
) -> Option<Operation> {
    let observed = instance.feature(feature.key())?;
    let still_ours = ours
        .iter()
        .any(|target| observed.provider == target.provider() && observed.model_id.as_deref() == target.model_id());
    if !still_ours {
        return None;
    }
    let chat_model = (feature.is_chat_sub_feature() && !chat_goes_too)
        .then(|| instance.feature(Feature::DuoChat.key()))
        .flatten()
        .filter(|chat| chat.provider == "self_hosted")
        .and_then(|chat| chat.model_id.clone());
    let target = chat_model.map_or(FeatureTarget::Unassigned, FeatureTarget::Model);
    plan_feature(instance, feature, &target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Capabilities;

    fn row(key: &str, provider: &str, model: Option<&str>) -> observed::Feature {
        observed::Feature {
            key: key.into(),
            provider: provider.into(),
            model_id: model.map(Into::into),
            release_state: None,
            families: [].into(),
        }
    }

    fn instance(features: Vec<observed::Feature>) -> Instance {
        Instance {
            version: String::new(),
            capabilities: Capabilities::newest(),
            settings: None,
            models: None,
            features,
        }
    }

    fn model(id: &str) -> FeatureTarget {
        FeatureTarget::Model(id.into())
    }

    #[test]
    fn a_feature_that_is_as_declared_needs_no_write() {
        let seen = instance(vec![row("code_completions", "self_hosted", Some("1"))]);
        assert_eq!(plan_feature(&seen, Feature::CodeCompletions, &model("1")), None);
        assert!(plan_feature(&seen, Feature::CodeCompletions, &model("2")).is_some());
        assert!(plan_feature(&seen, Feature::CodeGenerations, &model("1")).is_some());
    }

    #[test]
    fn a_disabled_row_that_kept_its_model_id_is_written_again() {
        let seen = instance(vec![row("duo_chat", "disabled", Some("1"))]);
        let operation = plan_feature(&seen, Feature::DuoChat, &FeatureTarget::Disabled).unwrap();
        assert_eq!(operation.to_string(), "set feature duo_chat to disabled (found: disabled 1)");
    }

    #[test]
    fn a_chat_sub_feature_returns_to_duo_chats_model() {
        let seen = instance(vec![
            row("duo_chat", "self_hosted", Some("9")),
            row("duo_chat_explain_code", "self_hosted", Some("1")),
        ]);
        match plan_unassign(&seen, Feature::DuoChatExplainCode, &[model("1")], false) {
            Some(Operation::UpdateFeature { target, .. }) => assert_eq!(target, model("9")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_duo_chats_model_a_feature_becomes_unassigned_with_a_null_model() {
        let seen =
            instance(vec![row("duo_chat", "unassigned", None), row("duo_chat_explain_code", "self_hosted", Some("1"))]);
        match plan_unassign(&seen, Feature::DuoChatExplainCode, &[model("1")], false) {
            Some(Operation::UpdateFeature { target, .. }) => assert_eq!(target, FeatureTarget::Unassigned),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_chat_sub_feature_that_goes_with_duo_chat_becomes_unassigned() {
        let seen = instance(vec![
            row("duo_chat", "self_hosted", Some("1")),
            row("duo_chat_explain_code", "self_hosted", Some("1")),
        ]);
        match plan_unassign(&seen, Feature::DuoChatExplainCode, &[model("1")], true) {
            Some(Operation::UpdateFeature { target, .. }) => assert_eq!(target, FeatureTarget::Unassigned),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_feature_moves_when_somebody_has_it_from_another_model() {
        let (chat, sub, code) = (Feature::DuoChat, Feature::DuoChatExplainCode, Feature::CodeCompletions);
        for (chat_is, sub_is, code_is, features, to, expected) in [
            // nobody has any of them
            (None, None, None, vec![chat, sub, code], Some("1"), false),
            // it is there already
            (Some("1"), Some("1"), Some("1"), vec![chat, sub, code], Some("1"), false),
            (None, None, Some("2"), vec![code], Some("1"), true),
            (Some("1"), Some("1"), Some("2"), vec![chat, sub, code], Some("1"), true),
            (Some("1"), Some("1"), Some("2"), vec![chat, sub], Some("1"), false),
            // Duo Chat's model answers for it
            (Some("2"), None, None, vec![sub], Some("1"), true),
            (Some("2"), None, None, vec![code], Some("1"), false),
            // nothing is to serve it
            (Some("2"), Some("2"), Some("2"), vec![chat, sub, code], None, false),
        ] {
            let row = |feature: Feature, model: Option<&str>| {
                row(feature.key(), if model.is_some() { "self_hosted" } else { "unassigned" }, model)
            };
            let seen = instance(vec![row(chat, chat_is), row(sub, sub_is), row(code, code_is)]);
            let target = to.map_or(FeatureTarget::Disabled, model);
            assert_eq!(moves(&seen, &features, &target), expected, "{seen:?} {features:?} {to:?}");
        }
        let by_gitlab = |provider| instance(vec![row("code_completions", provider, None)]);
        assert!(moves(&by_gitlab("vendored"), &[code], &model("1")), "GitLab's own models serve it");
        assert!(!moves(&by_gitlab("disabled"), &[code], &model("1")));
    }

    #[test]
    fn what_somebody_else_assigned_is_left_alone() {
        let seen = instance(vec![row("code_completions", "self_hosted", Some("2"))]);
        assert_eq!(plan_unassign(&seen, Feature::CodeCompletions, &[model("1")], false), None);
    }
}
