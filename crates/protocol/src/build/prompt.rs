//! Named prompts.

use super::code::{CodeInput, completion_request, generation_request};
use crate::budget::{estimate, keep_start, shrink};
use crate::contract::{CurrentCode, Map, PromptEnhancer, Value};
use crate::families::context_window;
use crate::family::Family;
use crate::model::ModelRequest;
use crate::prompts::{AnswerForm, Prompt, PromptText, Values};

/// Most tokens of an input that is put in more than once, and of a file's or language's name.
pub(super) const NAME_TOKENS: usize = 100;
/// The input that stands for all inputs there are, in prompts whose inputs are not known beforehand.
const ALL_INPUTS: &str = "all_inputs";

/// The request of a prompt with the inputs of a body, cut to the family's window. `current_date` is `2026-11-23` as the
/// caller's clock says; an input of that name wins. The code suggestions' prompts take `prefix`, `suffix`, `file_name`,
/// `language` and `user_instruction`, and ask as their endpoints do.
pub fn prompt_request(prompt: &Prompt, inputs: &Map, family: Family, current_date: &str) -> ModelRequest {
    let text = prompt.for_family(family);
    match text.form {
        AnswerForm::Completion => {
            let file = current_code(inputs);
            return completion_request(&CodeInput { file: &file, context: &[], prompt: None }, family);
        }
        AnswerForm::Generation => {
            let file = current_code(inputs);
            let user_instruction = input(inputs, "user_instruction").or_else(|| input(inputs, "instruction"));
            let enhancer = PromptEnhancer { user_instruction, ..PromptEnhancer::default() };
            return generation_request(&CodeInput { file: &file, context: &[], prompt: None }, &enhancer, family);
        }
        _ => {}
    }
    let mut values = Values::from_json(inputs);
    if text.template.inputs().contains(&ALL_INPUTS) {
        let all = values.blocks();
        values.set(ALL_INPUTS, all);
    }
    if !values.has("current_date") {
        values.set("current_date", current_date);
    }
    // of a small window the most must stay for the question
    let most = u32::try_from(context_window(family) / 3).unwrap_or(u32::MAX);
    render(text, values, family, text.max_tokens.min(most))
}

fn input(inputs: &Map, name: &str) -> Option<String> {
    inputs.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn current_code(inputs: &Map) -> CurrentCode {
    let text = |name: &str| input(inputs, name).unwrap_or_default();
    CurrentCode {
        file_name: text("file_name"),
        language_identifier: input(inputs, "language"),
        content_above_cursor: text("prefix"),
        content_below_cursor: text("suffix"),
    }
}

/// Renders with the inputs cut so that texts, inputs and answer fit the window.
pub(super) fn render(prompt: &PromptText, mut values: Values, family: Family, max_tokens: u32) -> ModelRequest {
    values.retain_used(&prompt.template);
    let mut fixed = prompt.fixed_tokens;
    for (name, text) in values.texts_mut() {
        fixed += 50;
        let again = prompt.template.uses(name).saturating_sub(1);
        if again > 0 {
            // names and the like; nothing long is put in twice
            text.truncate(keep_start(text, NAME_TOKENS).len());
            fixed += again * estimate(text);
        }
    }
    let mut inputs: Vec<_> = values.texts_mut().map(|(name, text)| (text, prompt.keep(name))).collect();
    let room = room(family, max_tokens).saturating_sub(fixed);
    shrink(&mut inputs, room);
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
