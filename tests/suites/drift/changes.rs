//! The changes by hand, each with what has to be said of it.

use duo_e2e::{World, hand};
use duo_sim::gitlab::state::Model;

/// A change by hand in GitLab.
pub struct Change {
    /// Kind and name of the resource that declares it.
    pub about: (&'static str, &'static str),
    /// The condition that tells it.
    pub condition: &'static str,
    /// Field, what is found and what is declared.
    pub words: &'static [&'static str],
    /// Makes it.
    pub make: fn(&World),
    /// Whether GitLab is as declared in this point.
    pub is_declared: fn(&World) -> bool,
}

pub const GATEWAY: (&str, &str) = ("AIGateway", "duo");
pub const MIXTRAL: (&str, &str) = ("SelfHostedModel", "mixtral-8x7b");
pub const CLAUDE: (&str, &str) = ("SelfHostedModel", "claude-3-sonnet");
pub const CODE: (&str, &str) = ("FeatureAssignment", "code-suggestions");
pub const CHAT: (&str, &str) = ("FeatureAssignment", "chat");

const MIXTRAL_IDENTIFIER: &str = "bedrock/mistral.mixtral-8x7b-instruct-v0:1";
/// A key that somebody types into GitLab's form.
pub const TYPED_KEY: &str = "e2e-key-typed-by-an-administrator-97531";

pub fn edit(world: &World, name: &str, change: impl Fn(&mut Model)) {
    let id = world.model_in_gitlab(name).id;
    world.gitlab.edit(|state| change(state.models.get_mut(&id).expect("the model")));
}

fn mixtral(world: &World, is: impl Fn(&Model) -> bool) -> bool {
    world.gitlab.state().models.values().any(|model| model.name == "Mixtral 8x7B" && is(model))
}

fn on(world: &World, feature: &str, model: &str) -> bool {
    world.feature_in_gitlab(feature) == ("self_hosted".to_owned(), Some(model.to_owned()))
}

fn foreign_model(world: &World) -> Option<u64> {
    Some(world.model_in_gitlab(hand::FOREIGN_MODEL).id)
}

const DECLARED: &str = "Synced";

/// Every field that the resources declare. Those of one model first, the model's disappearance last.
pub fn all() -> Vec<Change> {
    let change = |about, words, make, is_declared| Change { about, condition: DECLARED, words, make, is_declared };
    vec![
        Change {
            about: GATEWAY,
            condition: "GatewayURLConfigured",
            words: &["gateway URL", "found: http://127.0.0.1:9", ".svc:5052"],
            make: |world| {
                world.gitlab.edit(|state| state.settings.ai_gateway_url = Some("http://127.0.0.1:9".to_owned()));
            },
            is_declared: |world| {
                let url = format!("http://duo.{}.svc:5052", world.namespace);
                world.gitlab.state().settings.ai_gateway_url == Some(url)
            },
        },
        Change {
            about: GATEWAY,
            condition: "GatewayURLConfigured",
            words: &["request timeout to 60 s", "found: 300 s"],
            make: |world| world.gitlab.edit(|state| state.settings.ai_gateway_timeout_seconds = 300),
            is_declared: |world| world.gitlab.state().settings.ai_gateway_timeout_seconds == 60,
        },
        change(
            MIXTRAL,
            &["endpoint from \"http://elsewhere.example/v1\" to \"\""],
            |world| {
                edit(world, "Mixtral 8x7B", |model| model.endpoint = Some("http://elsewhere.example/v1".to_owned()))
            },
            |world| mixtral(world, |model| model.endpoint.is_none()),
        ),
        change(
            MIXTRAL,
            &["name from \"Renamed\" to \"Mixtral 8x7B\""],
            |world| edit(world, "Mixtral 8x7B", |model| "Renamed".clone_into(&mut model.name)),
            |world| mixtral(world, |_| true),
        ),
        change(
            MIXTRAL,
            &["model from \"MISTRAL\" to \"MIXTRAL\""],
            |world| edit(world, "Mixtral 8x7B", |model| "mistral".clone_into(&mut model.family)),
            |world| mixtral(world, |model| model.family == "mixtral"),
        ),
        change(
            MIXTRAL,
            &["identifier from \"bedrock/other\" to \"bedrock/mistral.mixtral"],
            |world| edit(world, "Mixtral 8x7B", |model| "bedrock/other".clone_into(&mut model.identifier)),
            |world| mixtral(world, |model| model.identifier == MIXTRAL_IDENTIFIER),
        ),
        change(
            MIXTRAL,
            &["provider from \"API\" to \"BEDROCK\""],
            |world| edit(world, "Mixtral 8x7B", |model| "API".clone_into(&mut model.provider)),
            |world| mixtral(world, |model| model.provider == "BEDROCK"),
        ),
        change(
            MIXTRAL,
            &["remove the stored API token"],
            |world| edit(world, "Mixtral 8x7B", |model| model.api_token = Some(TYPED_KEY.to_owned())),
            |world| mixtral(world, |model| model.api_token.is_none()),
        ),
        change(
            CODE,
            &["code_completions", "found: self_hosted gid://", "\"Somebody's model\""],
            |world| world.feature_by_hand("code_completions", "self_hosted", foreign_model(world)),
            |world| on(world, "code_completions", "Mixtral 8x7B"),
        ),
        change(
            CODE,
            &["code_generations", "found: disabled"],
            |world| world.feature_by_hand("code_generations", "disabled", None),
            |world| on(world, "code_generations", "Mixtral 8x7B"),
        ),
        change(
            CHAT,
            &["set feature duo_chat to gid://", "found: unassigned"],
            |world| world.feature_by_hand("duo_chat", "unassigned", None),
            |world| on(world, "duo_chat", "Claude 3 Sonnet"),
        ),
        change(
            CHAT,
            &["duo_chat_explain_code", "found: vendored"],
            |world| world.feature_by_hand("duo_chat_explain_code", "vendored", None),
            |world| on(world, "duo_chat_explain_code", "Claude 3 Sonnet"),
        ),
        change(
            CLAUDE,
            &["create model \"Claude 3 Sonnet\""],
            |world| {
                let id = world.model_in_gitlab("Claude 3 Sonnet").id;
                assert!(world.gitlab.edit(|state| state.destroy_model(id)));
            },
            |world| {
                world.models_in_gitlab().iter().any(|name| name == "Claude 3 Sonnet")
                    && on(world, "duo_chat", "Claude 3 Sonnet")
                    && on(world, "duo_chat_explain_code", "Claude 3 Sonnet")
            },
        ),
    ]
}
