//! Named prompts.

use serde_json::{Map, Value};

use crate::budget::{estimate, shrink};
use crate::families::context_window;
use crate::family::Family;
use crate::model::ModelRequest;
use crate::prompts::{Prompt, Values};

/// The request of a prompt with the inputs of a body, cut to the family's window. `current_date` is `2026-11-23` as the
/// caller's clock says; an input of that name wins.
pub fn prompt_request(
    prompt: &Prompt,
    inputs: &Map<String, Value>,
    family: Family,
    current_date: &str,
) -> ModelRequest {
    let mut values = Values::from_json(inputs);
    if !values.has("current_date") {
        values.set("current_date", current_date);
    }
    render(prompt, values, family, prompt.max_tokens)
}

/// Renders with the inputs cut so that texts, inputs and answer fit the window.
pub(super) fn render(prompt: &Prompt, mut values: Values, family: Family, max_tokens: u32) -> ModelRequest {
    values.retain_used(&prompt.template);
    let fixed: usize = prompt.template.render(&Values::new()).iter().map(|m| estimate(&m.content)).sum();
    let room = room(family, max_tokens).saturating_sub(fixed + values.texts_mut().len() * 50);
    shrink(&mut values.texts_mut(), room, prompt.keep);
    ModelRequest {
        messages: prompt.template.render(&values),
        max_tokens,
        temperature: prompt.temperature,
        top_p: None,
        stop: prompt.stop.clone(),
        fim: None,
        continue_final_message: false,
    }
}

/// Tokens left for the question.
pub(super) fn room(family: Family, max_tokens: u32) -> usize {
    context_window(family).saturating_sub(max_tokens as usize)
}
