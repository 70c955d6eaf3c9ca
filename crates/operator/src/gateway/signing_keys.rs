//! The gateway's signing keys: generated once, kept in the operator-owned Secret, read back from there, rotated on
//! request.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use duo_api::AIGateway;
use duo_api::annotations::ROTATE_SIGNING_KEYS;
use duo_api::gateway::Implementation;
use duo_core::desired::{
    Credentials, KeyPair, SIGNING_KEY, VALIDATION_KEY, WORKFLOW_SIGNING_KEY, WORKFLOW_VALIDATION_KEY,
};
use duo_core::inputs::Kind;
use duo_core::signing::{State, Step, step};
use duo_core::{implementation, labels};
use kube::ResourceExt;

use crate::context::Context;
use crate::error::Error;

type Generated<T> = Result<T, aws_lc_rs::error::Unspecified>;

/// The keys, and how far a rotation of them is.
#[derive(Clone)]
pub(super) struct SigningKeys {
    own: KeyPair,
    workflow: Option<KeyPair>,
    state: State,
}

impl SigningKeys {
    /// Puts them where the child objects are rendered from.
    pub(super) fn put_into(&self, credentials: &mut Credentials) {
        credentials.signing_key.clone_from(&self.own.signing);
        credentials.validation_key.clone_from(&self.own.validation);
        credentials.workflow.clone_from(&self.workflow);
        credentials.rotation =
            self.state.annotations(|at| jiff::Timestamp::from_second(at).map(|at| at.to_string()).unwrap_or_default());
    }

    /// What is to be done with them now.
    pub(super) fn step(&self, gateway: &AIGateway, settled: bool) -> Step {
        step(requested(gateway).as_deref(), &self.state, jiff::Timestamp::now().as_second(), settled)
    }

    /// The keys after a step. The inner error is for people.
    pub(super) async fn after(self, step: Step, gateway: &AIGateway) -> Result<Self, String> {
        match step {
            Step::Rest | Step::Wait(_) => Ok(self),
            Step::Swap => {
                let swap = |pair: KeyPair| KeyPair { signing: pair.validation, validation: pair.signing };
                let state = State { done: requested(gateway), rotated_at: Some(jiff::Timestamp::now().as_second()) };
                Ok(Self { own: swap(self.own), workflow: self.workflow.map(swap), state })
            }
            Step::Renew => {
                generated(move || {
                    let renew =
                        |pair: KeyPair| -> Generated<KeyPair> { Ok(KeyPair { validation: generate()?, ..pair }) };
                    Ok(Self {
                        own: renew(self.own)?,
                        workflow: self.workflow.map(renew).transpose()?,
                        state: State { rotated_at: None, ..self.state },
                    })
                })
                .await
            }
        }
    }
}

fn requested(gateway: &AIGateway) -> Option<String> {
    gateway.annotations().get(ROTATE_SIGNING_KEYS).cloned()
}

/// The keys of the existing Secret; new ones where it has none. The inner error is for people.
pub(super) async fn load_or_generate(gateway: &AIGateway, ctx: &Context) -> Result<Result<SigningKeys, String>, Error> {
    let namespace = gateway.namespace().unwrap_or_default();
    let name = labels::credentials_secret(&gateway.name_any());
    let found = ctx.fresh.get(Kind::Secret, &namespace, &name).await?;
    let annotations = found.as_ref().map(|secret| secret.annotations.clone()).unwrap_or_default();
    let take =
        |key: &str| found.as_ref().and_then(|secret| secret.data.get(key)).filter(|value| !value.is_empty()).cloned();
    let own = (take(SIGNING_KEY), take(VALIDATION_KEY));
    let workflow = (take(WORKFLOW_SIGNING_KEY), take(WORKFLOW_VALIDATION_KEY));
    let of_gitlab = |implementation| implementation == Implementation::GitLab;
    let wants_workflow = of_gitlab(gateway.spec.implementation)
        || gateway.spec.agent_platform.is_some()
        || implementation::seen(gateway).is_some_and(of_gitlab);
    let state = if own.0.is_some() {
        let seconds = |text: &str| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
        State::read(&annotations, seconds)
    } else {
        // New keys need no rotation, whatever was asked for before.
        State { done: requested(gateway), rotated_at: None }
    };
    let pair = |(signing, validation): (Option<Vec<u8>>, Option<Vec<u8>>)| -> Generated<KeyPair> {
        Ok(KeyPair { signing: signing.map_or_else(generate, Ok)?, validation: validation.map_or_else(generate, Ok)? })
    };
    Ok(generated(move || {
        Ok(SigningKeys { own: pair(own)?, workflow: wants_workflow.then(|| pair(workflow)).transpose()?, state })
    })
    .await)
}

/// Runs what may generate keys aside: one takes a good part of a second.
async fn generated<T: Send + 'static>(make: impl FnOnce() -> Generated<T> + Send + 'static) -> Result<T, String> {
    match tokio::task::spawn_blocking(make).await {
        Ok(Ok(made)) => Ok(made),
        Ok(Err(_)) | Err(_) => Err("an RSA key for the gateway could not be generated; trying again".to_owned()),
    }
}

fn generate() -> Generated<Vec<u8>> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
    let der: Pkcs8V1Der<'_> = pair.as_der()?;
    Ok(pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref().to_vec())).into_bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_generated_key_is_a_pem_private_key() {
        let text = String::from_utf8(super::generate().unwrap()).unwrap();
        assert!(text.starts_with("-----BEGIN PRIVATE KEY-----"));
        let parsed = pem::parse(&text).unwrap();
        assert!(aws_lc_rs::rsa::KeyPair::from_pkcs8(parsed.contents()).is_ok());
    }
}
