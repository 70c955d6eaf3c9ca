//! The gateway's signing keys: generated once, kept in the operator-owned Secret, read back from there.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use duo_api::AIGateway;
use duo_core::desired::{SIGNING_KEY, VALIDATION_KEY};
use duo_core::labels;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};

use crate::context::Context;
use crate::error::Error;

/// Two RSA 2048 private keys in PEM: GitLab's gateway asks for two separate ones.
pub(super) struct SigningKeys {
    pub signing: Vec<u8>,
    pub validation: Vec<u8>,
}

/// The keys of the existing Secret; new ones where it has none. The inner error is for people.
pub(super) async fn load_or_generate(gateway: &AIGateway, ctx: &Context) -> Result<Result<SigningKeys, String>, Error> {
    let namespace = gateway.namespace().unwrap_or_default();
    let name = labels::credentials_secret(&gateway.name_any());
    let api: Api<Secret> = Api::namespaced(ctx.kube.clone(), &namespace);
    let mut data = duo_runtime::call(format!("get Secret {namespace}/{name}"), api.get_opt(&name))
        .await?
        .and_then(|secret| secret.data)
        .unwrap_or_default();
    let mut take = |key: &str| data.remove(key).map(|value| value.0).filter(|value| !value.is_empty());
    let (signing, validation) = (take(SIGNING_KEY), take(VALIDATION_KEY));
    let made = tokio::task::spawn_blocking(move || {
        Ok::<_, aws_lc_rs::error::Unspecified>(SigningKeys {
            signing: signing.map_or_else(generate, Ok)?,
            validation: validation.map_or_else(generate, Ok)?,
        })
    });
    Ok(match made.await {
        Ok(Ok(keys)) => Ok(keys),
        Ok(Err(_)) | Err(_) => Err("an RSA key for the gateway could not be generated; trying again".to_owned()),
    })
}

fn generate() -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
    let pair = KeyPair::generate(KeySize::Rsa2048)?;
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
