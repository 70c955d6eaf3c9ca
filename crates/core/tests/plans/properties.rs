//! One plan and what it leaves.

use duo_api::{AdoptionPolicy, Family, Feature, Platform, SelfHostedModelSpec};
use duo_core::observed::{Instance, Model, Settings};
use duo_core::ownership::{Doomed, Marks, Match, match_model, may_delete};
use duo_core::plan::{self, FeatureTarget, Operation};
use proptest::prelude::*;
use proptest::{collection, option, sample};

use crate::gitlab::{execute, instance};

const NAMES: [&str; 3] = ["a", "b", "c"];
const FEATURES: [Feature; 4] =
    [Feature::CodeCompletions, Feature::CodeGenerations, Feature::DuoChat, Feature::DuoChatExplainCode];

fn model() -> impl Strategy<Value = Model> {
    (1..6_u32, sample::select(&NAMES[..]), any::<[bool; 4]>(), option::of(sample::select(&["", "http://a/", "x"][..])))
        .prop_map(|(id, name, [family, identifier, provider, token], endpoint)| Model {
            id: id.to_string(),
            name: name.to_owned(),
            family: if family { "claude_3" } else { "gpt" }.to_owned(),
            endpoint: endpoint.map(ToOwned::to_owned),
            identifier: identifier.then(|| "bedrock/m".to_owned()),
            provider: Some(if provider { "BEDROCK" } else { "API" }.to_owned()),
            has_api_token: token,
        })
}

/// Ids and names are unique, as in GitLab.
fn models() -> impl Strategy<Value = Vec<Model>> {
    collection::vec(model(), 0..5).prop_map(|models| {
        let mut kept: Vec<Model> = Vec::new();
        for model in models {
            if kept.iter().all(|other| other.id != model.id && other.name != model.name) {
                kept.push(model);
            }
        }
        kept
    })
}

fn marks() -> impl Strategy<Value = Marks> {
    let id = option::of((1..6_u32).prop_map(|id| id.to_string()));
    let name = option::of(sample::select(&NAMES[..]).prop_map(ToOwned::to_owned));
    (id, name).prop_map(|(external_id, create_pending)| Marks { external_id, create_pending })
}

fn spec() -> impl Strategy<Value = SelfHostedModelSpec> {
    (sample::select(&NAMES[..]), any::<bool>()).prop_map(|(name, bedrock)| {
        if bedrock {
            SelfHostedModelSpec::new("duo", name, Platform::Bedrock, Family::Claude, "bedrock/m")
        } else {
            SelfHostedModelSpec {
                endpoint: Some("http://vllm:8000/v1/".to_owned()),
                ..SelfHostedModelSpec::new("duo", name, Platform::OpenAICompatible, Family::GPT, "custom_openai/m")
            }
        }
    })
}

/// The model of this resource, by all that a user agreed to.
fn may_touch(marks: &Marks, name: &str, adopts: bool, taken: &[String], model: &Model) -> bool {
    let held = marks.external_id.as_ref() == Some(&model.id);
    let lost_answer = marks.create_pending.as_deref() == Some(name);
    held || (model.name == name && !taken.contains(&model.id) && (lost_answer || adopts))
}

