//! Whether GitLab should hold a model's API token. The operator's own gateway has the keys in the cluster and GitLab gets
//! none; GitLab's own image is sent them by GitLab, with each request.

use duo_api::gateway::Implementation;
use duo_api::{AIGateway, SelfHostedModelSpec};

use crate::implementation;

/// What GitLab should hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenWish {
    /// No token.
    #[default]
    None,
    /// What it holds: pods that still need it are on their way out.
    Leave,
    /// The declared one.
    Held {
        /// It is not known that GitLab was given this very one.
        is_new: bool,
    },
}

/// What an update does to the token that GitLab stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenChange {
    /// Nothing.
    Keep,
    /// Remove it.
    Clear,
    /// Store the declared one.
    Set,
}

impl TokenWish {
    /// What has to be done about it. `stored`: GitLab holds some token.
    pub fn change(self, stored: bool) -> TokenChange {
        match self {
            Self::None if stored => TokenChange::Clear,
            Self::Held { is_new } if is_new || !stored => TokenChange::Set,
            Self::None | Self::Leave | Self::Held { .. } => TokenChange::Keep,
        }
    }
}

/// What GitLab should hold for a model. `for_agents`: an assignment gives it to the Agent Platform, whose service calls
/// models itself. `recorded`: fingerprint of the token that GitLab was given last; `present`: of the declared one.
pub fn token_wish(
    gateway: &AIGateway,
    spec: &SelfHostedModelSpec,
    for_agents: bool,
    recorded: Option<&str>,
    present: Option<&str>,
) -> TokenWish {
    let of_gitlab =
        gateway.spec.implementation == Implementation::GitLab || (for_agents && gateway.spec.agent_platform.is_some());
    if of_gitlab && spec.api_key_secret_ref.is_some() {
        return TokenWish::Held { is_new: present.is_none() || recorded != present };
    }
    let leaving = implementation::seen(gateway) == Some(Implementation::GitLab) && implementation::is_changing(gateway);
    if leaving { TokenWish::Leave } else { TokenWish::None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gitlab_holds_a_token_only_where_its_own_image_needs_it() {
        let gateway = |spec: &str, seen: &str| -> AIGateway {
            let text = format!(
                "{{apiVersion: duo.selfhosted.dev/v1alpha1, kind: AIGateway, metadata: {{name: duo}}, spec: {{gitlab: {{url: 'http://g', tokenSecretRef: {{name: t}}}}, {spec}}}, status: {{implementation: {seen}}}}}"
            );
            serde_yaml_ng::from_str(&text).unwrap()
        };
        let with_key: SelfHostedModelSpec = serde_yaml_ng::from_str(
            "{gatewayRef: {name: duo}, displayName: V, platform: OpenAICompatible, family: Mistral, identifier: custom_openai/v, endpoint: 'http://v/v1', apiKeySecretRef: {name: v}}",
        )
        .unwrap();
        let without = SelfHostedModelSpec { api_key_secret_ref: None, ..with_key.clone() };
        let (held, new) = (TokenWish::Held { is_new: false }, TokenWish::Held { is_new: true });
        for (spec, seen, model, agents, recorded, wish) in [
            ("implementation: GitLab", "GitLab", &with_key, false, Some("a"), held),
            ("implementation: GitLab", "GitLab", &with_key, false, Some("b"), new),
            ("implementation: GitLab", "Embedded", &with_key, false, None, new),
            ("implementation: GitLab", "GitLab", &without, false, None, TokenWish::None),
            ("implementation: Embedded", "GitLab", &with_key, false, Some("a"), TokenWish::Leave),
            ("implementation: Embedded", "Embedded", &with_key, false, Some("a"), TokenWish::None),
            ("agentPlatform: {}", "Embedded", &with_key, true, Some("a"), held),
            ("agentPlatform: {}", "Embedded", &with_key, false, Some("a"), TokenWish::None),
            ("implementation: Embedded", "Embedded", &with_key, true, Some("a"), TokenWish::None),
        ] {
            let found = token_wish(&gateway(spec, seen), model, agents, recorded, Some("a"));
            assert_eq!(found, wish, "{spec} {seen} {agents} {recorded:?}");
        }
    }

    #[test]
    fn a_stored_token_changes_only_when_it_has_to() {
        use TokenChange::{Clear, Keep, Set};
        for (wish, stored, change) in [
            (TokenWish::None, false, Keep),
            (TokenWish::None, true, Clear),
            (TokenWish::Leave, true, Keep),
            (TokenWish::Leave, false, Keep),
            (TokenWish::Held { is_new: false }, true, Keep),
            (TokenWish::Held { is_new: false }, false, Set),
            (TokenWish::Held { is_new: true }, true, Set),
        ] {
            assert_eq!(wish.change(stored), change, "{wish:?} {stored}");
        }
    }
}
