//! How well GitLab documents a model to work for a feature, and which families a feature takes where the instance does
//! not say.
//!
//! An identifier is free text of a platform: `bedrock/us.anthropic.claude-sonnet-4-20250514-v1:0`,
//! `custom_openai/mistralai/Codestral-22B-v0.1`, an Azure deployment's name. It is cut into words, what says nothing about
//! the model is taken away, and the rest has to be exactly a listed model's words, in any order. What is left over
//! (`distill`, `awq`, a company's own name) means another model than the listed one: unlisted. A wrong tier would be worse
//! than none.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use duo_api::{Family, Feature, FeatureStatus, Tier};
use semver::Version;
use serde::Deserialize;

use crate::observed::Instance;

static TABLES: LazyLock<Data> =
    LazyLock::new(|| serde_yaml_ng::from_str(include_str!("../data/model-compatibility.yaml")).unwrap_or_default());

#[derive(Debug, Default, Deserialize)]
struct Data {
    tables: Vec<Table>,
    families: Vec<Families>,
}

#[derive(Debug, Deserialize)]
struct Table {
    since: String,
    models: Vec<Model>,
}

#[derive(Debug, Deserialize)]
struct Model {
    model: String,
    family: String,
    names: Vec<String>,
    completion: Option<Level>,
    generation: Option<Level>,
    chat: Option<Level>,
    agents: Option<Level>,
}

#[derive(Debug, Deserialize)]
struct Families {
    since: String,
    features: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Full,
    Partial,
    Limited,
}

impl From<Level> for Tier {
    fn from(level: Level) -> Self {
        match level {
            Level::Full => Self::Full,
            Level::Partial => Self::Partial,
            Level::Limited => Self::Limited,
        }
    }
}

/// Words that say how a model was tuned or named, not which it is.
const MEANINGLESS: [&str; 7] = ["instruct", "it", "chat", "hf", "latest", "default", "preview"];
/// Region prefixes of Bedrock's inference profiles.
const REGIONS: [&str; 9] = ["us", "eu", "apac", "global", "us-gov", "jp", "au", "ca", "sa"];
/// Vendors before a model's name: Bedrock's and Hugging Face's.
const VENDORS: [&str; 14] = [
    "anthropic",
    "mistral",
    "mistralai",
    "meta",
    "meta-llama",
    "openai",
    "amazon",
    "google",
    "qwen",
    "zai-org",
    "zai",
    "moonshotai",
    "minimaxai",
    "minimax",
];

/// GitLab's version as numbers; an unreadable one counts as the newest.
fn version_of(text: &str) -> Version {
    let mut numbers = text.split(['-', '+']).next().unwrap_or_default().split('.').map(|part| part.parse::<u64>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => Version::new(major, minor, numbers.next().flatten().unwrap_or_default()),
        _ => Version::new(u64::MAX, 0, 0),
    }
}

/// The words of an identifier that say which model it is, sorted.
fn words(identifier: &str) -> Vec<String> {
    let mut name = identifier.to_lowercase();
    // the platform's prefix, then folders: a Hugging Face organisation, or a path of a local server
    name = name.rsplit('/').next().unwrap_or_default().to_owned();
    // Vertex AI: `claude-sonnet-4@20250514`
    name = name.replace('@', "-");
    while let Some((before, after)) = name.split_once('.') {
        if !REGIONS.contains(&before) && !VENDORS.contains(&before) {
            break;
        }
        name = after.to_owned();
    }
    // Bedrock's version of its own entry: `-v1:0`, `-v1:0:200k`; a model's own version is written `v0.1`
    if let Some(at) = name.find(':') {
        name.truncate(at);
        if let Some((rest, version)) = name.rsplit_once('-')
            && version.strip_prefix('v').is_some_and(is_number)
        {
            name.truncate(rest.len());
        }
    }
    let mut words = Vec::new();
    for part in name.split(['-', '_', ' ']).filter(|part| !part.is_empty()) {
        split(part, &mut words);
    }
    words.retain(|word| !MEANINGLESS.contains(&word.as_str()) && !is_date(word));
    // `3-5`, `3.5`: one number in two ways
    words.sort();
    words
}

