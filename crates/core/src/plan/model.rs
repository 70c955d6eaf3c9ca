//! One model in GitLab: what it should be, and the write that makes it so.

use duo_api::{Platform, SelfHostedModelSpec};

use super::{Operation, TokenChange, TokenWish};
use crate::observed::{Capabilities, Model};
use crate::ownership::Match;
use crate::url_rules;

/// Endpoint that GitLab's own form sends for Bedrock where the schema wants one (up to 18.9).
pub const PLACEHOLDER_ENDPOINT: &str = "http://bedrockselfhostedmodel.com";

/// A model as GitLab should hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredModel {
    /// Name.
    pub name: String,
    /// Upper-case family.
    pub family: &'static str,
    /// Endpoint; `None` where GitLab wants none.
    pub endpoint: Option<String>,
    /// Identifier.
    pub identifier: String,
    /// `API`, `BEDROCK` or `VERTEX_AI`; `None` where the schema has no such argument.
    pub provider: Option<&'static str>,
    /// API token.
    pub token: TokenWish,
}

/// What GitLab should hold for this declaration, in the shape of this instance.
pub fn desired_model(spec: &SelfHostedModelSpec, capabilities: &Capabilities) -> DesiredModel {
    let endpoint = match (spec.platform.has_endpoint(), capabilities.endpoint_required) {
        (true, _) => spec.endpoint.clone(),
        (false, true) => Some(PLACEHOLDER_ENDPOINT.to_owned()),
        (false, false) => None,
    };
    let provider = match spec.platform {
        Platform::Bedrock => "BEDROCK",
        Platform::VertexAI => "VERTEX_AI",
        Platform::OpenAICompatible | Platform::AzureOpenAI => "API",
    };
    DesiredModel {
        name: spec.display_name.clone(),
        family: spec.family.graphql(),
        endpoint,
        identifier: spec.identifier.clone(),
        provider: capabilities.has_model_provider.then_some(provider),
        token: TokenWish::None,
    }
}

/// The write that makes the matched model what is declared; `None` when nothing differs or nothing may be written.
pub fn plan_model(matched: &Match<'_>, desired: &DesiredModel) -> Option<Operation> {
    let model = match matched {
        Match::Create => return Some(Operation::CreateModel(desired.clone())),
        Match::Hidden(_) | Match::NameTaken(_) => return None,
        Match::Ours(model) | Match::Adopt(model) => model,
    };
    let differences = differences(model, desired);
    let token = desired.token.change(model.has_api_token);
    (!differences.is_empty() || token != TokenChange::Keep).then(|| Operation::UpdateModel {
        id: model.id.clone(),
        desired: desired.clone(),
        token,
        differences,
    })
}

