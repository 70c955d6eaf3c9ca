//! Who may call: AWS keys by signature, Bedrock API keys as bearer tokens. It must not know models or messages.

use http::header;

use super::{
    config::Config,
    error::Refusal,
    sigv4::{Authorization, Request, check_time},
};
use crate::upstream::Credential;

/// Checks a request's credential. On a refusal the credential is what the request claimed.
pub fn check(request: &Request<'_>, config: &Config, now: jiff::Timestamp) -> (Credential, Result<(), Refusal>) {
    let Some(value) = request.headers.get(header::AUTHORIZATION) else {
        return (
            Credential::None,
            Err(Refusal::new("MissingAuthenticationTokenException", 403, "Missing Authentication Token")),
        );
    };
    let value = String::from_utf8_lossy(value.as_bytes());
    if let Some(token) = value.strip_prefix("Bearer ") {
        let known = config.bearer_tokens.iter().any(|known| known.matches(token));
        let refusal = || Refusal::access_denied("Authentication failed: Please make sure your API Key is valid.");
        return (Credential::Bearer, if known { Ok(()) } else { Err(refusal()) });
    }
    match Authorization::parse(&value) {
        Err(refusal) => (Credential::None, Err(refusal)),
        Ok(authorization) => {
            let credential = Credential::SigV4 {
                access_key_id: authorization.access_key_id.clone(),
                region: authorization.region.clone(),
                session: request.headers.contains_key("x-amz-security-token"),
            };
            let checked = check_signed(request, &authorization, config, now);
            (credential, checked)
        }
    }
}

fn check_signed(
    request: &Request<'_>,
    authorization: &Authorization,
    config: &Config,
    now: jiff::Timestamp,
) -> Result<(), Refusal> {
    let unrecognized =
        || Refusal::new("UnrecognizedClientException", 403, "The security token included in the request is invalid.");
    if authorization.service != "bedrock" {
        return Err(Refusal::signature("Credential should be scoped to correct service: 'bedrock'."));
    }
    if authorization.region != config.region {
        return Err(Refusal::signature(format!(
            "Credential should be scoped to a valid region, not '{}'.",
            authorization.region
        )));
    }
    let key = config.access_keys.iter().find(|key| key.id == authorization.access_key_id).ok_or_else(unrecognized)?;
    let token = request.headers.get("x-amz-security-token").and_then(|value| value.to_str().ok());
    match (&key.session_token, token) {
        (None, None) => {}
        (Some(known), Some(given)) if known.matches(given) => {}
        _ => return Err(unrecognized()),
    }
    check_time(authorization, request.headers, now, i64::from(config.clock_skew))?;
    authorization.verify(request, &key.secret)
}
