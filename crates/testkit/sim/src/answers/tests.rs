use super::*;

const MODEL: &str = "mistral.mixtral-8x7b-instruct-v0:1";

fn ask(system: &str, turns: &[(Role, &str)]) -> String {
    let turns = turns.iter().map(|(role, text)| (*role, (*text).to_owned())).collect();
    let question = Question { model: MODEL.into(), system: system.into(), turns, continues: true };
    answer(&question, &Limits::default()).text
}

#[test]
fn fill_in_the_middle_forms_of_every_family_get_a_body() {
    let hello = "    print(\"Hello, World! (mistral.mixtral-8x7b-instruct-v0:1)\")";
    for prompt in [
        "<s>[SUFFIX]\n\nmain()[PREFIX]def hello_world():\n",
        "<|fim_prefix|>def hello_world():\n<|fim_suffix|>\nmain()<|fim_middle|>",
        "<fim_prefix>def hello_world():\n<fim_suffix>\nmain()<fim_middle>",
        "<PRE> def hello_world():\n <SUF>\nmain() <MID>",
        "<｜fim▁begin｜>def hello_world():\n<｜fim▁hole｜>\nmain()<｜fim▁end｜>",
        "python\n<|prefix|>def hello_world():\n<|suffix|>\nmain()",
        "Replace the mark:\ndef hello_world():\n|CODE|\nmain()",
        "Complete at the cursor.\n<prefix>\ndef hello_world():\n</prefix>\n<suffix>\nmain()</suffix>",
    ] {
        assert_eq!(ask("", &[(Role::User, prompt)]), hello, "{prompt}");
    }
}

#[test]
fn a_cursor_in_the_middle_of_a_line_is_continued_on_that_line() {
    for (prefix, wanted) in [
        ("def hello_world(", "):\n    print("),
        ("def hello_world():", "\n    print("),
        ("    def greet\n", "      puts \"greet by"),
        // indentation that is typed already is not repeated
        ("    def greet\n      ", "puts \"greet by"),
        ("    def greet\n  ", "    puts \"greet by"),
        ("fn main(", ") {\n    println!("),
        ("func run() {", "\n\tfmt.Println("),
        ("x = ", "print(\"completed by"),
    ] {
        let got = ask("", &[(Role::User, &format!("[SUFFIX][PREFIX]{prefix}"))]);
        assert!(got.starts_with(wanted), "{prefix:?} -> {got:?}");
    }
}

#[test]
fn a_react_prompt_gets_a_final_answer_that_names_the_model_and_the_question() {
    let system = "Use this form:\nThought: what you think\nAction: tool\nFinal Answer: the answer";
    let got = ask(system, &[(Role::User, "Question: What is GitLab?")]);
    let digest = digest("What is GitLab?");
    assert_eq!(
        got,
        format!(
            "Thought: {MODEL} can answer this directly.\nFinal Answer: This is {MODEL} — you asked [{digest}]: What is GitLab?"
        )
    );
    let continued = ask(system, &[(Role::User, "What is GitLab?"), (Role::Assistant, "Thought:")]);
    assert_eq!(format!("Thought:{continued}"), got);
}

#[test]
fn generation_is_tagged_when_the_prompt_tags_and_fenced_otherwise() {
    let system = "You generate Ruby code. Put it between <new_code> tags.";
    let turns = [(Role::User, "a hello world function")];
    assert!(ask(system, &turns).starts_with("<new_code>\ndef hello_world\n  puts \"Hello, World!"));
    let prefilled = ask(system, &[turns[0], (Role::Assistant, "<new_code>")]);
    assert!(prefilled.starts_with("\ndef hello_world\n") && prefilled.ends_with("\n</new_code>"), "{prefilled}");
    let fenced = ask("Generate new Go code.", &turns);
    assert!(fenced.starts_with("```go\nfunc hello_world() {") && fenced.ends_with("\n```"), "{fenced}");
}

#[test]
fn anything_else_is_answered_with_model_and_digest() {
    let got = ask("You explain code.", &[(Role::User, "why?"), (Role::Assistant, "no"), (Role::User, "  really? ")]);
    assert_eq!(got, format!("This is {MODEL} — you asked [{}]: really?", digest("really?")));
}

