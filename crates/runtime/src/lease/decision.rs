//! Who may write the lease, decided from what was seen of it and this process's clock. No I/O.

use std::time::{Duration, Instant};

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};

use super::{Config, metadata, micro, spec_of};

/// What to do with the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It does not exist.
    Create,
    /// It is free, or its holder has been silent for too long.
    Acquire,
    /// It is ours.
    Renew,
    /// It is somebody else's.
    Wait,
}

/// What a process has seen of a lease, and when by its own monotonic clock.
pub(super) struct Observer {
    identity: String,
    duration: Duration,
    seen: Option<Seen>,
}

struct Seen {
    /// Changes with every write; what it says is of no interest.
    version: Option<String>,
    at: Instant,
}

impl Observer {
    pub(super) fn new(identity: &str, duration: Duration) -> Self {
        Self { identity: identity.into(), duration, seen: None }
    }

    /// Takes note of a lease; the time counts from when a version was seen first.
    pub(super) fn note(&mut self, lease: &Lease, now: Instant) {
        let version = lease.metadata.resource_version.clone();
        if self.seen.as_ref().is_none_or(|seen| seen.version != version) {
            self.seen = Some(Seen { version, at: now });
        }
    }

    pub(super) fn decide(&mut self, lease: Option<&Lease>, now: Instant) -> Decision {
        let Some(lease) = lease else {
            return Decision::Create;
        };
        self.note(lease, now);
        let spec = lease.spec.as_ref();
        let holder = spec.and_then(|s| s.holder_identity.as_deref()).unwrap_or_default();
        if holder == self.identity {
            return Decision::Renew;
        }
        if holder.is_empty() {
            return Decision::Acquire;
        }
        // a holder that was started with a longer duration is given it
        let theirs = spec.and_then(|s| s.lease_duration_seconds).and_then(|s| u64::try_from(s).ok()).unwrap_or(0);
        let duration = self.duration.max(Duration::from_secs(theirs));
        let silent = self.seen.as_ref().map_or(Duration::ZERO, |seen| now.duration_since(seen.at));
        if silent >= duration { Decision::Acquire } else { Decision::Wait }
    }
}

/// The lease to write. It keeps the resource version that was read: of two writers one is refused.
pub(super) fn next(decision: Decision, current: Option<Lease>, config: &Config, now: Timestamp) -> Lease {
    let existed = current.is_some();
    let (mut meta, mut spec) = spec_of(current);
    if !existed {
        meta = metadata(config);
    }
    if !config.annotations.is_empty() {
        meta.annotations.get_or_insert_default().extend(config.annotations.clone());
    }
    if decision != Decision::Renew {
        spec.acquire_time = micro(now);
        spec.lease_transitions = Some(if existed { spec.lease_transitions.unwrap_or(0).saturating_add(1) } else { 0 });
    }
    spec.holder_identity = Some(config.identity.clone());
    spec.lease_duration_seconds = Some(i32::try_from(config.duration.as_secs()).unwrap_or(i32::MAX));
    spec.renew_time = micro(now);
    Lease { metadata: meta, spec: Some(spec) }
}

/// The lease as it is given back: nobody holds it, anybody may take it at once.
pub(super) fn released(current: Lease, now: Timestamp) -> Lease {
    let (metadata, mut spec) = spec_of(Some(current));
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    spec.renew_time = micro(now);
    Lease { metadata, spec: Some(spec) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn lease(holder: &str, version: &str, seconds: i32) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.resource_version = Some(version.into());
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(holder.into());
        spec.lease_duration_seconds = Some(seconds);
        // a clock that is years off must not matter
        spec.renew_time = micro("2001-01-01T00:00:00Z".parse().unwrap());
        lease
    }

    fn observer() -> Observer {
        Observer::new("us", DURATION)
    }

    #[test]
    fn missing_free_and_own_leases_are_taken() {
        let now = Instant::now();
        assert_eq!(observer().decide(None, now), Decision::Create);
        assert_eq!(observer().decide(Some(&Lease::default()), now), Decision::Acquire);
        assert_eq!(observer().decide(Some(&lease("", "1", 1)), now), Decision::Acquire);
        assert_eq!(observer().decide(Some(&lease("us", "1", 15)), now), Decision::Renew);
    }

    #[test]
    fn trap_expiry_counts_from_the_own_observation_not_from_the_holders_clock() {
        let (mut us, start) = (observer(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(us.decide(Some(&lease("them", "1", 15)), at(0)), Decision::Wait);
        assert_eq!(us.decide(Some(&lease("them", "1", 15)), at(14)), Decision::Wait);
        assert_eq!(us.decide(Some(&lease("them", "2", 15)), at(14)), Decision::Wait);
        assert_eq!(us.decide(Some(&lease("them", "2", 15)), at(28)), Decision::Wait);
        assert_eq!(us.decide(Some(&lease("them", "2", 15)), at(29)), Decision::Acquire);
    }

    #[test]
    fn a_holder_with_a_longer_duration_is_given_it() {
        let (mut us, start) = (observer(), Instant::now());
        assert_eq!(us.decide(Some(&lease("them", "1", 60)), start), Decision::Wait);
        assert_eq!(us.decide(Some(&lease("them", "1", 60)), start + Duration::from_secs(59)), Decision::Wait);
        assert_eq!(us.decide(Some(&lease("them", "1", 60)), start + Duration::from_secs(60)), Decision::Acquire);
    }

    #[test]
    fn every_write_carries_the_version_that_was_read() {
        let config = Config { identity: "us".into(), ..Config::new("ns", "n") };
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        for decision in [Decision::Acquire, Decision::Renew] {
            let written = next(decision, Some(lease("them", "7", 15)), &config, now);
            assert_eq!(written.metadata.resource_version.as_deref(), Some("7"));
            let spec = written.spec.unwrap();
            assert_eq!(spec.holder_identity.as_deref(), Some("us"));
            assert_eq!(spec.lease_transitions.is_some(), decision == Decision::Acquire);
        }
        let created = next(Decision::Create, None, &config, now);
        assert_eq!(created.metadata.resource_version, None);
        assert_eq!(created.metadata.name.as_deref(), Some("n"));
        let released = released(lease("us", "9", 15), now);
        assert_eq!(released.metadata.resource_version.as_deref(), Some("9"));
        assert_eq!(observer().decide(Some(&released), Instant::now()), Decision::Acquire);
    }
}
