//! The Agent Platform's service in GitLab's settings: its address, and whether GitLab speaks TLS to it.

use serde::{Deserialize, Serialize};

use super::Operation;
use crate::observed::{Capabilities, Settings};
use crate::url_rules;

/// What GitLab should be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPlatformTarget {
    /// `host:port`.
    pub url: String,
    /// Whether GitLab speaks TLS to it.
    pub secure: bool,
}

/// What stood in GitLab before, and what was put there: written down as JSON in an annotation before the first write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentPlatformBefore {
    /// Address of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// TLS of before; `None` where GitLab has no such setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure: Option<bool>,
    /// What was put there last: the declaration may be gone when it is to be taken back.
    pub ours: String,
}

impl AgentPlatformBefore {
    /// What is to be written down now. What was written down first stays, but for our own address.
    pub fn note(known: Option<Self>, observed: &Settings, target: &AgentPlatformTarget) -> Self {
        let before = known.unwrap_or_else(|| {
            let foreign = |url: &String| !url_rules::same(Some(url), Some(&target.url));
            Self {
                url: observed.agent_platform_url.clone().filter(foreign),
                secure: observed.agent_platform_secure,
                ours: String::new(),
            }
        });
        Self { ours: target.url.clone(), ..before }
    }

    /// As it stands in the annotation; what nobody can read is nothing.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// For the annotation.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The write that brings the settings to what is declared, if any differs. TLS is left alone where the instance has no
/// such setting (up to 18.9).
pub fn plan_agent_platform(
    observed: &Settings,
    target: &AgentPlatformTarget,
    capabilities: &Capabilities,
) -> Option<Operation> {
    let url = (!url_rules::same(observed.agent_platform_url.as_deref(), Some(&target.url)))
        .then(|| url_rules::normalize(&target.url));
    let secure = Some(target.secure)
        .filter(|wanted| capabilities.agent_platform_secure && observed.agent_platform_secure != Some(*wanted));
    operation(observed, url, secure)
}

/// The write that puts back what was there before, if what is there now is still ours.
pub fn plan_agent_platform_release(
    observed: &Settings,
    before: &AgentPlatformBefore,
    capabilities: &Capabilities,
) -> Option<Operation> {
    if !url_rules::same(observed.agent_platform_url.as_deref(), Some(&before.ours)) {
        return None;
    }
    let previous = before.url.as_deref().and_then(url_rules::normalize);
    let secure =
        before.secure.filter(|was| capabilities.agent_platform_secure && observed.agent_platform_secure != Some(*was));
    operation(observed, Some(previous), secure)
}

/// The write of these, if there is any.
pub(super) fn operation(observed: &Settings, url: Option<Option<String>>, secure: Option<bool>) -> Option<Operation> {
    let mut found = Vec::new();
    if url.is_some() {
        found.push(observed.agent_platform_url.clone().unwrap_or_else(|| "no URL".to_owned()));
    }
    if secure.is_some() {
        found.push(format!("TLS {}", if observed.agent_platform_secure == Some(true) { "on" } else { "off" }));
    }
    (!found.is_empty()).then(|| Operation::UpdateAgentPlatform { url, secure, found: found.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capabilities(secure: bool) -> Capabilities {
        Capabilities { agent_platform_secure: secure, ..Capabilities::newest() }
    }

    fn observed(url: Option<&str>, secure: Option<bool>) -> Settings {
        Settings { agent_platform_url: url.map(Into::into), agent_platform_secure: secure, ..Settings::default() }
    }

    #[test]
    fn only_what_differs_and_what_the_instance_has_is_written() {
        let target = AgentPlatformTarget { url: "duo:50052".into(), secure: false };
        for (found, has_secure, written) in [
            (observed(Some("duo:50052"), Some(false)), true, None),
            (observed(Some("duo:50052/"), None), false, None),
            (
                observed(None, Some(true)),
                true,
                Some("set agent platform to duo:50052 and its TLS off (found: no URL, TLS on)"),
            ),
            (observed(None, None), false, Some("set agent platform to duo:50052 (found: no URL)")),
            (observed(Some("duo:50052"), Some(true)), true, Some("set agent platform's TLS off (found: TLS on)")),
        ] {
            let planned = plan_agent_platform(&found, &target, &capabilities(has_secure)).map(|op| op.to_string());
            assert_eq!(planned.as_deref(), written, "{found:?}");
        }
    }

    #[test]
    fn what_was_there_before_comes_back_only_where_ours_still_stands() {
        let target = AgentPlatformTarget { url: "duo:50052".into(), secure: false };
        let before = AgentPlatformBefore::note(None, &observed(Some("old:1"), Some(true)), &target);
        assert_eq!(AgentPlatformBefore::read(&before.text()), Some(before.clone()));
        let again = AgentPlatformBefore::note(
            Some(before.clone()),
            &observed(Some("duo:50052"), Some(false)),
            &AgentPlatformTarget { url: "new:2".into(), secure: false },
        );
        assert_eq!((again.url.as_deref(), again.ours.as_str()), (Some("old:1"), "new:2"));

        let ours = Some("duo:50052");
        for (found, has_secure, written) in [
            (
                observed(ours, Some(false)),
                true,
                Some("set agent platform to old:1 and its TLS on (found: duo:50052, TLS off)"),
            ),
            (observed(ours, Some(true)), true, Some("set agent platform to old:1 (found: duo:50052)")),
            (observed(ours, None), false, Some("set agent platform to old:1 (found: duo:50052)")),
            (observed(Some("clicked:1"), Some(false)), true, None),
        ] {
            let planned = plan_agent_platform_release(&found, &before, &capabilities(has_secure));
            assert_eq!(planned.map(|op| op.to_string()).as_deref(), written, "{found:?}");
        }
        // Ours stood there before anything was written down: there is nothing to go back to.
        let first = AgentPlatformBefore::note(None, &observed(Some("duo:50052"), None), &target);
        assert_eq!(first.url, None);
    }
}
