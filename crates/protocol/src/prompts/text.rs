//! One prompt file: its parameters and its template.

use semver::Version;

use super::template::{Template, TemplateError, Values};
use crate::budget::{Keep, estimate};

/// What a prompt's answer is, and so what is done to it; see [`crate::postprocess::PromptStream`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerForm {
    /// Text that GitLab shows.
    Prose,
    /// Text that GitLab puts into a field as it is: a fence around the whole goes.
    Message,
    /// One line, such as a title or a label.
    Line,
    /// A reader's JSON block; see [`crate::postprocess::reader`].
    Reader,
    /// Code at the cursor.
    Completion,
    /// New code.
    Generation,
}

impl AnswerForm {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "prose" => AnswerForm::Prose,
            "message" => AnswerForm::Message,
            "line" => AnswerForm::Line,
            "reader" => AnswerForm::Reader,
            "completion" => AnswerForm::Completion,
            "generation" => AnswerForm::Generation,
            _ => return None,
        })
    }
}

/// A prompt in the words for some families.
#[derive(Debug)]
pub struct PromptText {
    /// Version of the file.
    pub version: Version,
    /// Most tokens of the answer.
    pub max_tokens: u32,
    /// Sampling temperature.
    pub temperature: Option<f32>,
    /// Stop sequences.
    pub stop: Vec<String>,
    /// The inputs whose end survives when they are too long; of others the beginning does.
    pub keep_end: Vec<String>,
    /// What the answer is.
    pub form: AnswerForm,
    /// The texts.
    pub template: Template,
    /// Tokens of the texts without any input.
    pub fixed_tokens: usize,
}

impl PromptText {
    /// Which end of an input survives.
    pub fn keep(&self, input: &str) -> Keep {
        if self.keep_end.iter().any(|name| name == input) { Keep::End } else { Keep::Start }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What its author got wrong.
    pub(super) fn load(file: &str) -> Result<Self, TemplateError> {
        let template = Template::parse(file)?;
        let header = |key: &str| template.header.get(key).map(String::as_str);
        let bad = |key: &str| TemplateError::Header(key.to_owned());
        let known = ["version", "max_tokens", "temperature", "stop", "keep_end", "answer"];
        if let Some(key) = template.header.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(bad(key));
        }
        let keep_end: Vec<String> =
            header("keep_end").into_iter().flat_map(|names| names.split(", ")).map(str::to_owned).collect();
        if !keep_end.iter().all(|name| template.inputs().contains(&name.as_str())) {
            return Err(bad("keep_end"));
        }
        Ok(PromptText {
            version: header("version").and_then(|v| Version::parse(v).ok()).ok_or_else(|| bad("version"))?,
            max_tokens: header("max_tokens").unwrap_or("2048").parse().map_err(|_| bad("max_tokens"))?,
            temperature: header("temperature")
                .map(|text| text.parse::<f32>().map_err(|_| bad("temperature")))
                .transpose()?,
            stop: header("stop").map(|stop| vec![stop.to_owned()]).unwrap_or_default(),
            keep_end,
            form: AnswerForm::parse(header("answer").unwrap_or("prose")).ok_or_else(|| bad("answer"))?,
            fixed_tokens: template.render(&Values::new()).iter().map(|m| estimate(&m.content)).sum(),
            template,
        })
    }
}
