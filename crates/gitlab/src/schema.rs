//! What an instance of GitLab can do, found once per version and shared by clients.
//!
//! The break that matters: the self-hosted model inputs gained a required `provider` (18.11 or 19.0, the exact release
//! is unknown), and `endpoint` became optional. GitLab marks nearly all of this "experiment", so the schema decides, not
//! the version; the version decides only where an instance does not answer introspection.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use semver::Version;
use tokio::sync::{Mutex, OnceCell};

use crate::introspection::Summary;

/// How the capabilities were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From the instance's own schema.
    Introspection,
    /// From `metadata.version` and one probing query, because the instance does not answer introspection.
    Version,
}

/// What one version of GitLab accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// GitLab's version without its suffix (`18.9.0-pre` is 18.9.0).
    pub version: Version,
    /// Self-hosted models have a `provider` (`API`, `BEDROCK`, `VERTEX_AI`).
    pub has_model_provider: bool,
    /// Every model needs an endpoint, Bedrock's too; a placeholder is sent.
    pub endpoint_required: bool,
    /// Accepted model families, lower-case keys (`claude_3`).
    pub families: BTreeSet<String>,
    /// Known features, lower-case keys (`code_generations`).
    pub features: BTreeSet<String>,
    /// `aiGatewayTimeoutSeconds` exists (GitLab 18.7).
    pub timeout_setting: bool,
    /// `duoAgentPlatformServiceUrl` exists (GitLab 18.4).
    pub agent_platform_url: bool,
    /// `selfHostedDuoAgentPlatformServiceSecure` exists (after GitLab 18.9).
    pub agent_platform_secure: bool,
    /// Self-hosted models exist at all (a GitLab EE of at least 17.9, which has the Duo settings).
    pub self_hosted_models: bool,
    /// How this was found.
    pub source: Source,
}

/// Families of 18.9.
const FAMILIES_18_9: &[&str] = &[
    "claude_3",
    "codegemma",
    "codellama",
    "codestral",
    "deepseekcoder",
    "general",
    "gpt",
    "llama3",
    "mistral",
    "mixtral",
];
/// Families that 19.x added.
const FAMILIES_19: &[&str] = &["embedding", "gemini", "qwen"];
/// Features of 18.9.
const FEATURES_18_9: &[&str] = &[
    "code_completions",
    "code_generations",
    "duo_agent_platform",
    "duo_agent_platform_agentic_chat",
    "duo_chat",
    "duo_chat_explain_code",
    "duo_chat_explain_vulnerability",
    "duo_chat_fix_code",
    "duo_chat_refactor_code",
    "duo_chat_summarize_comments",
    "duo_chat_troubleshoot_job",
    "duo_chat_write_tests",
    "generate_commit_message",
    "glab_ask_git_command",
    "resolve_vulnerability",
    "review_merge_request",
    "summarize_new_merge_request",
    "summarize_review",
];
/// Features that 19.x added.
const FEATURES_19: &[&str] = &[
    "feature_discovery_search",
    "resolve_dependency_bump",
    "review_merge_request_dap",
    "sast_vulnerability_fp_detection",
    "sast_vulnerability_resolution",
    "secret_vulnerability_fp_detection",
    "security_review",
];

impl Capabilities {
    /// From the instance's own schema.
    pub(crate) fn from_summary(version: Version, summary: &Summary) -> Self {
        Self {
            version,
            has_model_provider: summary.create_input.contains_key("provider"),
            endpoint_required: summary.create_input.get("endpoint").copied().unwrap_or(false),
            families: summary.families.iter().map(|f| f.to_lowercase()).collect(),
            features: summary.features.iter().map(|f| f.to_lowercase()).collect(),
            timeout_setting: summary.settings_input.contains_key("aiGatewayTimeoutSeconds")
                && summary.settings_fields.contains("aiGatewayTimeoutSeconds"),
            agent_platform_url: summary.settings_fields.contains("duoAgentPlatformServiceUrl"),
            agent_platform_secure: summary.settings_input.contains_key("selfHostedDuoAgentPlatformServiceSecure")
                && summary.settings_fields.contains("selfHostedDuoAgentPlatformServiceSecure"),
            self_hosted_models: !summary.create_input.is_empty() && !summary.settings_fields.is_empty(),
            source: Source::Introspection,
        }
    }

