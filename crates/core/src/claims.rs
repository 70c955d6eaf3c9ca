//! Two resources that claim the same thing: the older wins, then namespace and name decide. A claim stands until its
//! resource is gone: one that is being deleted still has something to take out of GitLab.

use duo_api::condition::GATEWAY_URL_CONFIGURED;

use crate::conditions::Finding;
use crate::dependents::INSTANCE_CLAIMED;
use crate::ownership::Home;

/// Who claims, in the order in which claims win.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claimant {
    /// `metadata.creationTimestamp`, RFC 3339; missing counts as newest.
    created: (bool, String),
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// It is being deleted; what it claims becomes free by itself.
    pub leaving: bool,
}

impl Claimant {
    /// A claimant from its metadata.
    pub fn new(created: Option<String>, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            created: (created.is_none(), created.unwrap_or_default()),
            namespace: namespace.into(),
            name: name.into(),
            leaving: false,
        }
    }

    /// The same, on its way out or not.
    #[must_use]
    pub fn leaving(self, leaving: bool) -> Self {
        Self { leaving, ..self }
    }
}

/// The claimant that wins over `me`, if there is one.
pub fn winner_over<'a>(me: &Claimant, others: impl IntoIterator<Item = &'a Claimant>) -> Option<&'a Claimant> {
    others.into_iter().filter(|other| *other < me).min()
}

/// Why a gateway keeps its hands off its GitLab: an older one has it, by the same URL or by the same instance behind
/// another URL. Two would fight over one setting. `url`: as declared; `others`: all other gateways.
pub fn instance_claimed(
    me: &Claimant,
    home: &Home,
    url: &str,
    others: impl IntoIterator<Item = (Claimant, Home)>,
) -> Option<Finding> {
    let rivals: Vec<Claimant> =
        others.into_iter().filter(|(_, other)| home.shares(other)).map(|(claimant, _)| claimant).collect();
    let winner = winner_over(me, &rivals)?;
    let whose = format!("{url} is managed by the older AIGateway {}/{}", winner.namespace, winner.name);
    Some(if winner.leaving {
        Finding::fails(GATEWAY_URL_CONFIGURED, INSTANCE_CLAIMED, format!("{whose}, which is being deleted"))
    } else {
        let text = format!("{whose}; delete one of the two");
        Finding::fails(GATEWAY_URL_CONFIGURED, INSTANCE_CLAIMED, text).by_person()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::Cure;

    #[test]
    fn one_gitlab_has_one_gateway_whatever_the_url() {
        let me = Claimant::new(Some("2026-01-02T00:00:00Z".into()), "b", "me");
        let old = |leaving| Claimant::new(Some("2026-01-01T00:00:00Z".into()), "a", "old").leaving(leaving);
        let young = Claimant::new(Some("2026-01-03T00:00:00Z".into()), "c", "young");
        let home = |url: &str, id: Option<&str>| Home::new(url, id.map(Into::into));
        let (a, b) = ("https://a.example", "https://b.example");
        for (mine, other, theirs, cure) in [
            (home(a, None), old(false), home("https://A.example:443/", None), Some(Cure::Person)),
            (home(a, None), old(false), home(b, None), None),
            (home(a, Some("x")), old(false), home(b, Some("x")), Some(Cure::Person)),
            (home(a, Some("x")), old(false), home(b, Some("y")), None),
            (home(a, Some("x")), old(false), home(b, None), None),
            // What an id says of before is no reason to fight over one URL.
            (home(a, Some("x")), old(false), home(a, Some("y")), Some(Cure::Person)),
            (home(a, Some("x")), young, home(a, Some("x")), None),
            (home(a, None), old(true), home(a, None), Some(Cure::Time)),
        ] {
            let found = instance_claimed(&me, &mine, a, [(other.clone(), theirs.clone())]);
            assert_eq!(found.as_ref().map(|f| f.cure), cure, "{mine} {theirs}");
            assert!(found.is_none_or(|f| f.message.contains("a/old")));
        }
    }

    #[test]
    fn the_older_wins_then_namespace_and_name() {
        let old = Claimant::new(Some("2026-01-01T00:00:00Z".into()), "z", "z");
        let young = Claimant::new(Some("2026-01-02T00:00:00Z".into()), "a", "a");
        let twin = Claimant::new(Some("2026-01-02T00:00:00Z".into()), "a", "b");
        let unborn = Claimant::new(None, "a", "a");
        assert_eq!(winner_over(&young, [&old, &twin]), Some(&old));
        assert_eq!(winner_over(&old, [&young, &twin, &unborn]), None);
        assert_eq!(winner_over(&twin, [&young]), Some(&young));
        assert_eq!(winner_over(&unborn, [&twin]), Some(&twin));
    }
}
