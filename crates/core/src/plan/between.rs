//! Two observations of one GitLab as the writes that lead from one to the other: what a dry run shows of code that wrote
//! to a copy.

use duo_api::Family;

use super::{DesiredModel, FeatureTarget, Operation, TokenChange, TokenWish, model, plan_settings};
use crate::observed::{Feature, Instance, Model};
use crate::url_rules;

/// The writes between `before` and `after`: settings, models, features. A model is the same model by its id.
pub fn between(before: &Instance, after: &Instance) -> Vec<Operation> {
    let mut operations = Vec::new();
    operations.extend(settings(before, after));
    operations.extend(agent_platform(before, after));
    let (old, new) = (before.models.as_deref().unwrap_or_default(), after.models.as_deref().unwrap_or_default());
    for found in old {
        match new.iter().find(|model| model.id == found.id) {
            Some(now) => operations.extend(changed(found, now)),
            None => operations.push(Operation::DeleteModel { id: found.id.clone(), name: found.name.clone() }),
        }
    }
    // the list is newest first, and what was made first is told first
    for made in new.iter().rev().filter(|model| before.model(&model.id).is_none()) {
        operations.push(Operation::CreateModel(as_desired(made)));
    }
    for now in &after.features {
        let found = before.feature(&now.key);
        if found.is_none_or(|found| found.provider != now.provider || found.model_id != now.model_id) {
            operations.push(Operation::UpdateFeature {
                feature: now.key.clone(),
                target: target(now),
                found: super::feature::found(before, found),
            });
        }
    }
    operations
}

fn settings(before: &Instance, after: &Instance) -> Option<Operation> {
    let (found, now) = (before.settings.clone().unwrap_or_default(), after.settings.clone().unwrap_or_default());
    let timeout = now.timeout_seconds;
    plan_settings(&found, now.gateway_url.as_deref().unwrap_or_default(), timeout, timeout.is_some())
}

fn agent_platform(before: &Instance, after: &Instance) -> Option<Operation> {
    let (found, now) = (before.settings.clone().unwrap_or_default(), after.settings.clone().unwrap_or_default());
    let url = (!url_rules::same(found.agent_platform_url.as_deref(), now.agent_platform_url.as_deref()))
        .then(|| now.agent_platform_url.clone());
    let secure = now.agent_platform_secure.filter(|now| found.agent_platform_secure != Some(*now));
    super::agent_platform::operation(&found, url, secure)
}

fn changed(found: &Model, now: &Model) -> Option<Operation> {
    let desired = as_desired(now);
    let differences = model::differences(found, &desired);
    let token = match (found.has_api_token, now.has_api_token) {
        (false, true) => TokenChange::Set,
        (true, false) => TokenChange::Clear,
        (true, true) | (false, false) => TokenChange::Keep,
    };
    (token != TokenChange::Keep || !differences.is_empty()).then(|| Operation::UpdateModel {
        id: found.id.clone(),
        desired,
        token,
        differences,
    })
}

fn as_desired(model: &Model) -> DesiredModel {
    let family = Family::ALL.into_iter().map(Family::graphql).find(|key| key.eq_ignore_ascii_case(&model.family));
    let provider = ["API", "BEDROCK", "VERTEX_AI"].into_iter().find(|key| model.provider.as_deref() == Some(key));
    DesiredModel {
        name: model.name.clone(),
        family: family.unwrap_or_default(),
        endpoint: model.endpoint.clone(),
        identifier: model.identifier.clone().unwrap_or_default(),
        provider,
        token: if model.has_api_token { TokenWish::Held { is_new: true } } else { TokenWish::None },
    }
}

