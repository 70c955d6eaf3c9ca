//! The operator's own tokens: it signs them with the gateway's signing key, which it made. They open nothing but the check
//! of one model on the metrics listener, and no other token opens that.

use jsonwebtoken::{Algorithm, Validation, decode};
use serde::Deserialize;

use super::Rules;

/// Audience of these tokens.
pub const AUDIENCE: &str = "duo-gateway/models/check";
/// Longest life of one, seconds.
const LONGEST_LIFE: u64 = 300;

#[derive(Deserialize)]
struct Claims {
    sub: String,
    iat: u64,
    exp: u64,
}

/// Whether this `Authorization` lets its bearer check the model.
pub fn may_check(rules: &Rules, authorization: Option<&http::HeaderValue>, model: &str) -> bool {
    let token = authorization.and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Bearer "));
    let Some(token) = token else { return false };
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "aud", "sub"]);
    rules
        .local
        .verifying
        .iter()
        .filter_map(|key| decode::<Claims>(token, key, &validation).ok())
        .any(|found| found.claims.sub == model && found.claims.exp.saturating_sub(found.claims.iat) <= LONGEST_LIFE)
}
