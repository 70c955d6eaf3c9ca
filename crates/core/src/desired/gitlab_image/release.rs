//! Which tag of GitLab's image fits a GitLab. Its X.Y must be the instance's; the newest Z cannot be known without asking
//! a registry, and `latest` would be another X.Y one day.

/// GitLab's own registry.
pub const REPOSITORY: &str =
    "registry.gitlab.com/gitlab-org/modelops/applied-ml/code-suggestions/ai-assist/model-gateway";

/// First patch of a minor version without a known fault by which a user runs code in the gateway (CVE-2026-1868,
/// CVE-2026-90970). A minor version that is not listed begins at 0.
const FIRST_SOUND: [(u64, u64, u64); 4] = [(18, 8, 1), (19, 2, 4), (19, 3, 2), (19, 4, 1)];

/// The tag for an instance of this version (`18.9.1-ee`); `None` for a text that is no version.
pub fn tag(version: &str) -> Option<String> {
    let mut parts = version.split(['-', '+']).next()?.split('.');
    let (major, minor) = (parts.next()?.parse::<u64>().ok()?, parts.next()?.parse::<u64>().ok()?);
    let patch = FIRST_SOUND.iter().find(|(x, y, _)| (*x, *y) == (major, minor)).map_or(0, |(_, _, z)| *z);
    Some(format!("self-hosted-v{major}.{minor}.{patch}-ee"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_follows_the_minor_version_and_leaves_out_known_faults() {
        for (version, expected) in [
            ("18.9.0-pre", Some("self-hosted-v18.9.0-ee")),
            ("18.9.7-ee", Some("self-hosted-v18.9.0-ee")),
            ("18.8.0-ee", Some("self-hosted-v18.8.1-ee")),
            ("19.4.0", Some("self-hosted-v19.4.1-ee")),
            ("19.5", Some("self-hosted-v19.5.0-ee")),
            ("", None),
            ("unknown", None),
        ] {
            assert_eq!(tag(version).as_deref(), expected, "{version}");
        }
    }
}