    /// From the version alone; `has_provider` is what a probing query said, if it said anything.
    pub(crate) fn from_version(version: Version, enterprise: bool, has_provider: Option<bool>) -> Self {
        let at_least = |major, minor| version >= Version::new(major, minor, 0);
        let newer = has_provider.unwrap_or(at_least(19, 0));
        let keys = |old: &[&str], new: &[&str]| {
            old.iter().chain(if newer { new } else { &[] }).map(|k| (*k).to_owned()).collect()
        };
        Self {
            has_model_provider: newer,
            endpoint_required: !newer,
            families: keys(FAMILIES_18_9, FAMILIES_19),
            features: keys(FEATURES_18_9, FEATURES_19),
            timeout_setting: at_least(18, 7),
            agent_platform_url: at_least(18, 4),
            agent_platform_secure: newer,
            self_hosted_models: enterprise && at_least(17, 9),
            source: Source::Version,
            version,
        }
    }
}

/// Reads GitLab's version: `18.9.0-pre`, `19.5.1-ee`. The suffix is dropped, or `18.9.0-pre` would sort before 18.9.
pub(crate) fn parse_version(text: &str) -> Option<Version> {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let mut parts = numbers.split('.').map(|p| p.parse::<u64>().ok());
    let (major, minor) = (parts.next()??, parts.next()??);
    let patch = parts.next().flatten().unwrap_or(0);
    Some(Version::new(major, minor, patch))
}

/// Whose schema is meant. Instances of one version share a schema; what is only guessed from a version stays with the
/// instance that would not show its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SchemaKey {
    pub(crate) version: String,
    pub(crate) enterprise: bool,
}

type Slot = Arc<OnceCell<Arc<Capabilities>>>;
type Guesses = HashMap<(String, SchemaKey), Arc<Capabilities>>;

/// Most versions kept. An operator sees as many as it has instances, plus their upgrades.
const MOST_VERSIONS: usize = 64;

/// Capabilities per version, shared by clients so that several instances of one version are introspected once.
#[derive(Clone, Default)]
pub(crate) struct SchemaCache {
    by_version: Arc<Mutex<HashMap<SchemaKey, Slot>>>,
    by_instance: Arc<Mutex<Guesses>>,
}

impl std::fmt::Debug for SchemaCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SchemaCache")
    }
}

impl SchemaCache {
    /// The slot of a version: whoever fills it first does so for all, the others wait.
    pub(crate) async fn slot(&self, key: &SchemaKey) -> Slot {
        let mut map = self.by_version.lock().await;
        if map.len() >= MOST_VERSIONS && !map.contains_key(key) {
            map.clear();
        }
        map.entry(key.clone()).or_default().clone()
    }

    pub(crate) async fn guessed(&self, instance: &str, key: &SchemaKey) -> Option<Arc<Capabilities>> {
        self.by_instance.lock().await.get(&(instance.to_owned(), key.clone())).cloned()
    }

    pub(crate) async fn keep_guess(&self, instance: &str, key: &SchemaKey, capabilities: Arc<Capabilities>) {
        let mut map = self.by_instance.lock().await;
        if map.len() >= MOST_VERSIONS {
            map.clear();
        }
        map.insert((instance.to_owned(), key.clone()), capabilities);
    }

    /// Forgets a version: its schema turned out not to be what was kept (a pre-release that changed, a feature flag).
    pub(crate) async fn forget(&self, instance: &str, key: &SchemaKey) {
        self.by_version.lock().await.remove(key);
        self.by_instance.lock().await.remove(&(instance.to_owned(), key.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_lose_their_suffix() {
        let cases = [
            ("18.9.0-pre", Some((18, 9, 0))),
            ("19.5.1-ee", Some((19, 5, 1))),
            ("17.11.2", Some((17, 11, 2))),
            ("18.4", Some((18, 4, 0))),
            ("18", None),
            ("", None),
            ("unknown", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_version(text), expected.map(|(a, b, c)| Version::new(a, b, c)), "{text}");
        }
    }

    #[test]
    fn without_introspection_the_probe_decides_and_then_the_version() {
        let shape = |v: &str, probe| {
            let c = Capabilities::from_version(parse_version(v).unwrap(), true, probe);
            (c.has_model_provider, c.endpoint_required, c.timeout_setting, c.agent_platform_url)
        };
        assert_eq!(shape("18.9.0-pre", None), (false, true, true, true));
        assert_eq!(shape("18.11.0", None), (false, true, true, true));
        assert_eq!(shape("18.11.0", Some(true)), (true, false, true, true));
        assert_eq!(shape("19.0.0-ee", None), (true, false, true, true));
        assert_eq!(shape("18.6.3", None), (false, true, false, true));
        assert_eq!(shape("18.3.3", None), (false, true, false, false));
    }
}
