//! Scripted answers: a test says what the model writes next, word for word.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};

use super::lock;

/// One scripted answer, as JSON `{"text":"…","model":"…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// What the model writes. Stop sequences and the token limit still cut it.
    pub text: String,
    /// Only for calls of this model; any when unset.
    #[serde(default)]
    pub model: Option<String>,
}

/// The answers that wait, oldest first; clones share them. Each is given once.
#[derive(Clone, Debug, Default)]
pub struct Script(Arc<Mutex<VecDeque<Line>>>);

impl Script {
    /// The next answer of any model.
    pub fn next_answer(&self, text: impl Into<String>) {
        self.add(Line { text: text.into(), model: None });
    }

    /// Adds a line behind those that wait.
    pub fn add(&self, line: Line) {
        lock(&self.0).push_back(line);
    }

    /// Forgets the lines that wait.
    pub fn clear(&self) {
        lock(&self.0).clear();
    }

    /// Takes the line for a call of `model`, if one waits.
    pub(crate) fn take(&self, model: &str) -> Option<String> {
        let mut lines = lock(&self.0);
        let index = lines.iter().position(|line| line.model.as_deref().is_none_or(|wanted| wanted == model))?;
        lines.remove(index).map(|line| line.text)
    }
}
