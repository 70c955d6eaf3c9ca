//! What the gateway's port takes while `tls` is switched: the pods' last configuration tells where the switch stands, so
//! that a restart of the operator in the middle of it changes nothing. [`duo_core::listener`] decides.

use duo_api::AIGateway;
use duo_core::conditions::Finding;
use duo_core::desired::Credentials;
use duo_core::inputs::Kind;
use duo_core::listener::{self, Door};
use duo_core::{inputs, labels};
use duo_gateway_config::GatewayConfig;
use kube::ResourceExt;

use crate::context::Context;
use crate::error::{Error, Next};

/// Where the switch stands.
pub(super) struct Listener {
    door: Door,
    pub next: Next,
}

impl Listener {
    /// The finding about the pods' configuration, with a word on what a person would not expect.
    pub(super) fn told(&self, mut finding: Finding) -> Finding {
        if self.door == Door::Both {
            finding.message.push_str("; the port takes TLS and plain HTTP until GitLab's URL has followed spec.tls");
        }
        finding
    }
}

/// Puts into the configuration what the port takes now, and keeps the certificate at hand for as long as it is needed.
/// `told`: the pods' last configuration.
pub(super) async fn look(
    gateway: &AIGateway,
    told: Option<&GatewayConfig>,
    config: &mut GatewayConfig,
    credentials: &mut Credentials,
    ctx: &Context,
) -> Result<Listener, Error> {
    let conditions = gateway.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let followed = listener::followed(conditions, gateway.metadata.generation, jiff::Timestamp::now());
    let mut door = Door::next(told.map(Door::of), gateway.spec.tls.is_some(), followed);
    if door == Door::Both && gateway.spec.tls.is_none() && !keep_certificate(gateway, credentials, ctx).await? {
        door = Door::Plain;
    }
    door.put(config);
    Ok(Listener { door, next: door.look_again(followed).map_or(Next::OnChange, Next::After) })
}

/// The certificate is declared no more; the pods' own Secret still has it. False when it has not.
async fn keep_certificate(gateway: &AIGateway, credentials: &mut Credentials, ctx: &Context) -> Result<bool, Error> {
    let (namespace, name) = (gateway.namespace().unwrap_or_default(), labels::credentials_secret(&gateway.name_any()));
    let found = ctx.fresh.get(Kind::Secret, &namespace, &name).await?;
    for file in [inputs::TLS_CERTIFICATE, inputs::TLS_KEY] {
        let Some(value) = found.as_ref().and_then(|secret| secret.data.get(file)) else { return Ok(false) };
        credentials.files.insert(file.to_owned(), value.clone());
    }
    Ok(true)
}
