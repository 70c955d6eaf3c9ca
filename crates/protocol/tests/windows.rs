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
        let request = prompt_request(prompt, inputs.as_object().unwrap(), family, "2026-11-23");
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
