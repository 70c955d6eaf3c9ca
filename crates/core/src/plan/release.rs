//! Features that a resource lets go of: what they become, and which are none of its business any more.

use duo_api::{AssignmentProvider, Feature};

use super::{FeatureTarget, Operation, plan_unassign};
use crate::observed::Instance;

/// A feature that a resource has set in GitLab, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The feature.
    pub feature: Feature,
    /// `None`: one of the gateway's models.
    pub provider: Option<AssignmentProvider>,
}

impl Held {
    /// From the annotation `assigned-features`: keys with commas between them, `:disabled` or `:vendored` after those
    /// that no model serves. What cannot be read is left out.
    pub fn read(text: &str) -> Vec<Self> {
        let known = |key: &str| Feature::ALL.into_iter().find(|feature| feature.key() == key);
        let provider = |word: &str| {
            let all = [AssignmentProvider::Disabled, AssignmentProvider::GitLabManaged];
            all.into_iter().find(|provider| FeatureTarget::from(*provider).provider() == word)
        };
        text.split(',')
            .filter_map(|item| match item.split_once(':') {
                None => Some(Self { feature: known(item)?, provider: None }),
                Some((key, word)) => Some(Self { feature: known(key)?, provider: Some(provider(word)?) }),
            })
            .collect()
    }

    /// The annotation.
    pub fn write(all: &[Self]) -> String {
        let item = |held: &Self| match held.provider {
            None => held.feature.key().to_owned(),
            Some(provider) => format!("{}:{}", held.feature.key(), FeatureTarget::from(provider).provider()),
        };
        all.iter().map(item).collect::<Vec<_>>().join(",")
    }
}

/// What a resource that lets go of features knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// Features that it lets go of, of those that it has set. One may stand there twice, while it is being changed.
    pub features: Vec<Held>,
    /// Ids of the gateway's models.
    pub models: Vec<String>,
    /// Features that resources name which stay: whoever holds them now sets them.
    pub elsewhere: Vec<Feature>,
    /// Whether another resource lets go of Duo Chat at this time.
    pub chat_released: bool,
    /// Ids of models that are being deleted: a sub-feature that returned to Duo Chat's model would stay on it with nobody
    /// to take it off.
    pub leaving_models: Vec<String>,
}

/// The writes that let go. A feature that is not as we set it is somebody else's and stays.
pub fn plan_release(instance: &Instance, release: &Release) -> Vec<Operation> {
    let going: Vec<Held> =
        release.features.iter().copied().filter(|held| !release.elsewhere.contains(&held.feature)).collect();
    let chat = instance.feature(Feature::DuoChat.key());
    let chat_model_leaves =
        chat.and_then(|chat| chat.model_id.as_ref()).is_some_and(|id| release.leaving_models.contains(id));
    let chat_goes = going.iter().any(|held| held.feature == Feature::DuoChat);
    let chat_goes_too = chat_goes || release.chat_released || chat_model_leaves;
    let models: Vec<FeatureTarget> = release.models.iter().cloned().map(FeatureTarget::Model).collect();
    going
        .iter()
        .filter_map(|held| {
            let ours = held.provider.map_or_else(|| models.clone(), |provider| vec![provider.into()]);
            plan_unassign(instance, held.feature, &ours, chat_goes_too)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{self, Capabilities};

    /// Duo Chat on model 9, a sub-feature of it and code completion on model 1.
    fn instance() -> Instance {
        let row = |key: &str, id: &str| observed::Feature {
            key: key.into(),
            provider: "self_hosted".into(),
            model_id: Some(id.into()),
            release_state: None,
            families: [].into(),
        };
        Instance {
            version: String::new(),
            capabilities: Capabilities::newest(),
            settings: None,
            models: None,
            features: vec![row("duo_chat", "9"), row("duo_chat_explain_code", "1"), row("code_completions", "1")],
        }
    }

    fn release(features: &[Feature]) -> Release {
        let features = features.iter().map(|feature| Held { feature: *feature, provider: None }).collect();
        Release { features, models: ["1", "9"].map(Into::into).to_vec(), ..Release::default() }
    }

    #[test]
    fn the_annotation_tells_what_was_set_to_what() {
        use Feature::{CodeCompletions, DuoChat};
        let held = |feature, provider| Held { feature, provider };
        let all = [
            held(CodeCompletions, Some(AssignmentProvider::Disabled)),
            held(DuoChat, None),
            held(DuoChat, Some(AssignmentProvider::GitLabManaged)),
        ];
        let text = "code_completions:disabled,duo_chat,duo_chat:vendored";
        assert_eq!(Held::write(&all), text);
        assert_eq!(Held::read(text), all);
        assert_eq!(Held::read(",unknown,duo_chat:somehow,duo_chat"), [held(DuoChat, None)]);
        assert_eq!(Held::read(""), []);
    }

    #[test]
    fn what_was_set_to_no_model_is_let_go_only_as_it_was_set() {
        let mut seen = instance();
        for (provider, held, written) in [
            ("disabled", Some(AssignmentProvider::Disabled), 1),
            ("disabled", None, 0),
            ("vendored", Some(AssignmentProvider::Disabled), 0),
            ("vendored", Some(AssignmentProvider::GitLabManaged), 1),
        ] {
            provider.clone_into(&mut seen.features[2].provider);
            seen.features[2].model_id = None;
            let features = vec![Held { feature: Feature::CodeCompletions, provider: held }];
            let release = Release { features, ..release(&[]) };
            assert_eq!(plan_release(&seen, &release).len(), written, "{provider} {held:?}");
        }
    }

    #[test]
    fn where_released_features_go() {
        use Feature::{CodeCompletions, DuoChat, DuoChatExplainCode};
        let explain = release(&[DuoChatExplainCode]);
        for (release, becomes) in [
            (explain.clone(), vec!["duo_chat_explain_code to 9"]),
            (Release { chat_released: true, ..explain.clone() }, vec!["duo_chat_explain_code to unassigned"]),
            (
                Release { leaving_models: vec!["9".into()], ..explain.clone() },
                vec!["duo_chat_explain_code to unassigned"],
            ),
            (Release { leaving_models: vec!["1".into()], ..explain.clone() }, vec!["duo_chat_explain_code to 9"]),
            (
                release(&[DuoChat, DuoChatExplainCode]),
                vec!["duo_chat to unassigned", "duo_chat_explain_code to unassigned"],
            ),
            (
                Release { elsewhere: vec![DuoChat], ..release(&[DuoChat, DuoChatExplainCode]) },
                vec!["duo_chat_explain_code to 9"],
            ),
            (Release { elsewhere: vec![CodeCompletions], ..release(&[CodeCompletions]) }, vec![]),
            (Release { models: vec!["2".into()], ..release(&[CodeCompletions]) }, vec![]),
        ] {
            let planned: Vec<String> = plan_release(&instance(), &release)
                .iter()
                .map(|operation| match operation {
                    Operation::UpdateFeature { feature, target, .. } => format!("{feature} to {target}"),
                    other => panic!("{other}"),
                })
                .collect();
            assert_eq!(planned, becomes, "{release:?}");
        }
    }
}
