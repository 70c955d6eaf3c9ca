//! Asks GitLab what token, licence and add-ons allow; `duo_core::rights` judges it.

use duo_core::rights::{AddOn, Facts, License, Token};
use duo_gitlab::{Client, Error, TokenInfo};

/// What was found out, or why the token cannot even be asked about.
pub(crate) enum Asked {
    /// The facts, but for whether GitLab shows its models.
    Facts(Facts),
    /// GitLab refuses the token.
    Refused(Error),
}

/// Reads them. Errors other than a refusal of the token are errors.
pub(crate) async fn ask(client: &Client) -> Result<Asked, Error> {
    let token = match client.token_self().await {
        Ok(token) => Some(read(token)),
        // An OAuth or service token has no description of its own; what it may do shows below.
        Err(Error::UnexpectedStatus { status: 404, .. } | Error::Forbidden { .. }) => None,
        Err(error @ Error::TokenInvalid { .. }) => return Ok(Asked::Refused(error)),
        Err(error) => return Err(error),
    };
    // A token that cannot write is not asked for more: what it is refused says nothing about the licence.
    let usable = token.as_ref().is_none_or(|token| token.active && !token.revoked);
    let mut facts = Facts { token, ..Facts::default() };
    if !usable {
        return Ok(Asked::Facts(facts));
    }
    match client.rights().await {
        Ok(rights) => {
            facts.administrator = true;
            facts.silent = client.silent_mode().await? == Some(true);
            facts.version = rights.metadata.version;
            facts.revision = rights.metadata.revision;
            facts.enterprise = rights.metadata.enterprise;
            facts.license = rights.license.map(|license| License {
                plan: license.plan,
                kind: license.kind,
                starts: license.starts_at,
                expires: license.expires_at,
                trial: license.trial,
            });
            facts.add_ons = rights
                .add_ons
                .into_iter()
                .map(|add_on| AddOn {
                    name: add_on.name,
                    purchased: add_on.purchased_quantity,
                    assigned: add_on.assigned_quantity,
                })
                .collect();
        }
        Err(Error::TokenLacksRights { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(Asked::Facts(facts))
}

fn read(token: TokenInfo) -> Token {
    Token {
        name: token.name,
        scopes: token.scopes,
        expires: token.expires_at,
        active: token.active,
        revoked: token.revoked,
    }
}

/// Today, as GitLab counts days (UTC).
pub(crate) fn today() -> jiff::civil::Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}