/// Fields in which the model differs from what is declared: (field, found, declared).
pub(super) fn differences(model: &Model, desired: &DesiredModel) -> Vec<(&'static str, String, String)> {
    let mut differences = Vec::new();
    let mut compare = |field, found: &str, declared: &str| {
        if found != declared {
            differences.push((field, found.to_owned(), declared.to_owned()));
        }
    };
    compare("name", &model.name, &desired.name);
    // Queries answer the family in lower case, mutations take the upper-case enum.
    compare("model", &model.family.to_uppercase(), desired.family);
    compare("identifier", model.identifier.as_deref().unwrap_or_default(), &desired.identifier);
    if let (Some(found), Some(declared)) = (&model.provider, desired.provider) {
        compare("provider", found, declared);
    }
    // The placeholder stands for no endpoint: a Bedrock row that was made under 18.9 keeps it after an upgrade.
    let endpoint = |text: Option<&str>| {
        text.and_then(url_rules::normalize).filter(|url| url != PLACEHOLDER_ENDPOINT).unwrap_or_default()
    };
    compare("endpoint", &endpoint(model.endpoint.as_deref()), &endpoint(desired.endpoint.as_deref()));
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use duo_api::Family;

    fn spec(platform: Platform, identifier: &str, endpoint: Option<&str>) -> SelfHostedModelSpec {
        SelfHostedModelSpec {
            endpoint: endpoint.map(Into::into),
            ..SelfHostedModelSpec::new("duo", "M", platform, Family::Claude, identifier)
        }
    }

    fn capabilities(new_shape: bool) -> Capabilities {
        Capabilities { has_model_provider: new_shape, endpoint_required: !new_shape, ..Capabilities::newest() }
    }

    fn stored(desired: &DesiredModel) -> Model {
        Model {
            id: "gid://gitlab/Ai::SelfHostedModel/1".into(),
            name: desired.name.clone(),
            family: desired.family.to_lowercase(),
            endpoint: desired.endpoint.clone(),
            identifier: Some(desired.identifier.clone()),
            provider: desired.provider.map(Into::into),
            has_api_token: false,
        }
    }

    #[test]
    fn bedrock_has_a_placeholder_endpoint_only_where_the_shape_requires_one() {
        let bedrock = spec(Platform::Bedrock, "bedrock/x", None);
        assert_eq!(desired_model(&bedrock, &capabilities(false)).endpoint.as_deref(), Some(PLACEHOLDER_ENDPOINT));
        assert_eq!(desired_model(&bedrock, &capabilities(false)).provider, None);
        assert_eq!(desired_model(&bedrock, &capabilities(true)).endpoint, None);
        assert_eq!(desired_model(&bedrock, &capabilities(true)).provider, Some("BEDROCK"));
    }

    #[test]
    fn an_unchanged_model_needs_no_write_in_both_shapes() {
        for new_shape in [true, false] {
            for spec in [
                spec(Platform::Bedrock, "bedrock/x", None),
                spec(Platform::OpenAICompatible, "custom_openai/x", Some("http://v/v1")),
            ] {
                let desired = desired_model(&spec, &capabilities(new_shape));
                assert_eq!(plan_model(&Match::Ours(&stored(&desired)), &desired), None);
            }
        }
    }

    #[test]
    fn a_placeholder_left_from_the_older_shape_is_no_difference() {
        let desired = desired_model(&spec(Platform::Bedrock, "bedrock/x", None), &capabilities(true));
        let mut model = stored(&desired);
        model.endpoint = Some(PLACEHOLDER_ENDPOINT.into());
        assert_eq!(plan_model(&Match::Ours(&model), &desired), None);
    }

    #[test]
    fn a_placeholder_that_the_client_reads_as_none_is_no_difference() {
        let desired = desired_model(&spec(Platform::Bedrock, "bedrock/x", None), &capabilities(false));
        let mut model = stored(&desired);
        model.endpoint = None;
        assert_eq!(plan_model(&Match::Ours(&model), &desired), None);
    }

    #[test]
    fn each_field_that_differs_is_named() {
        let desired = desired_model(
            &spec(Platform::OpenAICompatible, "custom_openai/x", Some("http://v/v1")),
            &capabilities(true),
        );
        type Change = fn(&mut Model);
        let changes: [(&str, Change); 5] = [
            ("name", |m| m.name = "N".into()),
            ("model", |m| m.family = "gpt".into()),
            ("identifier", |m| m.identifier = None),
            ("provider", |m| m.provider = Some("BEDROCK".into())),
            ("endpoint", |m| m.endpoint = Some("http://w/v1".into())),
        ];
        for (field, change) in changes {
            let mut model = stored(&desired);
            change(&mut model);
            match plan_model(&Match::Ours(&model), &desired) {
                Some(Operation::UpdateModel { differences, .. }) => {
                    assert_eq!(differences.iter().map(|d| d.0).collect::<Vec<_>>(), [field]);
                }
                other => panic!("{field}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_adopted_model_loses_the_token_that_gitlab_stores() {
        let desired = desired_model(&spec(Platform::Bedrock, "bedrock/x", None), &capabilities(true));
        let mut model = stored(&desired);
        model.has_api_token = true;
        assert!(matches!(
            plan_model(&Match::Adopt(&model), &desired),
            Some(Operation::UpdateModel { token: TokenChange::Clear, .. })
        ));
    }
}
