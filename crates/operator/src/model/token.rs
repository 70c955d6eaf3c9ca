//! A model's API key, where GitLab has to hold it: GitLab's own image gets keys with each request.

use duo_api::annotations::API_TOKEN_FINGERPRINT;
use duo_api::{AIGateway, SelfHostedModel};
use duo_core::ownership::Home;
use duo_core::plan::{TokenWish, token_wish};
use duo_gitlab::{ApiToken, Token};
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use crate::context::{Context, made_at};
use crate::error::Error;
use crate::inputs;

/// The key that GitLab should hold, and what is written down of it.
pub(super) struct ModelToken {
    pub wish: TokenWish,
    token: Option<Token>,
    fingerprint: Option<String>,
}

/// `None`: the Secret that holds the key is not there, or not usable; the model's `Accepted` says so.
pub(super) async fn read(
    model: &SelfHostedModel,
    gateway: &AIGateway,
    home: &Home,
    ctx: &Context,
) -> Result<Option<ModelToken>, Error> {
    let namespace = model.namespace().unwrap_or_default();
    let for_agents = ctx.assignments_of(&namespace, &gateway.name_any()).iter().any(|item| {
        item.spec.model_ref.as_ref().is_some_and(|reference| reference.name == model.name_any())
            && item.spec.features.iter().any(|feature| feature.is_agent_platform())
    });
    let recorded = model.annotations().get(API_TOKEN_FINGERPRINT).filter(|_| made_at(model, home));
    let wish = token_wish(gateway, &model.spec, for_agents, None, None);
    let (TokenWish::Held { .. }, Some(reference)) = (wish, &model.spec.api_key_secret_ref) else {
        return Ok(Some(ModelToken { wish, token: None, fingerprint: None }));
    };
    let value = match inputs::secret_value(&ctx.fresh, &namespace, reference).await {
        Ok(value) => value,
        Err(inputs::InputError::Kube(error)) => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    let Ok(text) = String::from_utf8(value) else { return Ok(None) };
    let fingerprint = fingerprint(&model.uid().unwrap_or_default(), text.trim());
    Ok(Some(ModelToken {
        wish: token_wish(gateway, &model.spec, for_agents, recorded.map(String::as_str), Some(&fingerprint)),
        token: Some(Token::new(text.trim())),
        fingerprint: Some(fingerprint),
    }))
}

/// Salted with the object's uid: the same key of two models is not seen to be the same.
fn fingerprint(uid: &str, value: &str) -> String {
    let mut hash = Sha256::new();
    for part in ["api-token", uid, value] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..16])
}

impl ModelToken {
    /// What is sent with a create or a connection check, which know of nothing that is stored.
    pub(super) fn to_give(&self) -> ApiToken {
        self.token.clone().map_or(ApiToken::Keep, ApiToken::Set)
    }

    /// The annotation once GitLab holds what it should.
    pub(super) fn mark(&self, model: &SelfHostedModel) -> Option<String> {
        match self.wish {
            TokenWish::Held { .. } => self.fingerprint.clone(),
            TokenWish::Leave => model.annotations().get(API_TOKEN_FINGERPRINT).cloned(),
            TokenWish::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_fingerprint_tells_neither_the_key_nor_that_two_models_share_it() {
        let one = super::fingerprint("u1", "sk-secret");
        assert!(!one.contains("secret") && one.len() == 32);
        assert_eq!(one, super::fingerprint("u1", "sk-secret"));
        assert_ne!(one, super::fingerprint("u1", "sk-other"));
        assert_ne!(one, super::fingerprint("u2", "sk-secret"));
    }
}
