//! Requests fit the family's window, whatever is put in, and what matters most survives the cut.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics to fail")]

use duo_protocol::budget::estimate;
use duo_protocol::build::{
    ChatTurn, CodeInput, chat_agent_request, completion_request, generation_request, prompt_request,
};
use duo_protocol::capability;
use duo_protocol::contract::{AgentBody, CodeContext, CurrentCode, PromptEnhancer};
use duo_protocol::families::context_window;
use duo_protocol::family::Family;
use duo_protocol::identifier::Identifier;
use duo_protocol::model::ModelRequest;
use duo_protocol::prompts;
use duo_protocol::react::{GitlabVersion, offered};
use serde_json::json;

fn assert_fits(request: &ModelRequest, family: Family, what: &str) {
    let input: usize = request.messages.iter().map(|m| estimate(&m.content)).sum();
    let total = input + request.max_tokens as usize;
    assert!(total <= context_window(family), "{what} for {family}: {total} tokens");
}

fn all_text(request: &ModelRequest) -> String {
    request.messages.iter().map(|m| m.content.as_str()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_largest_code_bodies_fit_every_window_and_keep_the_code_at_the_cursor() {
    let file = CurrentCode {
        file_name: "a.rb".into(),
        language_identifier: None,
        content_above_cursor: "é long line of code\n".repeat(4990) + "at_the_cursor",
        content_below_cursor: "behind_the_cursor".to_owned() + &"\nmore".repeat(10_000),
    };
    let context: Vec<CodeContext> = (0..100)
        .map(|i| CodeContext { kind: "file".into(), name: format!("f{i}.rb"), content: "x = 1\n".repeat(10_000) })
        .collect();
    let input = CodeInput { file: &file, context: &context, prompt: None };
    for family in Family::ALL {
        let request = completion_request(&input, family);
        assert_fits(&request, family, "completion");
        let text = all_text(&request);
        assert!(text.contains("at_the_cursor") && text.contains("behind_the_cursor"), "{family}");
        let enhancer = PromptEnhancer {
            related_files: vec!["r".repeat(400_000)],
            user_instruction: Some("do_this_please".into()),
            ..PromptEnhancer::default()
        };
        let request = generation_request(&input, &enhancer, family);
        assert_fits(&request, family, "generation");
        assert!(all_text(&request).contains("do_this_please"), "{family}");
    }
}

#[test]
fn the_end_of_a_long_job_log_survives() {
    let prompt = prompts::find("chat/troubleshoot_job").unwrap();
    let log = "line of the log\n".repeat(6000) + "ERROR: the cause";
    let inputs = json!({ "selected_text": log, "unused": "u".repeat(1_000_000) });
    for family in Family::ALL {
        let request = prompt_request(prompt, &inputs.as_object().unwrap().clone().into(), family, "2026-11-23");
        assert_fits(&request, family, "log");
        assert!(all_text(&request).contains("ERROR: the cause"), "{family}");
    }
}

#[test]
fn a_long_conversation_keeps_the_question_and_the_steps() {
    let mut messages: Vec<_> = (0..60)
        .map(|i| json!({"role": if i % 2 == 0 { "user" } else { "assistant" }, "content": "old talk ".repeat(900)}))
        .collect();
    messages.push(json!({
        "role": "user", "content": "why_does_it_fail",
        "current_file": {"file_path": "a.rb", "data": "code\n".repeat(20_000), "selected_code": false},
    }));
    let first = AgentBody::parse(json!({ "messages": messages }).to_string().as_bytes()).unwrap();
    messages.push(json!({"role": "assistant", "content": null, "agent_scratchpad": [
        {"action": {"thought": "t", "tool": "issue_reader", "tool_input": "1"},
         "observation": "the observation ".to_owned() + &"tail ".repeat(30_000)},
    ]}));
    let second = AgentBody::parse(json!({ "messages": messages }).to_string().as_bytes()).unwrap();
    let tools = offered(|_| true, GitlabVersion::parse("18.9"), true);
    for family in Family::ALL {
        let capability = capability::of(&Identifier::parse("custom_openai/m").unwrap(), family);
        let turn = ChatTurn { family, capability: &capability, tools: &tools, current_date: "2026-11-23" };
        let request = chat_agent_request(&first, &turn);
        assert_fits(&request, family, "first turn");
        assert!(all_text(&request).contains("why_does_it_fail"), "{family}");
        let request = chat_agent_request(&second, &turn);
        assert_fits(&request, family, "second turn");
        let text = all_text(&request);
        assert!(text.contains("why_does_it_fail"), "{family}: the question is gone");
        assert!(text.contains("Observation: the observation"), "{family}");
    }
}

/// Inputs of any size and script.
mod any_input {
    use duo_protocol::budget::{around_cursor, keep_end, keep_start};
    use duo_protocol::build::plain_generation_request;
    use duo_protocol::contract::CodePrompt;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn family() -> impl Strategy<Value = Family> {
        (0..Family::ALL.len()).prop_map(|at| Family::ALL[at])
    }

    /// A text that is sometimes far too long, in scripts of one to four bytes a character.
    fn text() -> impl Strategy<Value = String> {
        let unit = prop_oneof![
            Just("x = f(1)\n"),
            Just("é"),
            Just("漢字"),
            Just("😀 "),
            Just("\t"),
            Just("<|fim"),
            Just("a😀")
        ];
        (proptest::collection::vec(unit, 1..6), prop_oneof![0usize..5, 0usize..500, 0usize..40_000])
            .prop_map(|(units, times)| units.concat().repeat(times).chars().take(100_000).collect())
    }

    fn file(above: String, below: String) -> CurrentCode {
        CurrentCode {
            file_name: "漢".repeat(255),
            language_identifier: Some("漢".repeat(255)),
            content_above_cursor: above,
            content_below_cursor: below,
        }
    }

    proptest! {
        // every prompt for each
        #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn named_prompts_fit_with_any_inputs(inputs in proptest::collection::vec(text(), 8), family in family()) {
            for prompt in prompts::all().iter().filter(|prompt| prompts::find(prompt.id).is_ok()) {
                let mut names = prompt.for_family(family).template.inputs();
                names.extend(["prefix", "suffix", "user_instruction", "goal"]);
                let inputs: Map<String, Value> =
                    names.iter().zip(inputs.iter().cycle()).map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
                assert_fits(&prompt_request(prompt, &inputs.clone().into(), family, "2026-11-23"), family, prompt.id);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn completions_fit_and_keep_both_sides_of_the_cursor(
            above in text(), below in text(), other in text(), family in family(),
        ) {
            let context = [CodeContext { kind: "file".into(), name: "b.rb".into(), content: other }];
            let file = file(above + "BEFORE", "BEHIND".to_owned() + &below);
            let request = completion_request(&CodeInput { file: &file, context: &context, prompt: None }, family);
            assert_fits(&request, family, "completion");
            let text = all_text(&request);
            prop_assert!(text.contains("BEFORE") && text.contains("BEHIND"));
            // what a completions API is sent in the chat's place
            let fim = request.fim.expect("a completion has a gap");
            prop_assert!(fim.prefix.ends_with("BEFORE") && fim.suffix.starts_with("BEHIND"));
            let tokens = estimate(&fim.prefix) + estimate(&fim.suffix) + request.max_tokens as usize;
            prop_assert!(tokens <= context_window(family));
        }

        #[test]
        fn generations_fit_and_keep_the_cursor_and_the_instruction(
            above in text(), below in text(), other in text(), family in family(), plain in any::<bool>(),
        ) {
            let file = file(above + "BEFORE", below);
            let enhancer = PromptEnhancer {
                related_files: vec![other.clone()],
                related_snippets: vec![other],
                user_instruction: Some("INSTRUCTION".into()),
                ..PromptEnhancer::default()
            };
            let input = CodeInput { file: &file, context: &[], prompt: None };
            let request = if plain {
                plain_generation_request(&input, family)
            } else {
                generation_request(&input, &enhancer, family)
            };
            assert_fits(&request, family, "generation");
            let text = all_text(&request);
            prop_assert!(text.contains("BEFORE") && (plain || text.contains("INSTRUCTION")));
        }

        #[test]
        fn a_clients_own_prompt_fits_and_keeps_its_end(prompt in text(), other in text(), family in family()) {
            let file = file(String::new(), String::new());
            let prompts = [
                CodePrompt::Text(format!("{other}{prompt}END")),
                CodePrompt::Messages(vec![
                    duo_protocol::model::ChatMessage::system(other),
                    duo_protocol::model::ChatMessage::user(format!("{prompt}END")),
                ]),
            ];
            for prompt in &prompts {
                let input = CodeInput { file: &file, context: &[], prompt: Some(prompt) };
                for request in [completion_request(&input, family), plain_generation_request(&input, family)] {
                    assert_fits(&request, family, "own prompt");
                    prop_assert!(all_text(&request).ends_with("END"));
                }
            }
        }

        #[test]
        fn prefix_and_suffix_have_their_shares(above in text(), below in text(), tokens in 0usize..50_000) {
            let (prefix, suffix, left) = around_cursor(&above, &below, tokens);
            prop_assert!(above.ends_with(prefix) && below.starts_with(suffix));
            let share = tokens * 93 / 100;
            prop_assert!(estimate(prefix) <= share && estimate(suffix) <= tokens - share);
            prop_assert_eq!(left, tokens - estimate(prefix) - estimate(suffix));
            // nothing is cut that would have fitted
            prop_assert_eq!(prefix == above, estimate(&above) <= share);
            prop_assert_eq!(suffix == below, estimate(&below) <= tokens - share);
            if prefix.len() < above.len() {
                let more = &above[..above.len() - prefix.len()];
                let longer = format!("{}{prefix}", more.chars().next_back().unwrap());
                prop_assert!(estimate(&longer) > share, "one more character would have fitted");
            }
            prop_assert!(estimate(keep_start(&above, tokens)) <= tokens && estimate(keep_end(&above, tokens)) <= tokens);
        }
    }
}
