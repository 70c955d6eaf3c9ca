//! Code completion and generation.

use super::prompt::{NAME_TOKENS, render, room};
use crate::budget::{Keep, around_cursor, estimate, keep_end, keep_start, shrink};
use crate::contract::{CodeContext, CodePrompt, CurrentCode, PromptEnhancer};
use crate::families::{
    CompletionForm, PLAIN_GENERATION, PLAIN_GENERATION_TOP_P, Params, completion, completion_form, generation,
};
use crate::family::Family;
use crate::language::detect;
use crate::model::{ChatMessage, FillInMiddle, ModelRequest};
use crate::prompts::{Values, internal};

/// What the code endpoints have in common, however the body came.
#[derive(Debug, Clone, Copy)]
pub struct CodeInput<'a> {
    /// Where the cursor is.
    pub file: &'a CurrentCode,
    /// Other code, in front of the prefix while room is left.
    pub context: &'a [CodeContext],
    /// A prompt of the client's own; goes out as it is, as far as it fits.
    pub prompt: Option<&'a CodePrompt>,
}

impl CodeInput<'_> {
    fn language(&self) -> String {
        let editor = self.file.language_identifier.as_deref();
        match detect(&self.file.file_name, editor) {
            Some(name) => name.to_owned(),
            None => keep_start(&editor.unwrap_or_default().to_lowercase(), NAME_TOKENS).to_owned(),
        }
    }

    /// The end of a very long path names the file, too.
    fn file_name(&self) -> &str {
        keep_end(&self.file.file_name, NAME_TOKENS)
    }
}

/// The request for a completion.
pub fn completion_request(input: &CodeInput<'_>, family: Family) -> ModelRequest {
    let params = completion(family);
    if let Some(prompt) = input.prompt {
        return request(own(prompt, family, params), params);
    }
    let form = completion_form(family);
    // instructions and format around the code
    let tokens = room(family, params.max_tokens).saturating_sub(600);
    let file = input.file;
    let (prefix, suffix, left) = around_cursor(&file.content_above_cursor, &file.content_below_cursor, tokens);
    let context = context(input.context, left);
    let mut values = Values::new();
    values.set("language", input.language()).set("file_name", input.file_name());
    match form {
        CompletionForm::Fim { start, middle, end, suffix_first, system } => {
            let prefix = format!("{context}{prefix}");
            let (first, second) = if suffix_first { (suffix, prefix.as_str()) } else { (prefix.as_str(), suffix) };
            let text = format!("{start}{first}{middle}{second}{end}");
            let mut messages = Vec::with_capacity(2);
            if system && let Some(prompt) = internal("code_suggestions/completions") {
                messages.extend(prompt.for_family(family).template.render(&values));
            }
            messages.push(ChatMessage::user(text));
            let fim = FillInMiddle { prefix, suffix: suffix.to_owned() };
            ModelRequest { fim: Some(fim), ..request(messages, params) }
        }
        CompletionForm::Words => {
            let fim = FillInMiddle { prefix: format!("{context}{prefix}"), suffix: suffix.to_owned() };
            values.set("prefix", prefix).set("suffix", suffix).set("context", context);
            let messages = internal("code_suggestions/completions")
                .map(|prompt| prompt.for_family(family).template.render(&values))
                .unwrap_or_default();
            ModelRequest { fim: Some(fim), ..request(messages, params) }
        }
    }
}

/// The request for a generation with `prompt_id` `code_suggestions/generations` (v2, v3, v4).
pub fn generation_request(input: &CodeInput<'_>, enhancer: &PromptEnhancer, family: Family) -> ModelRequest {
    let params = generation(family);
    let file = input.file;
    let mut values = Values::new();
    let pick = |trimmed: &Option<String>, whole: &String| trimmed.clone().unwrap_or_else(|| whole.clone());
    let instruction = match (&enhancer.user_instruction, input.prompt) {
        (Some(text), _) if !text.trim().is_empty() => text.clone(),
        (_, Some(CodePrompt::Text(text))) => text.clone(),
        _ => String::new(),
    };
    let examples: Vec<String> = enhancer
        .examples
        .iter()
        .map(|(code, answer)| format!("<example>\n{code}\n<new_code>\n{answer}\n</new_code>\n</example>"))
        .collect();
    let other: Vec<String> = input.context.iter().map(snippet).collect();
    values
        .set("language", input.language())
        .set("file_name", input.file_name())
        .set("prefix", pick(&enhancer.trimmed_content_above_cursor, &file.content_above_cursor))
        .set("suffix", pick(&enhancer.trimmed_content_below_cursor, &file.content_below_cursor))
        .set("instruction", instruction)
        .set("examples", examples.join("\n"))
        .set("related_files", enhancer.related_files.join("\n"))
        .set("related_snippets", [enhancer.related_snippets.clone(), other].concat().join("\n"))
        .set("libraries", enhancer.libraries.join(", "));
    from_prompt("code_suggestions/generations", values, family, params)
}

/// The request for a generation without `prompt_id` (`/v2/code/generations` of older clients): the given prompt, else
/// the code above the cursor.
pub fn plain_generation_request(input: &CodeInput<'_>, family: Family) -> ModelRequest {
    let mut out = match input.prompt {
        Some(prompt) => request(own(prompt, family, PLAIN_GENERATION), PLAIN_GENERATION),
        None => {
            let mut values = Values::new();
            values
                .set("language", input.language())
                .set("file_name", input.file_name())
                .set("prefix", &input.file.content_above_cursor)
                .set("suffix", &input.file.content_below_cursor);
            from_prompt("code_suggestions/generations_plain", values, family, PLAIN_GENERATION)
        }
    };
    out.top_p = Some(PLAIN_GENERATION_TOP_P);
    out
}

/// A prompt of the client's own: as it is, but for what does not fit the window.
fn own(prompt: &CodePrompt, family: Family, params: Params) -> Vec<ChatMessage> {
    let mut messages = match prompt {
        CodePrompt::Text(text) => vec![ChatMessage::user(text)],
        CodePrompt::Messages(messages) => messages.clone(),
    };
    // what is to be completed or done stands at the end
    let mut texts: Vec<_> = messages.iter_mut().map(|message| (&mut message.content, Keep::End)).collect();
    shrink(&mut texts, room(family, params.max_tokens));
    messages
}

fn from_prompt(id: &str, values: Values, family: Family, params: Params) -> ModelRequest {
    let messages = internal(id)
        .map(|prompt| render(prompt.for_family(family), values, family, params.max_tokens).messages)
        .unwrap_or_default();
    request(messages, params)
}

fn request(messages: Vec<ChatMessage>, params: Params) -> ModelRequest {
    ModelRequest {
        messages,
        max_tokens: params.max_tokens,
        temperature: params.temperature,
        top_p: None,
        stop: params.stop.iter().map(|s| (*s).to_owned()).collect(),
        fim: None,
        continue_final_message: false,
    }
}

fn snippet(context: &CodeContext) -> String {
    format!("<snippet_content name=\"{}\">\n{}\n</snippet_content>", context.name, context.content)
}

/// As many pieces of other code as fit `tokens`, whole except for the last.
fn context(pieces: &[CodeContext], tokens: usize) -> String {
    let mut out = String::new();
    let mut left = tokens;
    for piece in pieces {
        let head = estimate(&piece.name) + 4;
        if left <= head {
            break;
        }
        let content = keep_start(&piece.content, left - head);
        left = left.saturating_sub(estimate(content) + head);
        out.push_str(&format!("{}\n{}\n\n", piece.name, content.trim_end()));
    }
    out
}
