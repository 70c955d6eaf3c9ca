//! What a prompt asks for, told by its shape.

use super::Question;

/// What the model is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Continue code at a cursor; `prefix` is the code before it.
    Fill { prefix: String },
    /// Answer in the ReAct form.
    React,
    /// Write new code.
    Generate { language: String, tagged: Tag },
    /// Anything else.
    Talk,
}

/// Whether code belongs between `<new_code>` tags.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// The prefill opened the tag.
    Opened,
    /// The prompt names the tag.
    Wanted,
    /// No tag.
    None,
}

pub(super) fn task(question: &Question) -> Task {
    let user = question.last_user_text();
    let everything = format!("{}\n{user}", question.system);
    let lower = everything.to_lowercase();
    if let Some(prefix) = fill_in_the_middle(user) {
        return Task::Fill { prefix };
    }
    let all_turns: String = question.turns.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
    if [&everything, &all_turns].iter().any(|text| text.contains("Final Answer:"))
        && [&everything, &all_turns].iter().any(|text| text.contains("Thought:"))
    {
        return Task::React;
    }
    let tagged = if question.prefill().contains("<new_code>") {
        Tag::Opened
    } else if everything.contains("<new_code>") {
        Tag::Wanted
    } else {
        Tag::None
    };
    let wants_completion = lower.contains("complet") && lower.contains("cursor");
    if wants_completion && let Some(prefix) = tagged_prefix(user) {
        return Task::Fill { prefix };
    }
    if tagged != Tag::None || asks_for_code(&question.system.to_lowercase(), &lower) {
        return Task::Generate { language: language(&everything), tagged };
    }
    match tagged_prefix(user) {
        Some(prefix) => Task::Fill { prefix },
        None => Task::Talk,
    }
}

fn asks_for_code(system: &str, everything: &str) -> bool {
    let instruction = if system.is_empty() { everything } else { system };
    let about_code = instruction.contains("code");
    about_code
        && ["generate", "generation", "write new", "write code", "only code", "only the code"]
            .iter()
            .any(|word| instruction.contains(word))
}

/// The code before the cursor in the models' own forms (`facts` of each family: suffix first for Mistral's).
fn fill_in_the_middle(text: &str) -> Option<String> {
    let between = |open: &str, close: &str| {
        let (_, rest) = text.split_once(open)?;
        let (inner, _) = rest.split_once(close)?;
        Some(inner.to_owned())
    };
    if let Some((_, rest)) = text.split_once("[SUFFIX]")
        && let Some((_, prefix)) = rest.split_once("[PREFIX]")
    {
        return Some(prefix.trim_end_matches("[MIDDLE]").to_owned());
    }
    between("<|fim_prefix|>", "<|fim_suffix|>")
        .or_else(|| between("<fim_prefix>", "<fim_suffix>"))
        .or_else(|| between("<PRE> ", " <SUF>"))
        .or_else(|| between("<PRE>", "<SUF>"))
        .or_else(|| between("<｜fim▁begin｜>", "<｜fim▁hole｜>"))
        .or_else(|| between("<|prefix|>", "<|suffix|>"))
        .or_else(|| text.rsplit_once("|CODE|").map(|(before, _)| before.to_owned()))
}

/// The code before the cursor in prompts that use words and tags.
fn tagged_prefix(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("<prefix>")?;
    let (inner, _) = rest.rsplit_once("</prefix>")?;
    Some(inner.strip_prefix('\n').unwrap_or(inner).to_owned())
}

/// The programming language that the prompt names, in lower case; `python` when it names none.
fn language(text: &str) -> String {
    const KNOWN: [&str; 12] =
        ["python", "ruby", "rust", "golang", "go", "javascript", "typescript", "java", "kotlin", "php", "c++", "c#"];
    let lower = text.to_lowercase();
    let mut words = lower.split(|c: char| c.is_whitespace() || ",.:;\"'`<>()[]".contains(c));
    words.find(|word| KNOWN.contains(word)).map_or_else(|| "python".to_owned(), |word| word.replace("golang", "go"))
}

/// The question proper inside a prompt: what follows the last `Question:` label, or the whole text.
pub(super) fn core_question(text: &str) -> String {
    let question = match text.rsplit_once("Question:") {
        Some((_, rest)) => rest.lines().find(|line| !line.trim().is_empty()).unwrap_or(rest),
        None => text,
    };
    question.trim().to_owned()
}
