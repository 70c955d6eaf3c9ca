//! Whether GitLab's own users are turned away, and why. The operator reads it and tells it.
//!
//! Strangers must not bring about a report of an outage. What counts names GitLab as its issuer and this GitLab's
//! instance id, and one of these has to be true besides: GitLab's keys could not be fetched when they were asked for
//! last, so that nobody knows whether the key is GitLab's; or the signature holds. A token with an invented key id is a
//! stranger's while GitLab's keys can be fetched. GitLab signs job tokens with the same keys, for an audience of the
//! job's choice; they have no realm and no unit primitives.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::claims::{self, Claims};
use super::{AuthError, KeyRing, Rules};

/// How long a refusal counts while the keys cannot be fetched: without them users stay refused, asking or not.
const WITHOUT_KEYS: Duration = Duration::from_secs(3600);
/// How long any other refusal counts.
const OTHERS: Duration = Duration::from_secs(600);

/// One reason for which users are turned away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusing {
    /// `SigningKeys`, `OtherInstance` or `ClocksDiffer`.
    pub cause: &'static str,
    /// More of it, in one line.
    pub why: String,
}

/// The last refusals of what seems to be GitLab.
#[derive(Default)]
pub struct Refusals(Mutex<Last>);

#[derive(Default)]
struct Last {
    unknown_key: Option<Instant>,
    /// With the instance id that was pinned.
    other_instance: Option<(Instant, String)>,
    not_yet: Option<Instant>,
}

impl Refusals {
    /// Takes note of a token that was refused.
    pub(super) fn note(&self, error: &AuthError, token: &str, rules: &Rules, keys: &KeyRing) {
        let unknown = matches!(error, AuthError::Forbidden(claims::UNKNOWN_KEY) | AuthError::NoKeys(_));
        let not_yet = matches!(error, AuthError::Forbidden(claims::NOT_YET));
        if !unknown && !not_yet || unknown && keys.gitlab_trouble().is_none() {
            return;
        }
        let Ok(claims) = claims::read::<Claims>(token) else { return };
        let here = rules.instance_id.as_ref().is_none_or(|pinned| claims.sub == *pinned);
        if !here || !of_gitlab(&claims, keys) {
            return;
        }
        let mut last = self.lock();
        let seen = if unknown { &mut last.unknown_key } else { &mut last.not_yet };
        *seen = Some(Instant::now());
    }

    /// Takes note of a token that holds and is of another instance. That of the customer portal may be anybody's.
    pub(super) fn note_other_instance(&self, claims: &Claims, pinned: &str, keys: &KeyRing) {
        if of_gitlab(claims, keys) {
            self.lock().other_instance = Some((Instant::now(), pinned.to_owned()));
        }
    }

    /// Why users are turned away now.
    pub fn told(&self, rules: &Rules, keys: &KeyRing, now: Instant) -> Vec<Refusing> {
        let last = self.lock();
        let within = |at: &Instant, span| now.saturating_duration_since(*at) < span;
        let mut told = Vec::new();
        if last.unknown_key.is_some_and(|at| within(&at, WITHOUT_KEYS))
            && let Some(why) = keys.gitlab_trouble()
        {
            told.push(Refusing { cause: "SigningKeys", why });
        }
        if let Some((_, pinned)) = last.other_instance.as_ref().filter(|(at, _)| within(at, OTHERS))
            && rules.instance_id.as_ref() == Some(pinned)
        {
            told.push(Refusing { cause: "OtherInstance", why: format!("only those of instance {pinned} are taken") });
        }
        if last.not_yet.is_some_and(|at| within(&at, OTHERS)) {
            told.push(Refusing { cause: "ClocksDiffer", why: claims::NOT_YET.to_owned() });
        }
        told
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the claims are those of a call that GitLab makes.
fn of_gitlab(claims: &Claims, keys: &KeyRing) -> bool {
    !claims.gitlab_realm.is_empty() && !claims.scopes.is_empty() && keys.is_gitlab(&claims.iss)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{LocalKeys, Sources};
    use crate::settings::Bypass;

    fn rules(pinned: &str) -> Rules {
        Rules {
            epoch: 0,
            service_name: "gitlab-ai-gateway".into(),
            bypass: Bypass::default(),
            instance_id: Some(pinned.into()),
            local: LocalKeys::default(),
        }
    }

    #[test]
    fn a_refusal_counts_for_a_while_and_only_for_the_instance_that_was_pinned() {
        let sources = Sources { issuers: vec!["http://gitlab".into()], ..Sources::default() };
        let (refusals, keys) = (Refusals::default(), KeyRing::new(sources, Duration::ZERO));
        let claims = Claims {
            iss: "http://gitlab/".into(),
            gitlab_realm: "self-managed".into(),
            scopes: vec!["complete_code".into()],
            ..Claims::default()
        };
        refusals.note_other_instance(&claims, "a", &keys);
        let causes = |pinned, after| {
            let told = refusals.told(&rules(pinned), &keys, Instant::now() + after);
            told.into_iter().map(|one| one.cause).collect::<Vec<_>>()
        };
        assert_eq!(causes("a", Duration::ZERO), ["OtherInstance"]);
        assert_eq!(causes("b", Duration::ZERO), [""; 0]);
        assert_eq!(causes("a", OTHERS), [""; 0]);
        refusals.note_other_instance(&Claims { iss: "https://customers".into(), ..claims }, "b", &keys);
        assert_eq!(causes("b", Duration::ZERO), [""; 0], "the customer portal signs for everybody");
    }
}