/// `3.5` → `3`, `5`; `llama3.1` → `llama`, `3`, `1`; `8x7b`, `4o`, `128b` and `v0.1` stay whole.
fn split(part: &str, words: &mut Vec<String>) {
    if part.strip_prefix('v').is_some_and(|rest| rest.split('.').all(is_number)) {
        words.push(part.to_owned());
        return;
    }
    for piece in part.split('.').filter(|piece| !piece.is_empty()) {
        let letters = piece.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(piece.len());
        let (name, number) = piece.split_at(letters);
        if !name.is_empty() {
            words.push(name.to_owned());
        }
        if !number.is_empty() {
            words.push(number.to_owned());
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `20250514`.
fn is_date(word: &str) -> bool {
    word.len() == 8 && is_number(word) && word.starts_with("20")
}

/// The listed model that an identifier means, in the table of this version.
fn listed(version: &Version, family: Family, identifier: &str) -> Option<&'static Model> {
    let table = TABLES.tables.iter().rev().find(|table| version_of(&table.since) <= *version)?;
    let found = words(identifier);
    table
        .models
        .iter()
        .filter(|model| model.family == family.graphql())
        .find(|model| model.names.iter().any(|name| words(name) == found))
}

/// How well a model works for a feature by the tables of this version of GitLab, and under which name it is listed.
pub fn tier(gitlab: &str, family: Family, identifier: &str, feature: Feature) -> (Tier, Option<&'static str>) {
    let Some(model) = listed(&version_of(gitlab), family, identifier) else { return (Tier::Unlisted, None) };
    let column = match feature {
        Feature::CodeCompletions => model.completion,
        Feature::CodeGenerations => model.generation,
        Feature::DuoChat => model.chat,
        feature if feature.is_chat_sub_feature() => model.chat,
        feature if feature.is_agent_platform() => model.agents,
        _ => None,
    };
    column.map_or((Tier::Unlisted, None), |level| (level.into(), Some(model.model.as_str())))
}

/// What is known of an assignment's features. `model`: the family and identifier that serve them, if a self-hosted model
/// does.
pub fn features(instance: &Instance, features: &[Feature], model: Option<(Family, &str)>) -> Vec<FeatureStatus> {
    features
        .iter()
        .map(|feature| {
            let known = model.map(|(family, identifier)| tier(&instance.version, family, identifier, *feature));
            FeatureStatus {
                name: *feature,
                tier: known.map(|(tier, _)| tier),
                listed_as: known.and_then(|(_, name)| name).map(ToOwned::to_owned),
                release_state: instance.feature(feature.key()).and_then(|row| row.release_state.clone()),
            }
        })
        .collect()
}

/// Warnings for features whose model is only partly or hardly fit for them, told when that is new: (reason, message).
pub fn warnings(before: &[FeatureStatus], now: &[FeatureStatus], model: &str) -> Vec<(&'static str, String)> {
    let mut warnings = Vec::new();
    for (tier, reason, means) in [
        (Tier::Partial, "PartialFunctionality", "partial functionality: it may have difficulties with them"),
        (
            Tier::Limited,
            "LimitedFunctionality",
            "limited functionality: GitLab gives no support for them with this model",
        ),
    ] {
        let new: Vec<&FeatureStatus> = now
            .iter()
            .filter(|feature| feature.tier == Some(tier))
            .filter(|feature| {
                let old = before.iter().find(|old| old.name == feature.name);
                old.is_none_or(|old| old.tier != feature.tier || old.listed_as != feature.listed_as)
            })
            .collect();
        let Some(first) = new.first() else { continue };
        let names: Vec<String> = new.iter().map(|feature| feature.name.to_string()).collect();
        let listed = first.listed_as.as_deref().unwrap_or(model);
        warnings.push((reason, format!("GitLab lists {listed} for {} with {means}", names.join(", "))));
    }
    warnings
}

/// Lower-case keys of the families that a feature takes: as the instance says, else by our copy of GitLab's lists. `None`:
/// not known.
pub fn families(instance: &Instance, feature: Feature) -> Option<Vec<&str>> {
    let said = instance.feature(feature.key()).map(|row| row.families.as_ref()).unwrap_or_default();
    if !said.is_empty() {
        return Some(said.iter().map(String::as_str).collect());
    }
    let version = version_of(&instance.version);
    let lists = TABLES.families.iter().rev().find(|lists| version_of(&lists.since) <= version)?;
    lists.features.get(feature.key()).map(|list| list.iter().map(String::as_str).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_can_be_read_and_name_known_families() {
        assert_eq!(TABLES.tables.iter().map(|table| table.models.len()).collect::<Vec<_>>(), [14, 21, 25]);
        let known = |family: &str| Family::ALL.iter().any(|known| known.graphql() == family);
        for model in TABLES.tables.iter().flat_map(|table| &table.models) {
            assert!(known(&model.family) && !model.names.is_empty(), "{model:?}");
        }
        for list in &TABLES.families {
            for (feature, families) in &list.features {
                assert!(Feature::from_key(feature).is_some(), "{feature}");
                assert!(families.iter().all(|family| known(&family.to_uppercase())), "{families:?}");
            }
        }
    }

    #[test]
    fn families_are_those_of_the_newest_list_that_is_not_newer_than_gitlab() {
        let instance = |version: &str| Instance {
            version: version.into(),
            capabilities: crate::observed::Capabilities::newest(),
            settings: None,
            models: None,
            features: vec![],
        };
        let old = ["claude_3", "gpt", "general"];
        let new = ["claude_3", "gpt", "general", "mistral", "gemini"];
        for (version, expected) in [
            ("17.8.3", None),
            ("17.9.0", Some(&old[..])),
            ("18.9.2-ee", Some(&old[..])),
            ("19.0.0", Some(&new[..])),
            ("19.5.1", Some(&new[..])),
        ] {
            assert_eq!(families(&instance(version), Feature::DuoAgentPlatform).as_deref(), expected, "{version}");
        }
        assert_eq!(families(&instance("18.9.0"), Feature::SecurityReview), None);
    }

    #[test]
    fn no_two_listed_models_of_a_table_have_the_same_words() {
        for table in &TABLES.tables {
            let mut all: Vec<Vec<String>> =
                table.models.iter().flat_map(|model| model.names.iter().map(|name| words(name))).collect();
            let before = all.len();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), before);
        }
    }

    #[test]
    fn identifiers_of_all_platforms_find_the_listed_model() {
        use Family::{Claude, Codestral, GPT, General, Llama3, Mistral, Mixtral};
        let cases = [
            ("18.0.0", Mixtral, "bedrock/mistral.mixtral-8x7b-instruct-v0:1", Some("Mixtral 8x7B-it v0.1")),
            ("18.0.0", Mixtral, "custom_openai/Mixtral-8x7B-Instruct-v0.1", Some("Mixtral 8x7B-it v0.1")),
            ("18.0.0", Mixtral, "custom_openai/mistralai/Mixtral-8x22B-Instruct-v0.1", Some("Mixtral 8x22B-it v0.1")),
            ("18.0.0", Claude, "bedrock/us.anthropic.claude-3-7-sonnet-20250219-v1:0", Some("Claude 3.7 Sonnet")),
            ("18.0.0", Claude, "bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0", Some("Claude 3.5 Sonnet")),
            ("18.0.0", Claude, "bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0:200k", Some("Claude 3.5 Sonnet")),
            ("18.0.0", Mistral, "custom_openai/mistralai/Mistral-7B-Instruct-v0.3", Some("Mistral 7B-it v0.3")),
            ("18.9.0", Claude, "bedrock/apac.anthropic.claude-sonnet-4-20250514-v1:0", Some("Claude 4 Sonnet")),
            (
                "18.9.1-ee",
                Claude,
                "bedrock/global.anthropic.claude-sonnet-4-5-20250929-v1:0",
                Some("Claude 4.5 Sonnet"),
            ),
            ("18.9.0", Claude, "bedrock/eu.anthropic.claude-haiku-4-5-20251001-v1:0", Some("Claude 4.5 Haiku")),
            ("18.9.0", GPT, "azure/gpt-4o", Some("GPT-4o")),
            ("18.9.0", GPT, "azure/gpt-4o-2024-11-20", None),
            ("18.9.0", GPT, "azure/gpt4o-mini", Some("GPT-4o-mini")),
            ("18.9.0", GPT, "custom_openai/openai/gpt-oss-120b", Some("GPT-oss-120B")),
            ("18.9.0", GPT, "bedrock/openai.gpt-oss-20b-1:0", None),
            ("18.9.0", Codestral, "custom_openai/codestral-22b", Some("Codestral 22B v0.1")),
            ("18.9.0", Codestral, "custom_openai/Codestral-22B-v0.1", Some("Codestral 22B v0.1")),
            ("18.9.0", Mistral, "custom_openai/mistral-small-3.2-24b", Some("Mistral Small 24B Instruct 2506")),
            (
                "18.9.0",
                Mistral,
                "custom_openai/mistralai/Mistral-Small-3.2-24B-Instruct-2506",
                Some("Mistral Small 24B Instruct 2506"),
            ),
            ("18.9.0", Llama3, "bedrock/us.meta.llama3-3-70b-instruct-v1:0", Some("Llama 3.3 70B")),
            ("18.9.0", Llama3, "custom_openai/meta-llama/Meta-Llama-3-8B-Instruct", Some("Llama 3 8B")),
            ("18.9.0", Llama3, "custom_openai/meta-llama/Llama-3.1-8B-Instruct", Some("Llama 3.1 8B")),
            ("19.5.0", Claude, "vertex_ai/claude-sonnet-4-6@default", Some("Claude Sonnet 4.6")),
            ("19.5.0", GPT, "azure/gpt-5.1", Some("GPT-5.1")),
            ("19.5.0", GPT, "azure/gpt-5-codex", Some("GPT-5 Codex")),
            ("19.5.0", General, "custom_openai/zai-org/GLM-5.1-FP8", Some("GLM-5.1-FP8")),
            ("19.5.0", General, "custom_openai/moonshotai/Kimi-K2.6", Some("Kimi-K2.6")),
            ("19.5.0", General, "custom_openai/MiniMaxAI/MiniMax-M2.7", Some("MiniMax-M2.7")),
            ("19.5.0", Mistral, "custom_openai/mistralai/Mistral-Medium-3.5-128B", Some("Mistral Medium 3.5 128B")),
            // unsure is unlisted
            ("18.9.0", Mixtral, "bedrock/mistral.mixtral-8x7b-instruct-v0:1", None),
            ("18.0.0", Claude, "bedrock/anthropic.claude-3-sonnet-20240229-v1:0", None),
            ("19.5.0", Claude, "bedrock/anthropic.claude-opus-4-5-20251101-v1:0", None),
            ("18.0.0", Mistral, "bedrock/mistral.mistral-7b-instruct-v0:2", None),
            ("18.9.0", Llama3, "custom_openai/Llama-3.3-70B-Instruct-AWQ", None),
            ("18.9.0", Llama3, "custom_openai/DeepSeek-R1-Distill-Llama-3.3-70B", None),
            ("18.9.0", General, "custom_openai/Llama-3.3-70B-Instruct", None),
            ("18.9.0", GPT, "azure/team-a-gpt-4o", None),
            ("18.9.0", GPT, "azure/gpt-35-turbo", None),
            ("18.9.0", GPT, "azure/", None),
            ("18.9.0", Claude, "bedrock/arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123", None),
            ("17.9.0", GPT, "azure/gpt-5", None),
            ("unknown", GPT, "azure/gpt-5.2", Some("GPT-5.2")),
        ];
        for (gitlab, family, identifier, expected) in cases {
            let found = listed(&version_of(gitlab), family, identifier).map(|model| model.model.as_str());
            assert_eq!(found, expected, "{gitlab} {identifier}: {:?}", words(identifier));
        }
    }

    #[test]
    fn numbers_and_dates_within_names_are_told_from_words() {
        for (text, number, date) in [
            ("", false, false),
            ("7", true, false),
            ("7b", false, false),
            ("20250514", true, true),
            ("2025051", true, false),
            ("19250514", true, false),
            ("20instru", false, false),
        ] {
            assert_eq!((is_number(text), is_date(text)), (number, date), "{text}");
        }
    }

    #[test]
    fn each_feature_is_told_with_its_tier_and_release_state() {
        let row = crate::observed::Feature {
            key: Feature::CodeCompletions.key().into(),
            provider: "unassigned".into(),
            model_id: None,
            release_state: Some("GA".into()),
            families: [].into(),
        };
        let capabilities = crate::observed::Capabilities::newest();
        let seen =
            Instance { version: "18.0.0".into(), capabilities, settings: None, models: None, features: vec![row] };
        let named = [Feature::CodeCompletions, Feature::DuoChat];
        let told = features(&seen, &named, Some((Family::Llama3, "bedrock/meta.llama3-8b-instruct-v1:0")));
        assert_eq!(told.iter().map(|of| of.name).collect::<Vec<_>>(), named);
        assert_eq!(told.iter().map(|of| of.tier).collect::<Vec<_>>(), [Some(Tier::Partial), Some(Tier::Limited)]);
        assert_eq!(told[0].release_state.as_deref(), Some("GA"));
        assert_eq!((told[1].release_state.as_deref(), told[1].listed_as.as_deref()), (None, Some("Llama 3 8B")));
        assert_eq!(features(&seen, &named, None)[0].tier, None);
    }

    #[test]
    fn the_tier_is_that_of_the_feature_in_the_instances_version() {
        use Feature::{CodeCompletions, CodeGenerations, DuoAgentPlatform, DuoChat, DuoChatFixCode, SummarizeReview};
        let llama = "bedrock/meta.llama3-8b-instruct-v1:0";
        let cases = [
            ("18.0.0", Family::Llama3, llama, CodeCompletions, Tier::Partial),
            ("18.0.0", Family::Llama3, llama, CodeGenerations, Tier::Full),
            ("18.0.0", Family::Llama3, llama, DuoChat, Tier::Limited),
            ("18.0.0", Family::Llama3, llama, DuoChatFixCode, Tier::Limited),
            ("18.0.0", Family::Llama3, llama, DuoAgentPlatform, Tier::Unlisted),
            ("18.9.0", Family::Llama3, llama, DuoAgentPlatform, Tier::Limited),
            ("18.9.0", Family::Llama3, llama, SummarizeReview, Tier::Unlisted),
            ("18.0.0", Family::Codestral, "custom_openai/codestral-22b", DuoChat, Tier::Unlisted),
            ("18.9.0", Family::Codestral, "custom_openai/codestral-22b", DuoChat, Tier::Partial),
            ("19.5.0", Family::General, "custom_openai/Kimi-K2.6", CodeCompletions, Tier::Limited),
            ("19.5.0", Family::General, "custom_openai/Kimi-K2.6", DuoAgentPlatform, Tier::Full),
        ];
        for (gitlab, family, identifier, feature, expected) in cases {
            assert_eq!(tier(gitlab, family, identifier, feature).0, expected, "{gitlab} {identifier} {feature}");
        }
    }

    #[test]
    fn partial_and_limited_are_told_once() {
        let feature = |name, tier| FeatureStatus {
            name,
            tier: Some(tier),
            listed_as: Some("Llama 3 8B".into()),
            release_state: None,
        };
        let now = [
            feature(Feature::CodeCompletions, Tier::Partial),
            feature(Feature::CodeGenerations, Tier::Full),
            feature(Feature::DuoChat, Tier::Limited),
            feature(Feature::DuoChatFixCode, Tier::Limited),
            feature(Feature::SummarizeReview, Tier::Unlisted),
        ];
        let told = warnings(&[], &now, "llama");
        assert_eq!(
            told.iter().map(|(reason, _)| *reason).collect::<Vec<_>>(),
            ["PartialFunctionality", "LimitedFunctionality"]
        );
        assert!(told[1].1.contains("DuoChat, DuoChatFixCode"), "{told:?}");
        assert!(warnings(&now, &now, "llama").is_empty());
        let mut before = now.clone();
        before[0].listed_as = Some("Llama 3.1 8B".into());
        assert_eq!(warnings(&before, &now, "llama").len(), 1, "another model");
    }
}
