//! The tools that GitLab runs for the chat, and which of them a turn may offer.

use std::fmt;

/// A GitLab version as far as tools depend on it. Reads `18.9.0-pre`, `17.10.1-ee`, `19.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GitlabVersion {
    /// 18 of 18.9.
    pub major: u32,
    /// 9 of 18.9.
    pub minor: u32,
}

impl GitlabVersion {
    /// Reads the header `X-Gitlab-Version`; `None` when it is no version.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
        Some(GitlabVersion { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
    }
}

impl fmt::Display for GitlabVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A tool of GitLab's chat. GitLab finds its class by the CamelCase of the name.
#[derive(Debug, PartialEq, Eq)]
pub struct Tool {
    /// Name in `Action:`.
    pub name: &'static str,
    /// The token must hold this.
    pub unit_primitive: &'static str,
    /// GitLab has it from this version on.
    pub since: Option<GitlabVersion>,
    /// What the model is told.
    pub description: &'static str,
    /// An input, as an example.
    pub example: &'static str,
}

const V17_5: Option<GitlabVersion> = Some(GitlabVersion { major: 17, minor: 5 });
const V19: Option<GitlabVersion> = Some(GitlabVersion { major: 19, minor: 0 });

/// All tools.
pub const TOOLS: &[Tool] = &[
    Tool {
        name: "build_reader",
        unit_primitive: "ask_build",
        since: V17_5,
        description: "Reads one CI job (build): its state, stage and log. Input: the job's number, URL, or the words 'current job'.",
        example: "current job",
    },
    Tool {
        name: "commit_reader",
        unit_primitive: "ask_commit",
        since: V17_5,
        description: "Reads one commit: message, author, changed files. Input: the commit's SHA, URL, or the words 'current commit'.",
        example: "current commit",
    },
    Tool {
        name: "epic_reader",
        unit_primitive: "ask_epic",
        since: None,
        description: "Reads one epic: title, description, comments, state. Input: its number with &, its URL, or the words 'current epic'.",
        example: "current epic",
    },
    Tool {
        name: "gitlab_documentation",
        unit_primitive: "documentation_search",
        since: None,
        description: "Searches GitLab's documentation. For questions on how GitLab works or is set up. Input: the question in full.",
        example: "How do I register a runner?",
    },
    Tool {
        name: "issue_reader",
        unit_primitive: "ask_issue",
        since: None,
        description: "Reads one issue: title, description, comments, labels, state. Input: its number with #, its URL, or the words 'current issue'.",
        example: "current issue",
    },
    Tool {
        name: "merge_request_reader",
        unit_primitive: "ask_merge_request",
        since: V17_5,
        description: "Reads one merge request: description, changes, comments, state. Input: its number with !, its URL, or the words 'current merge request'.",
        example: "current merge request",
    },
    Tool {
        name: "work_item_reader",
        unit_primitive: "ask_work_item",
        since: V19,
        description: "Reads one work item (task, objective, incident and the like). Input: its number with #, its URL, or the words 'current work item'.",
        example: "current work item",
    },
];

/// The tool that needs an index of the documentation.
const DOCUMENTATION: &str = "gitlab_documentation";

/// The tools a turn may offer: the token holds the unit primitive (`allowed`), and the GitLab knows the tool. Without
/// a version only the tools every GitLab has are offered. `documentation`: there is an index of GitLab's documentation;
/// without one the tool would end every question about GitLab in a search that finds nothing.
pub fn offered(
    allowed: impl Fn(&str) -> bool,
    version: Option<GitlabVersion>,
    documentation: bool,
) -> Vec<&'static Tool> {
    TOOLS
        .iter()
        .filter(|tool| documentation || tool.name != DOCUMENTATION)
        .filter(|tool| allowed(tool.unit_primitive))
        .filter(|tool| tool.since.is_none_or(|since| version.is_some_and(|version| version >= since)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(version: Option<&str>, allowed: &[&str]) -> Vec<&'static str> {
        let version = version.map(|v| GitlabVersion::parse(v).unwrap());
        offered(|up| allowed.is_empty() || allowed.contains(&up), version, true).iter().map(|t| t.name).collect()
    }

    #[test]
    fn tools_depend_on_the_version_and_the_token() {
        let old = ["epic_reader", "gitlab_documentation", "issue_reader"];
        assert_eq!(names(None, &[]), old);
        assert_eq!(names(Some("17.4.2-ee"), &[]), old);
        assert_eq!(names(Some("17.5.0"), &[]).len(), 6);
        assert_eq!(names(Some("18.9.0-pre"), &[]).len(), 6);
        assert_eq!(names(Some("19.0"), &[]).len(), 7);
        assert_eq!(names(Some("18.9"), &["ask_issue", "ask_commit"]), ["commit_reader", "issue_reader"]);
    }

    #[test]
    fn documentation_is_searched_only_where_there_is_an_index() {
        let version = GitlabVersion::parse("18.9");
        let with = |index| offered(|_| true, version, index).iter().any(|tool| tool.name == "gitlab_documentation");
        assert!(with(true) && !with(false));
        let without_the_right = offered(|up| up != "documentation_search", version, true);
        assert!(without_the_right.iter().all(|tool| tool.name != "gitlab_documentation"));
    }

    #[test]
    fn nonsense_is_no_version() {
        for text in ["", "abc", "18", "-1.2"] {
            assert_eq!(GitlabVersion::parse(text), None, "{text}");
        }
    }
}
