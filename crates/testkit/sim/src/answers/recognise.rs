//! What a prompt asks for, told by its shape.

use super::Question;

/// What the model is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Continue code at a cursor between two parts.
    Fill { prefix: String, suffix: String },
    /// Answer in the ReAct form; `direct` when the prompt wants an action `DirectAnswer` before the answer.
    React { direct: bool },
    /// Write new code.
    Generate { language: String, tagged: Tag },
    /// Mend code, between `<fixed_code>` tags.
    Mend,
    /// Review a change, between `<review>` tags.
    Review,
    /// Say one word: connection checks ask for it.
    SayOk,
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
    // a model that refuses system text gets it inside the first user turn, so the place tells nothing
    let turns: Vec<&str> = question.turns.iter().map(|(_, text)| text.as_str()).collect();
    let everything = format!("{}\n{}", question.system, turns.join("\n"));
    let lower = everything.to_lowercase();
    if let Some((prefix, suffix)) = fill_in_the_middle(user) {
        return Task::Fill { prefix, suffix };
    }
    if everything.contains("Final Answer:") && everything.contains("Thought:") {
        return Task::React { direct: everything.contains("DirectAnswer") };
    }
    let tagged = if question.prefill().contains("<new_code>") {
        Tag::Opened
    } else if everything.contains("<new_code>") {
        Tag::Wanted
    } else {
        Tag::None
    };
    if tagged == Tag::None
        && let Some((prefix, suffix)) = tagged_parts(user)
    {
        return Task::Fill { prefix, suffix };
    }
    if everything.contains("<fixed_code>") {
        return Task::Mend;
    }
    if everything.contains("<review>") {
        return Task::Review;
    }
    if lower.contains("say \"ok\"") {
        return Task::SayOk;
    }
    let instruction = if question.system.is_empty() { lower } else { question.system.to_lowercase() };
    if tagged != Tag::None || asks_for_code(&instruction) {
        return Task::Generate { language: language(&everything), tagged };
    }
    Task::Talk
}

fn asks_for_code(instruction: &str) -> bool {
    ["generate", "generation of", "you write code", "write new code", "only code", "code only", "only the code"]
        .iter()
        .any(|words| instruction.contains(words))
        && instruction.contains("code")
}

/// The code before and behind the cursor in the models' own forms, suffix first for Mistral's. A prompt may explain
/// its marks before it uses them, so the last ones count.
fn fill_in_the_middle(text: &str) -> Option<(String, String)> {
    if let Some((head, prefix)) = text.rsplit_once("[PREFIX]")
        && let Some((_, suffix)) = head.rsplit_once("[SUFFIX]")
    {
        return Some((prefix.trim_end_matches("[MIDDLE]").to_owned(), suffix.to_owned()));
    }
    let between = |open: &str, middle: &str, close: &str| {
        let (head, suffix) = text.rsplit_once(middle)?;
        let (_, prefix) = head.rsplit_once(open)?;
        let suffix = suffix.split_once(close).map_or(suffix, |(suffix, _)| suffix);
        Some((prefix.to_owned(), suffix.to_owned()))
    };
    between("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
        .or_else(|| between("<fim_prefix>", "<fim_suffix>", "<fim_middle>"))
        .or_else(|| between("<PRE> ", " <SUF>", " <MID>"))
        .or_else(|| between("<PRE>", "<SUF>", "<MID>"))
        .or_else(|| between("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"))
        .or_else(|| between("<|prefix|>", "<|suffix|>", "<|end|>"))
        .or_else(|| text.rsplit_once("|CODE|").map(|(prefix, suffix)| (prefix.to_owned(), suffix.to_owned())))
}

/// The same in prompts that use words and tags.
fn tagged_parts(text: &str) -> Option<(String, String)> {
    let (head, tail) = text.rsplit_once("</prefix>")?;
    let (_, prefix) = head.rsplit_once("<prefix>")?;
    let suffix = tail.split_once("<suffix>").map_or("", |(_, suffix)| suffix);
    let suffix = suffix.rsplit_once("</suffix>").map_or(suffix, |(suffix, _)| suffix);
    Some((prefix.strip_prefix('\n').unwrap_or(prefix).to_owned(), suffix.to_owned()))
}

/// The programming language that the prompt names first, in lower case; `python` when it names none.
fn language(text: &str) -> String {
    const KNOWN: [&str; 11] =
        ["python", "ruby", "rust", "golang", "javascript", "typescript", "java", "kotlin", "php", "c++", "c#"];
    let lower = text.to_lowercase();
    let mut last = "";
    for word in
        lower.split(|c: char| c.is_whitespace() || ",.:;\"'`<>()[]/".contains(c)).filter(|word| !word.is_empty())
    {
        // "go" is a word of English, too
        if KNOWN.contains(&word) || (word == "go" && ["in", "language", "generate", "new", "write"].contains(&last)) {
            return if word == "golang" { "go".to_owned() } else { word.to_owned() };
        }
        last = word;
    }
    "python".to_owned()
}

/// The question proper inside a prompt: its last paragraph, without a label such as `Question:` or
/// `The developer asks:` in front.
pub(super) fn core_question(text: &str) -> String {
    let text = text.trim();
    let mut paragraph = text.rsplit_once("\n\n").map_or(text, |(_, last)| last).trim();
    while let Some((label, rest)) = paragraph.split_once('\n')
        && label.trim_end().ends_with(':')
    {
        paragraph = rest.trim();
    }
    paragraph.strip_prefix("Question:").unwrap_or(paragraph).trim().to_owned()
}