#[test]
fn stop_sequences_and_the_token_limit_cut_whichever_comes_first() {
    let limits =
        |max_tokens, stop: &[&str]| Limits { max_tokens, stop: stop.iter().map(|s| (*s).to_owned()).collect() };
    let text = "one two three four";
    for (limits, wanted, ending) in [
        (limits(None, &[]), text, Ending::Done),
        (limits(None, &["four", " three"]), "one two", Ending::Stop),
        (limits(Some(1), &["three"]), "one", Ending::Length),
        (limits(Some(2), &[" three"]), "one two", Ending::Stop),
        (limits(Some(4), &[""]), text, Ending::Done),
    ] {
        assert_eq!(scripted(text, &limits), Written { text: wanted.into(), ending });
    }
}

#[test]
fn pieces_join_to_the_text_and_split_long_words() {
    let text = "  über alles — functional\n\n";
    assert_eq!(pieces(text).concat(), text);
    assert_eq!(pieces("functional x"), ["functi", "onal", " x"]);
    assert_eq!(tokens(""), 0);
}

#[test]
fn a_block_that_the_suffix_closes_is_not_closed_again() {
    for (prefix, suffix, closed) in [
        ("def full_name\n  ", "\nend\n", true),
        ("def full_name\n  ", "\nputs 1\n", false),
        ("fn main() {\n", "}\n", true),
    ] {
        let got = ask("", &[(Role::User, &format!("<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>"))]);
        assert_eq!(!got.ends_with("end") && !got.ends_with('}'), closed, "{prefix:?} {suffix:?}: {got}");
    }
}

#[test]
fn instructions_folded_into_the_users_turn_change_nothing() {
    let instructions = "You write each step as\nThought: why\nAction: DirectAnswer\nFinal Answer: the answer";
    let apart = ask(instructions, &[(Role::User, "What is GitLab?")]);
    let folded = ask("", &[(Role::User, &format!("{instructions}\n\nWhat is GitLab?"))]);
    assert_eq!(apart, folded);
    assert!(apart.contains("Action: DirectAnswer\nFinal Answer: This is"), "{apart}");

    let instructions = "Code before the cursor is in <prefix>, the rest in <suffix>. Complete it.";
    let file = "<prefix>def hello_world():\n    </prefix>\n<suffix></suffix>";
    let folded = ask("", &[(Role::User, &format!("{instructions}\n\n{file}"))]);
    assert_eq!(folded, ask(instructions, &[(Role::User, file)]));
    assert!(folded.starts_with("print(\"Hello, World!"), "{folded}");

    let instructions = "The code before the cursor follows <|prefix|>, the code behind it <|suffix|>.";
    let file = "Language: python\n<|prefix|>def hello_world():\n<|suffix|>\nmain()";
    assert!(ask("", &[(Role::User, &format!("{instructions}\n\n{file}"))]).starts_with("    print("));
}

#[test]
fn mixtral_escapes_underscores_and_others_do_not() {
    let prompt = "[SUFFIX][PREFIX]def full_name\n";
    assert!(ask("", &[(Role::User, prompt)]).contains("full\\_name"));
    let turns = vec![(Role::User, prompt.to_owned())];
    let question = Question { model: "codestral".into(), turns, ..Question::default() };
    assert!(answer(&question, &Limits::default()).text.contains("\"full_name"));
}

#[test]
fn fixed_forms_are_kept() {
    assert_eq!(ask("", &[(Role::User, "Say \"ok\" and nothing else.")]), "ok");
    let mended = ask("Answer in <analysis> and <fixed_code>.", &[(Role::User, "Finding: SQL injection")]);
    assert!(mended.contains("<fixed_code>\n") && mended.ends_with("</fixed_code>"), "{mended}");
    let review = ask("Answer with <review>…</review>.", &[(Role::User, "Review this.")]);
    assert!(review.ends_with("<review>\n</review>"), "{review}");
}

#[test]
fn the_language_is_the_one_the_prompt_names() {
    for (system, fence) in [
        ("You write code, in ruby. Go on where the code ends.", "```ruby"),
        ("You write code. Go on where the code ends.", "```python"),
        ("You write code in go.", "```go"),
        ("You write code.\n<language>go</language>", "```go"),
        ("You write code in TypeScript.", "```typescript"),
    ] {
        assert!(ask(system, &[(Role::User, "hello")]).starts_with(fence), "{system}");
    }
}

#[test]
fn a_last_assistant_turn_is_continued_only_where_the_server_does_that() {
    let turns =
        vec![(Role::User, "Final Answer: or Thought: as you like".to_owned()), (Role::Assistant, "Thought:".into())];
    let mut question = Question { model: MODEL.into(), turns, ..Question::default() };
    assert!(answer(&question, &Limits::default()).text.starts_with("Thought: "));
    question.continues = true;
    assert!(answer(&question, &Limits::default()).text.starts_with(' '));
}
