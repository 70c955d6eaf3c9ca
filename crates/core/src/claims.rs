//! Two resources that claim the same thing: the older wins, then namespace and name decide.

/// Who claims, in the order in which claims win.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claimant {
    /// `metadata.creationTimestamp`, RFC 3339; missing counts as newest.
    created: (bool, String),
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Claimant {
    /// A claimant from its metadata.
    pub fn new(created: Option<String>, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            created: (created.is_none(), created.unwrap_or_default()),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// The claimant that wins over `me`, if there is one.
pub fn winner_over<'a>(me: &Claimant, others: impl IntoIterator<Item = &'a Claimant>) -> Option<&'a Claimant> {
    others.into_iter().filter(|other| *other < me).min()
}

#[cfg(test)]
mod tests {
    use super::*;

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
