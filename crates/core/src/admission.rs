//! Whether the gateway lets GitLab's users in: what its pods say of calls that seem to be GitLab's and are refused.
//!
//! GitLab's health check asks a page that needs no token, and its connection check takes any refusal for "unknown":
//! neither sees that every user gets a 401.

use duo_api::condition::GATEWAY_REACHABLE;

use crate::conditions::Finding;

/// Longest word of a pod that is shown, in characters.
const LONGEST: usize = 300;

/// One reason for which a pod turns users away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusing {
    /// Bounded word.
    pub cause: String,
    /// More of it.
    pub why: String,
}

/// What stands in the users' way, if anything. `pods`: what each ready pod says; `gitlab`: the declared URL.
pub fn refused(pods: &[Vec<Refusing>], gitlab: &str) -> Option<Finding> {
    let found = pods.iter().flatten().next()?;
    let same = pods.iter().filter(|pod| pod.iter().any(|one| one.cause == found.cause)).count();
    let who = format!("{same} of {} gateway pods refuse GitLab's users with 401", pods.len());
    let why: String = found.why.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect();
    Some(match found.cause.as_str() {
        "SigningKeys" => Finding::fails(
            GATEWAY_REACHABLE,
            "SigningKeysUnavailable",
            format!(
                "{who}: GitLab signs its calls with a new key that the pods cannot fetch ({why}). Let the pods reach \
                 {gitlab} (spec.gitlab.url, caBundleRef, networkPolicy, proxy, DNS, GitLab itself); they try again by \
                 themselves every minute"
            ),
        ),
        "OtherInstance" => Finding::fails(
            GATEWAY_REACHABLE,
            "OtherInstance",
            format!(
                "{who}: GitLab at {gitlab} signs its calls with another instance id than the one that it had ({why}). \
                 The operator takes the new one over with GitLab's next health check; where this lasts, two instances \
                 answer at that URL, and one has to go"
            ),
        ),
        "ClocksDiffer" => Finding::fails(
            GATEWAY_REACHABLE,
            "ClocksDiffer",
            format!(
                "{who}: GitLab's clock is more than 60 s ahead of the pods', so that its tokens do not count yet. \
                 Synchronise the clocks of GitLab's hosts and of the cluster's nodes (NTP)"
            ),
        )
        .by_person(),
        _ => Finding::fails(
            GATEWAY_REACHABLE,
            "UsersRefused",
            format!("{who} ({}): {why}. The pods' logs name each call (auth_error_details)", found.cause),
        ),
    })
}

#[cfg(test)]
mod tests {
    use duo_api::ConditionStatus::False;

    use super::*;
    use crate::conditions::Cure;

    #[test]
    fn each_cause_is_told_with_what_where_why_and_the_cure() {
        let says = |cause: &str| vec![Refusing { cause: cause.into(), why: "http://g/keys: HTTP\nstatus 503".into() }];
        let cases: [(_, _, _, &[&str]); 4] = [
            ("SigningKeys", "SigningKeysUnavailable", Cure::Time, &["HTTP status 503", "https://g", "caBundleRef"]),
            ("OtherInstance", "OtherInstance", Cure::Time, &["https://g", "next health check"]),
            ("ClocksDiffer", "ClocksDiffer", Cure::Person, &["60 s ahead", "NTP"]),
            ("Tomorrows", "UsersRefused", Cure::Time, &["(Tomorrows)", "HTTP status 503", "logs"]),
        ];
        for (cause, reason, cure, words) in cases {
            let Some(finding) = refused(&[vec![], says(cause)], "https://g") else { panic!("{cause}") };
            assert_eq!((finding.type_, finding.status), (GATEWAY_REACHABLE, False));
            assert_eq!((finding.reason, finding.cure), (reason, cure));
            assert!(finding.message.starts_with("1 of 2 gateway pods refuse"), "{finding:?}");
            assert!(words.iter().all(|word| finding.message.contains(word)), "{finding:?}");
        }
        assert_eq!(refused(&[], "https://g"), None);
        assert_eq!(refused(&[vec![], vec![]], "https://g"), None);
    }

    #[test]
    fn what_a_pod_says_is_cut() {
        let long = vec![Refusing { cause: "SigningKeys".into(), why: "ä".repeat(5000) }];
        assert!(refused(&[long], "https://g").is_some_and(|finding| finding.message.chars().count() < 800));
    }
}
