//! Prompts and answers in the log, where an administrator switched it on: of the gateway for all requests, or of GitLab
//! for its own (`x-gitlab-enabled-instance-verbose-ai-logs`, which counts where requests may name models, as in GitLab's
//! own gateway). Lines of their own type, cut at a length, without the key of the model server, should somebody have
//! written it into a prompt.

use std::borrow::Cow;

use duo_protocol::model::ModelRequest;
use serde_json::json;

use super::Feature;
use crate::context::RequestContext;
use crate::logging::Head;
use crate::routes::Served;
use crate::upstream::Place;

/// Of a prompt or an answer no more bytes are logged.
pub(crate) const MOST_LOGGED: usize = 32 << 10;
/// What stands in place of a key.
const MASK: &str = "[masked]";
/// A shorter key would be found in ordinary words.
const SHORTEST_KEY: usize = 4;

/// Writes one request's prompts and answers.
#[derive(Clone)]
pub(super) struct PromptLog {
    context: RequestContext,
    feature: Feature,
    model: String,
}

impl PromptLog {
    /// `None` where nobody switched it on.
    pub(super) fn wanted(served: &Served, feature: Feature, model: &str) -> Option<Self> {
        let asked_for = || {
            served.app.settings.custom_models.enabled
                && served.header("x-gitlab-enabled-instance-verbose-ai-logs") == Some("true")
        };
        (served.active.prompt_logging || asked_for()).then(|| Self {
            context: served.context.clone(),
            feature,
            model: model.to_owned(),
        })
    }

    /// What a place is asked.
    pub(super) fn asked(&self, place: &Place, request: &ModelRequest, number: u32) {
        let mut left = MOST_LOGGED;
        let messages: Vec<_> = request
            .messages
            .iter()
            .map(|message| {
                let text = cut(masked(&message.content, place), left);
                left = left.saturating_sub(message.content.len());
                json!({"role": message.role.as_str(), "content": text})
            })
            .collect();
        self.write("Prompt", place, "prompt", &json!(messages), number);
    }

    /// What it answered; `length` is that of the whole answer.
    pub(super) fn said(&self, place: &Place, text: &str, length: usize) {
        let mut shown = cut(masked(text, place), MOST_LOGGED);
        if length > text.len() {
            shown = format!("{shown}… [{} bytes in all]", length);
        }
        self.write("Answer", place, "answer", &json!(shown), 0);
    }

    fn write(&self, message: &str, place: &Place, field: &str, content: &serde_json::Value, number: u32) {
        let mut fields = self.context.fields();
        fields.add("meta.unit_primitive", self.feature.unit_primitive);
        fields.add("model", &self.model);
        fields.add("model_identifier", place.identifier.to_string());
        fields.add("call", Some(number).filter(|number| *number > 0));
        fields.add(field, content);
        let head = Head { level: tracing::Level::INFO, logger: "prompts", kind: "prompt" };
        self.context.line(head, format_args!("{message}"), &fields);
    }
}

/// An answer that comes in pieces.
pub(super) struct Said {
    pub(super) log: PromptLog,
    text: String,
    length: usize,
}

impl Said {
    pub(super) fn new(log: PromptLog) -> Self {
        Self { log, text: String::new(), length: 0 }
    }

    /// One more piece; beyond the length that is logged, it is only measured.
    pub(super) fn piece(&mut self, piece: &str) {
        self.length += piece.len();
        let room = MOST_LOGGED.saturating_sub(self.text.len());
        self.text.push_str(piece.get(..piece.floor_char_boundary(room)).unwrap_or_default());
    }

    /// It is over, or broken off.
    pub(super) fn end(&self, place: &Place) {
        self.log.said(place, &self.text, self.length);
    }
}

fn masked<'a>(text: &'a str, place: &Place) -> Cow<'a, str> {
    let key = place.api_key.as_ref().map(|key| key.expose()).filter(|key| key.len() >= SHORTEST_KEY);
    match key {
        Some(key) if text.contains(key) => text.replace(key, MASK).into(),
        _ => text.into(),
    }
}

fn cut(text: Cow<'_, str>, most: usize) -> String {
    let end = text.floor_char_boundary(most);
    match text.get(..end) {
        Some(start) if end < text.len() => format!("{start}… [{} bytes in all]", text.len()),
        _ => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_letter_and_say_so() {
        assert_eq!(cut("short".into(), 5), "short");
        assert_eq!(cut("größer".into(), 3), "gr… [8 bytes in all]");
        assert_eq!(cut("x".into(), 0), "… [1 bytes in all]");
    }
}