fn target(feature: &Feature) -> FeatureTarget {
    match (feature.provider.as_str(), &feature.model_id) {
        ("self_hosted", Some(id)) => FeatureTarget::Model(id.clone()),
        ("disabled", _) => FeatureTarget::Disabled,
        ("vendored", _) => FeatureTarget::GitLabManaged,
        _ => FeatureTarget::Unassigned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{Capabilities, Settings};

    fn model(id: &str, name: &str) -> Model {
        Model {
            id: id.into(),
            name: name.into(),
            family: "claude_3".into(),
            endpoint: None,
            identifier: Some("bedrock/x".into()),
            provider: Some("BEDROCK".into()),
            has_api_token: false,
        }
    }

    fn row(key: &str, provider: &str, model: Option<&str>) -> Feature {
        Feature {
            key: key.into(),
            provider: provider.into(),
            model_id: model.map(Into::into),
            release_state: None,
            families: [].into(),
        }
    }

    fn gitlab() -> Instance {
        Instance {
            version: "19.5.0".into(),
            capabilities: Capabilities::newest(),
            settings: Some(Settings {
                gateway_url: Some("http://old:5052".into()),
                timeout_seconds: Some(60),
                agent_platform_secure: Some(false),
                ..Settings::default()
            }),
            models: Some(vec![model("2", "Two"), model("1", "One")]),
            features: vec![row("duo_chat", "self_hosted", Some("1")), row("code_completions", "unassigned", None)],
        }
    }

    fn sentences(change: impl FnOnce(&mut Instance)) -> Vec<String> {
        let mut after = gitlab();
        change(&mut after);
        between(&gitlab(), &after).iter().map(ToString::to_string).collect()
    }

    fn settings_of(instance: &mut Instance) -> &mut Settings {
        instance.settings.as_mut().unwrap()
    }

    fn models_of(instance: &mut Instance) -> &mut Vec<Model> {
        instance.models.as_mut().unwrap()
    }

    #[test]
    fn what_did_not_change_is_no_write() {
        assert!(sentences(|_| {}).is_empty());
        let empty = Instance { settings: None, ..gitlab() };
        assert!(between(&empty, &empty).is_empty());
    }

    #[test]
    fn each_change_is_one_sentence() {
        type Change = fn(&mut Instance);
        let cases: [(Change, &str); 16] = [
            (
                |g| settings_of(g).gateway_url = Some("http://new:5052".into()),
                "set gateway URL to http://new:5052 (found: http://old:5052)",
            ),
            (|g| settings_of(g).gateway_url = None, "set gateway URL to nothing (found: http://old:5052)"),
            (|g| settings_of(g).timeout_seconds = Some(90), "set request timeout to 90 s (found: 60 s)"),
            (
                |g| {
                    settings_of(g).gateway_url = None;
                    settings_of(g).timeout_seconds = Some(90);
                },
                "set gateway URL to nothing and request timeout to 90 s (found: http://old:5052, 60 s)",
            ),
            (
                |g| settings_of(g).agent_platform_url = Some("duo:50052".into()),
                "set agent platform to duo:50052 (found: no URL)",
            ),
            (|g| settings_of(g).agent_platform_secure = Some(true), "set agent platform's TLS on (found: TLS off)"),
            (|g| models_of(g).insert(0, model("new-1", "Three")), "create model \"Three\""),
            (|g| models_of(g)[1].identifier = Some("bedrock/y".into()), {
                "update model \"One\": identifier from \"bedrock/x\" to \"bedrock/y\""
            }),
            (|g| models_of(g)[1].family = "gpt".into(), "update model \"One\": model from \"CLAUDE_3\" to \"GPT\""),
            (|g| models_of(g)[1].has_api_token = true, "update model \"One\": store the API token"),
            (|g| models_of(g).truncate(1), "delete model \"One\""),
            (
                |g| g.features[1] = row("code_completions", "self_hosted", Some("2")),
                "set feature code_completions to 2 (found: unassigned)",
            ),
            (
                |g| g.features[0] = row("duo_chat", "disabled", None),
                "set feature duo_chat to disabled (found: self_hosted 1 \"One\")",
            ),
            (
                |g| g.features[1] = row("code_completions", "vendored", None),
                "set feature code_completions to vendored (found: unassigned)",
            ),
            (
                |g| g.features[0] = row("duo_chat", "unassigned", None),
                "set feature duo_chat to unassigned (found: self_hosted 1 \"One\")",
            ),
            (|g| g.features[0].model_id = Some("2".into()), "set feature duo_chat to 2 (found: self_hosted 1 \"One\")"),
        ];
        for (change, sentence) in cases {
            assert_eq!(sentences(change), [sentence]);
        }
    }

    #[test]
    fn a_token_that_goes_is_told() {
        let mut before = gitlab();
        models_of(&mut before)[0].has_api_token = true;
        let told: Vec<String> = between(&before, &gitlab()).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["update model \"Two\": remove the stored API token"]);
    }

    #[test]
    fn models_are_told_in_the_order_in_which_they_are_made() {
        let told = sentences(|g| {
            models_of(g).insert(0, model("new-1", "First"));
            models_of(g).insert(0, model("new-2", "Second"));
        });
        assert_eq!(told, ["create model \"First\"", "create model \"Second\""]);
    }
}
