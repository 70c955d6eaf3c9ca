//! `AIGW_MODEL_ENGINE_LIMITS`: limits that GitLab's own gateway shows as gauges and does not enforce; neither does this
//! one. What is enforced are the mounted configuration's `concurrency` and `limits`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::SettingsError;

/// What is shown of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelLimit {
    /// Kind of server.
    pub engine: String,
    /// Model.
    pub model: String,
    /// Calls at a time.
    pub concurrent: Option<i64>,
    /// Tokens read.
    pub input_tokens: Option<i64>,
    /// Tokens written.
    pub output_tokens: Option<i64>,
    /// Both.
    pub total_tokens: Option<i64>,
}

/// A number alone is that of calls at a time, as in 17.10's variable.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Concurrent(u32),
    Each(Each),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Each {
    #[serde(alias = "max_concurrent", alias = "max_concurrency")]
    concurrency: Option<u32>,
    #[serde(alias = "max_input_tokens")]
    input_tokens: Option<u32>,
    #[serde(alias = "max_output_tokens")]
    output_tokens: Option<u32>,
    #[serde(alias = "max_total_tokens")]
    total_tokens: Option<u32>,
}

/// The newer name, and 17.10's.
const NAMES: [&str; 2] = ["AIGW_MODEL_ENGINE_LIMITS", "AIGW_MODEL_ENGINE_CONCURRENCY_LIMITS"];

/// Reads the first of the two that is set.
pub(super) fn read(text: impl Fn(&str) -> Option<String>) -> Result<Vec<ModelLimit>, SettingsError> {
    let Some((name, value)) = NAMES.iter().find_map(|name| Some((*name, text(name)?))) else { return Ok(Vec::new()) };
    let engines: BTreeMap<String, BTreeMap<String, Entry>> =
        serde_json::from_str(&value).map_err(|error| SettingsError {
            variable: name.to_owned(),
            problem: format!(
                "is not JSON of the form {{\"<engine>\": {{\"<model>\": {{\"concurrency\": 10, \"input_tokens\": …, \
                 \"output_tokens\": …, \"total_tokens\": …}}}}}}: {error}"
            ),
        })?;
    let limit = |(engine, models): (String, BTreeMap<String, Entry>)| {
        models.into_iter().map(move |(model, entry)| {
            let each = match entry {
                Entry::Concurrent(count) => {
                    Each { concurrency: Some(count), input_tokens: None, output_tokens: None, total_tokens: None }
                }
                Entry::Each(each) => each,
            };
            ModelLimit {
                engine: engine.clone(),
                model,
                concurrent: each.concurrency.map(i64::from),
                input_tokens: each.input_tokens.map(i64::from),
                output_tokens: each.output_tokens.map(i64::from),
                total_tokens: each.total_tokens.map(i64::from),
            }
        })
    };
    Ok(engines.into_iter().flat_map(limit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_variables_are_read_and_others_forms_refused() {
        let newer = r#"{"bedrock": {"claude_3": {"concurrency": 10, "input_tokens": 5, "max_total_tokens": 9}}}"#;
        let found = read(|name| (name == NAMES[0]).then(|| newer.to_owned())).unwrap();
        assert_eq!(
            found,
            [ModelLimit {
                engine: "bedrock".into(),
                model: "claude_3".into(),
                concurrent: Some(10),
                input_tokens: Some(5),
                output_tokens: None,
                total_tokens: Some(9),
            }]
        );
        let older = r#"{"e": {"m": 5, "n": 6}}"#;
        let found = read(|name| (name == NAMES[1]).then(|| older.to_owned())).unwrap();
        assert_eq!(found.iter().map(|limit| limit.concurrent).collect::<Vec<_>>(), [Some(5), Some(6)]);
        for bad in ["", "[]", "{\"e\": 1}", "{\"e\": {\"m\": {\"surprise\": 1}}}", "{\"e\": {\"m\": -1}}"] {
            assert_eq!(read(|_| Some(bad.to_owned())).unwrap_err().variable, NAMES[0], "{bad}");
        }
        assert!(read(|_| None).unwrap().is_empty());
    }
}
