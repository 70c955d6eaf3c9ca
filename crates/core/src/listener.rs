//! How the gateway's port is spoken to while `tls` is switched on or off for a gateway that is in use.
//!
//! Pods take over a configuration before GitLab's URL names the new scheme, and GitLab's own processes go on with the
//! URL that they read for a while. Between the two the port takes both; afterwards the one that is declared, alone.

use std::time::Duration;

use duo_api::condition::{Condition, ConditionStatus, GATEWAY_URL_CONFIGURED, WORKLOAD_AVAILABLE};
use duo_gateway_config::{CertificateFiles, GatewayConfig, ListenerTls};

use crate::{conditions, inputs};

/// So long after GitLab's URL was switched its processes may still call by the URL that they read before: one request or
/// job of GitLab's.
pub const CHANGE_OVER: Duration = Duration::from_secs(60);

/// What the port takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// HTTP alone.
    Plain,
    /// TLS and HTTP.
    Both,
    /// TLS alone.
    Tls,
}

impl Door {
    /// What pods with this configuration take.
    pub fn of(config: &GatewayConfig) -> Self {
        match &config.tls {
            None => Self::Plain,
            Some(tls) if tls.accept_plain => Self::Both,
            Some(_) => Self::Tls,
        }
    }

    /// What the port shall take. `told`: what the pods were told last, `None` for a gateway that has none yet. `tls`: TLS
    /// is declared. `followed`: for how long GitLab's URL has been the declared one.
    pub fn next(told: Option<Self>, tls: bool, followed: Option<Duration>) -> Self {
        let declared = if tls { Self::Tls } else { Self::Plain };
        match told {
            None => declared,
            Some(told) if told == declared => declared,
            // pods that only ever heard of one of the two cannot have been called by the other
            Some(Self::Both) if followed.is_some_and(|time| time >= CHANGE_OVER) => declared,
            Some(_) => Self::Both,
        }
    }

    /// Puts it into a configuration that has what is declared.
    pub fn put(self, config: &mut GatewayConfig) {
        config.tls = match self {
            Self::Plain => None,
            Self::Both | Self::Tls => Some(ListenerTls {
                certificate: CertificateFiles {
                    certificate_file: inputs::TLS_CERTIFICATE.to_owned(),
                    key_file: inputs::TLS_KEY.to_owned(),
                },
                accept_plain: self == Self::Both,
            }),
        };
    }

    /// When a look at it is due, if nothing else happens.
    pub fn look_again(self, followed: Option<Duration>) -> Option<Duration> {
        let left = CHANGE_OVER.saturating_sub(followed?);
        (self == Self::Both).then(|| left.max(Duration::from_secs(1)))
    }
}

/// For how long, at `now`, GitLab's URL has been what this generation declares; `None` while it is not, or nobody knows,
/// or while pods of before are there, whose probes speak as before.
pub fn followed(conditions: &[Condition], generation: Option<i64>, now: jiff::Timestamp) -> Option<Duration> {
    let holds = |type_: &str| {
        let condition = conditions::get(conditions, type_)?;
        (condition.status == ConditionStatus::True && condition.observed_generation == generation).then_some(condition)
    };
    holds(WORKLOAD_AVAILABLE)?;
    let since: jiff::Timestamp = holds(GATEWAY_URL_CONFIGURED)?.last_transition_time.parse().ok()?;
    Some(Duration::try_from(now.duration_since(since)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::Door::{Both, Plain, Tls};
    use super::*;

    #[test]
    fn a_port_in_use_changes_by_way_of_both_and_not_before_gitlab_has_followed() {
        let (no, new, long) = (None, Some(Duration::ZERO), Some(CHANGE_OVER));
        for (told, tls, followed, next) in [
            // new gateways are what they are declared to be
            (None, true, no, Tls),
            (None, false, no, Plain),
            // nothing changes where nothing is changed, whatever GitLab says
            (Some(Tls), true, no, Tls),
            (Some(Plain), false, no, Plain),
            // switched on
            (Some(Plain), true, no, Both),
            (Some(Plain), true, long, Both),
            (Some(Both), true, no, Both),
            (Some(Both), true, new, Both),
            (Some(Both), true, long, Tls),
            // and off
            (Some(Tls), false, long, Both),
            (Some(Both), false, new, Both),
            (Some(Both), false, long, Plain),
        ] {
            assert_eq!(Door::next(told, tls, followed), next, "{told:?} {tls} {followed:?}");
        }
    }

    #[test]
    fn a_configuration_says_which_door_it_is() {
        let mut config = GatewayConfig::new("https://gitlab.example.com");
        for door in [Plain, Both, Tls, Plain] {
            door.put(&mut config);
            let read = GatewayConfig::from_yaml(&config.to_yaml().unwrap()).unwrap();
            assert_eq!(Door::of(&read), door);
        }
    }

    #[test]
    fn a_door_that_takes_both_is_looked_at_again_once_gitlab_has_followed() {
        assert_eq!(Both.look_again(Some(Duration::from_secs(50))), Some(Duration::from_secs(10)));
        assert_eq!(Both.look_again(Some(CHANGE_OVER)), Some(Duration::from_secs(1)));
        assert_eq!(Both.look_again(None), None, "whoever switches the URL looks");
        assert_eq!((Tls.look_again(Some(CHANGE_OVER)), Plain.look_again(None)), (None, None));
    }

    #[test]
    fn gitlab_has_followed_when_it_holds_for_this_generation() {
        let now: jiff::Timestamp = "2026-11-23T12:01:00Z".parse().unwrap();
        let of = |type_: &str, status, generation| Condition {
            type_: type_.into(),
            status,
            reason: "Configured".into(),
            message: "".into(),
            last_transition_time: "2026-11-23T12:00:30Z".into(),
            observed_generation: Some(generation),
        };
        let condition = |status, generation| of(GATEWAY_URL_CONFIGURED, status, generation);
        let pods = |generation| of(WORKLOAD_AVAILABLE, ConditionStatus::True, generation);
        let told = |condition: Condition| followed(&[pods(2), condition], Some(2), now);
        assert_eq!(told(condition(ConditionStatus::True, 2)), Some(Duration::from_secs(30)));
        assert_eq!(told(condition(ConditionStatus::True, 1)), None, "of what was declared before");
        assert_eq!(told(condition(ConditionStatus::Unknown, 2)), None);
        assert_eq!(followed(&[], Some(2), now), None);
        let holds = condition(ConditionStatus::True, 2);
        assert_eq!(followed(&[pods(1), holds], Some(2), now), None, "pods are still being replaced");
    }
}