fn unchanged(before: &Instance, after: &Instance, but: impl Fn(&Model) -> bool) {
    for model in before.models.iter().flatten().filter(|model| !but(model)) {
        assert_eq!(after.model(&model.id), Some(model), "a foreign model was touched");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_models_plan_leaves_nothing_to_do_and_touches_nothing_foreign(
        spec in spec(), list in models(), marks in marks(), adopts: bool, new_shape: bool, hidden: bool,
        taken in collection::vec((1..6_u32).prop_map(|id| id.to_string()), 0..2),
    ) {
        // Two resources never hold one id: the second would have been refused.
        prop_assume!(marks.external_id.as_ref().is_none_or(|id| !taken.contains(id)));
        let mut seen = instance(&[], new_shape);
        seen.models = Some(list);
        if !new_shape {
            seen.models.iter_mut().flatten().for_each(|model| model.provider = None);
        }
        let adoption = if adopts { AdoptionPolicy::ByName } else { AdoptionPolicy::Never };
        let name = spec.display_name.clone();
        let desired = plan::desired_model(&spec, &seen.capabilities);
        let taken_ids: Vec<&str> = taken.iter().map(String::as_str).collect();
        let before = seen.clone();
        let matched = match_model(&marks, &name, adoption, &before, hidden, &taken_ids);
        let Some(operation) = plan::plan_model(&matched, &desired) else { return Ok(()) };
        // A name that somebody else has is GitLab's to refuse.
        let mine = match &matched {
            Match::Ours(model) | Match::Adopt(model) => Some(&model.id),
            _ => None,
        };
        prop_assume!(before.model_named(&name).is_none_or(|other| Some(&other.id) == mine));
        let ours = match (&matched, execute(&mut seen, &operation)) {
            (_, Some(made)) => made,
            (Match::Ours(model) | Match::Adopt(model), None) => model.id.clone(),
            (other, None) => panic!("{other:?} led to {operation}"),
        };
        unchanged(&before, &seen, |model| may_touch(&marks, &name, adopts, &taken, model));
        let marks = Marks { external_id: Some(ours), create_pending: None };
        let again = match_model(&marks, &name, adoption, &seen, false, &taken_ids);
        prop_assert!(matches!(again, Match::Ours(_)));
        prop_assert_eq!(plan::plan_model(&again, &desired), None);
    }

    #[test]
    fn only_the_models_own_resource_may_delete_it(
        list in models(), marks in marks(), name in sample::select(&NAMES[..]), hidden: bool,
        taken in collection::vec((1..6_u32).prop_map(|id| id.to_string()), 0..2),
    ) {
        let mut seen = instance(&[], true);
        seen.models = Some(list);
        let taken_ids: Vec<&str> = taken.iter().map(String::as_str).collect();
        if let Doomed::Listed(id) = may_delete(&marks, name, &seen, hidden, &taken_ids) {
            prop_assert!(may_touch(&marks, name, false, &taken, seen.model(id).unwrap()));
        }
    }

    #[test]
    fn a_settings_plan_leaves_nothing_to_do(
        found in option::of(sample::select(&["http://a", "http://a/", " ", "http://b"][..])),
        found_timeout in option::of(60..90_u32), declared in sample::select(&["http://a", "http://a/", "http://c"][..]),
        timeout in option::of(60..90_u32), has_timeout: bool,
    ) {
        let mut seen = instance(&[], true);
        let gateway_url = found.map(ToOwned::to_owned);
        let settings = Settings { gateway_url, timeout_seconds: found_timeout, ..Settings::default() };
        seen.settings = Some(settings.clone());
        let planned = plan::plan_settings(&settings, declared, timeout, has_timeout);
        if let Some(operation) = &planned {
            execute(&mut seen, operation);
        }
        let after = seen.settings.unwrap();
        prop_assert_eq!(plan::plan_settings(&after, declared, timeout, has_timeout), None);
        if timeout.is_none() || !has_timeout {
            prop_assert_eq!(after.timeout_seconds, found_timeout, "an undeclared timeout was touched");
        }
    }

    #[test]
    fn a_features_plan_leaves_nothing_to_do_and_other_features_alone(
        rows in collection::vec((sample::select(&["disabled", "vendored", "self_hosted", "unassigned"][..]),
                                 option::of(sample::select(&["1", "2"][..]))), 4),
        declared in sample::subsequence(&FEATURES[..], 0..=4),
        target in prop_oneof![
            Just(FeatureTarget::Model("1".to_owned())), Just(FeatureTarget::Disabled),
            Just(FeatureTarget::GitLabManaged), Just(FeatureTarget::Unassigned)],
    ) {
        let keys: Vec<&str> = FEATURES.iter().map(|feature| feature.key()).collect();
        let mut seen = instance(&keys, true);
        for (row, (provider, model)) in seen.features.iter_mut().zip(rows) {
            provider.clone_into(&mut row.provider);
            row.model_id = model.map(ToOwned::to_owned);
        }
        let before = seen.clone();
        let planned = |seen: &Instance| -> Vec<Operation> {
            declared.iter().filter_map(|feature| plan::plan_feature(seen, *feature, &target)).collect()
        };
        for operation in planned(&seen) {
            execute(&mut seen, &operation);
        }
        prop_assert_eq!(planned(&seen), vec![]);
        for feature in FEATURES.iter().filter(|feature| !declared.contains(feature)) {
            prop_assert_eq!(before.feature(feature.key()), seen.feature(feature.key()));
        }
    }
}
