//! From observed and declared to a list of typed operations on GitLab. Only the operator's `act` executes them.

mod agent_platform;
mod between;
mod feature;
mod model;
mod release;
mod settings;
mod token;

pub use agent_platform::{AgentPlatformBefore, AgentPlatformTarget, plan_agent_platform, plan_agent_platform_release};
pub use between::between;
pub use feature::{FeatureTarget, moves, plan_feature, plan_unassign};
pub use model::{DesiredModel, desired_model, plan_model};
pub use release::{Held, Release, plan_release};
pub use settings::{plan_settings, undeclared_in_use};
pub use token::{TokenChange, TokenWish, token_wish};

use std::fmt;

use duo_api::{LONGEST_SENTENCE, MOST_SENTENCES};

/// One write to GitLab. `Display` is what events, `Observe` and a dry run show; it never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Set the Local AI gateway URL and, where given, the request timeout in seconds.
    UpdateSettings {
        /// New URL; the inner `None` clears it.
        gateway_url: Option<Option<String>>,
        /// New timeout.
        timeout_seconds: Option<u32>,
        /// What was found, for people.
        found: String,
    },
    /// Set the Agent Platform's service.
    UpdateAgentPlatform {
        /// New `host:port`; the inner `None` clears it.
        url: Option<Option<String>>,
        /// Whether GitLab speaks TLS to it.
        secure: Option<bool>,
        /// What was found, for people.
        found: String,
    },
    /// Register a model.
    CreateModel(DesiredModel),
    /// Bring a model back to what is declared.
    UpdateModel {
        /// Global id.
        id: String,
        /// What it should be.
        desired: DesiredModel,
        /// What becomes of the API token that GitLab stores.
        token: TokenChange,
        /// Which fields differ: (field, found, declared).
        differences: Vec<(&'static str, String, String)>,
    },
    /// Set one feature.
    UpdateFeature {
        /// Lower-case key.
        feature: String,
        /// What serves it.
        target: FeatureTarget,
        /// What was found, for people.
        found: String,
    },
    /// Remove a model.
    DeleteModel {
        /// Global id.
        id: String,
        /// Its name, for people.
        name: String,
    },
}

impl Operation {
    /// What is written, one by one: names under which a fight with another writer is counted.
    pub fn subjects(&self) -> Vec<&str> {
        match self {
            Self::UpdateSettings { gateway_url, timeout_seconds, .. } => {
                let url = gateway_url.is_some().then_some(GATEWAY_URL);
                url.into_iter().chain(timeout_seconds.is_some().then_some(REQUEST_TIMEOUT)).collect()
            }
            Self::UpdateAgentPlatform { .. } => vec![AGENT_PLATFORM],
            Self::CreateModel(_) | Self::DeleteModel { .. } => vec![MODEL],
            Self::UpdateModel { differences, token, .. } => {
                let token = (*token != TokenChange::Keep).then_some(API_TOKEN);
                differences.iter().map(|(field, ..)| *field).chain(token).collect()
            }
            Self::UpdateFeature { feature, .. } => vec![feature],
        }
    }

    /// Whether this is written for a change on our side alone: a key that was rotated. Nobody else has changed anything.
    pub fn follows_our_secret(&self) -> bool {
        match self {
            Self::UpdateModel { desired, token: TokenChange::Set, differences, .. } => {
                differences.is_empty() && desired.token == TokenWish::Held { is_new: true }
            }
            _ => false,
        }
    }

    /// The operation without these subjects, if anything is left of it. GitLab updates a model as a whole: that is left
    /// out only as a whole.
    #[must_use]
    pub fn without(mut self, left_out: &[&str]) -> Option<Self> {
        if let Self::UpdateSettings { gateway_url, timeout_seconds, .. } = &mut self {
            if left_out.contains(&GATEWAY_URL) {
                *gateway_url = None;
            }
            if left_out.contains(&REQUEST_TIMEOUT) {
                *timeout_seconds = None;
            }
        }
        let rest = self.subjects();
        (!rest.is_empty() && !rest.iter().all(|subject| left_out.contains(subject))).then_some(self)
    }
}

/// Subject of [`Operation::UpdateSettings`].
pub const GATEWAY_URL: &str = "gateway URL";
/// Subject of [`Operation::UpdateSettings`].
pub const REQUEST_TIMEOUT: &str = "request timeout";
/// Subject of operations that make and remove a model.
pub const MODEL: &str = "existence";
/// Subject of [`Operation::UpdateModel`].
pub const API_TOKEN: &str = "API token";
/// Subject of [`Operation::UpdateAgentPlatform`].
pub const AGENT_PLATFORM: &str = "agent platform";

/// The operations as `status.plan` keeps them: within the schema's bounds, the last one telling how many there are more.
pub fn sentences(operations: &[Operation]) -> Vec<String> {
    let clipped = |text: String| match text.char_indices().nth(LONGEST_SENTENCE) {
        None => text,
        Some(_) => text.chars().take(LONGEST_SENTENCE - 1).chain(['…']).collect(),
    };
    let mut told: Vec<String> =
        operations.iter().take(MOST_SENTENCES).map(|operation| clipped(operation.to_string())).collect();
    if operations.len() > MOST_SENTENCES {
        told.truncate(MOST_SENTENCES - 1);
        told.push(format!("and {} more", operations.len() - told.len()));
    }
    told
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpdateSettings { gateway_url, timeout_seconds, found } => {
                let mut parts = Vec::new();
                if let Some(url) = gateway_url {
                    parts.push(format!("gateway URL to {}", url.as_deref().unwrap_or("nothing")));
                }
                if let Some(seconds) = timeout_seconds {
                    parts.push(format!("request timeout to {seconds} s"));
                }
                write!(f, "set {} (found: {found})", parts.join(" and "))
            }
            Self::UpdateAgentPlatform { url, secure, found } => {
                let tls = |secure: bool| if secure { "on" } else { "off" };
                f.write_str("set agent platform")?;
                match (url, secure) {
                    (Some(url), _) => write!(f, " to {}", url.as_deref().unwrap_or("nothing"))?,
                    (None, _) => f.write_str("'s")?,
                }
                match (url, secure) {
                    (Some(_), Some(secure)) => write!(f, " and its TLS {}", tls(*secure))?,
                    (None, Some(secure)) => write!(f, " TLS {}", tls(*secure))?,
                    (_, None) => {}
                }
                write!(f, " (found: {found})")
            }
            Self::CreateModel(desired) => {
                let token = if desired.token == TokenWish::None { "" } else { " with its API token" };
                write!(f, "create model {:?}{token}", desired.name)
            }
            Self::UpdateModel { desired, differences, token, .. } => {
                let mut parts: Vec<String> = differences
                    .iter()
                    .map(|(field, found, declared)| format!("{field} from {found:?} to {declared:?}"))
                    .collect();
                match token {
                    TokenChange::Keep => {}
                    TokenChange::Clear => parts.push("remove the stored API token".to_owned()),
                    TokenChange::Set => parts.push("store the API token".to_owned()),
                }
                write!(f, "update model {:?}: {}", desired.name, parts.join(", "))
            }
            Self::UpdateFeature { feature, target, found } => {
                write!(f, "set feature {feature} to {target} (found: {found})")
            }
            Self::DeleteModel { name, .. } => write!(f, "delete model {name:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delete(name: &str) -> Operation {
        Operation::DeleteModel { id: "1".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_plan_in_a_status_is_bounded() {
        let few = sentences(&[delete("a"), delete("b")]);
        assert_eq!(few, ["delete model \"a\"", "delete model \"b\""]);
        let full: Vec<Operation> = (0..MOST_SENTENCES).map(|number| delete(&number.to_string())).collect();
        assert_eq!(sentences(&full).last().map(String::as_str), Some("delete model \"63\""));
        let many: Vec<Operation> = (0..MOST_SENTENCES + 1).map(|number| delete(&number.to_string())).collect();
        let told = sentences(&many);
        assert_eq!((told.len(), told[62].as_str(), told[63].as_str()), (64, "delete model \"62\"", "and 2 more"));
        let longest = "é".repeat(LONGEST_SENTENCE - "delete model \"\"".len());
        assert_eq!(sentences(&[delete(&longest)])[0].chars().last(), Some('"'));
        let cut = &sentences(&[delete(&format!("{longest}é"))])[0];
        assert_eq!((cut.chars().count(), cut.chars().last()), (LONGEST_SENTENCE, Some('…')));
    }

    #[test]
    fn a_change_of_several_settings_is_one_sentence() {
        let both =
            Operation::UpdateSettings { gateway_url: Some(None), timeout_seconds: Some(90), found: "x".to_owned() };
        assert_eq!(both.to_string(), "set gateway URL to nothing and request timeout to 90 s (found: x)");
    }

    #[test]
    fn only_a_rotated_key_alone_is_a_change_on_our_side() {
        let update = |wish, token, fields: &[&'static str]| Operation::UpdateModel {
            id: "1".into(),
            desired: DesiredModel {
                name: "M".into(),
                family: "GPT",
                endpoint: None,
                identifier: "custom_openai/m".into(),
                provider: None,
                token: wish,
            },
            token,
            differences: fields.iter().map(|field| (*field, String::new(), String::new())).collect(),
        };
        let (new, held) = (TokenWish::Held { is_new: true }, TokenWish::Held { is_new: false });
        for (operation, ours) in [
            (update(new, TokenChange::Set, &[]), true),
            (update(new, TokenChange::Set, &["name"]), false),
            // it is missing in GitLab, where somebody took it away
            (update(held, TokenChange::Set, &[]), false),
            (update(held, TokenChange::Set, &["name"]), false),
            (update(new, TokenChange::Clear, &[]), false),
            (delete("a"), false),
        ] {
            assert_eq!(operation.follows_our_secret(), ours, "{operation}");
        }
    }

    #[test]
    fn what_is_left_out_of_an_operation() {
        let settings = |url: bool, timeout: bool| Operation::UpdateSettings {
            gateway_url: url.then(|| Some("http://duo".to_owned())),
            timeout_seconds: timeout.then_some(60),
            found: String::new(),
        };
        let desired = DesiredModel {
            name: "M".into(),
            family: "GPT",
            endpoint: None,
            identifier: "custom_openai/m".into(),
            provider: None,
            token: TokenWish::None,
        };
        let model = |fields: &[&'static str], clear| Operation::UpdateModel {
            id: "1".into(),
            desired: desired.clone(),
            token: if clear { TokenChange::Clear } else { TokenChange::Keep },
            differences: fields.iter().map(|field| (*field, String::new(), String::new())).collect(),
        };
        for (operation, left_out, rest) in [
            (settings(true, true), &[][..], Some(settings(true, true))),
            (settings(true, true), &[GATEWAY_URL][..], Some(settings(false, true))),
            (settings(true, true), &[GATEWAY_URL, REQUEST_TIMEOUT][..], None),
            (settings(true, false), &[REQUEST_TIMEOUT][..], Some(settings(true, false))),
            (model(&["name", "endpoint"], false), &["name"][..], Some(model(&["name", "endpoint"], false))),
            (model(&["name"], false), &["name"][..], None),
            (model(&["name"], true), &["name"][..], Some(model(&["name"], true))),
            (model(&[], true), &[API_TOKEN][..], None),
            (Operation::CreateModel(desired.clone()), &[MODEL][..], None),
        ] {
            assert_eq!(operation.clone().without(left_out), rest, "{operation} {left_out:?}");
        }
    }
}
