//! Request bodies: read or refused with faults that name places, never values; what is read can be asked.

use duo_protocol::budget::estimate;
use duo_protocol::build::{
    ChatTurn, CodeInput, chat_agent_request, completion_request, generation_request, plain_generation_request,
    prompt_request,
};
use duo_protocol::capability;
use duo_protocol::contract::{
    AgentBody, ChatV1Body, CodePrompt, CompletionBody, Component, ComponentBody, EmbeddingsBody, Invalid, PromptBody,
    PromptEnhancer, SearchBody,
};
use duo_protocol::families::context_window;
use duo_protocol::family::Family;
use duo_protocol::identifier::Identifier;
use duo_protocol::model::ModelRequest;
use duo_protocol::prompts;
use duo_protocol::react::{GitlabVersion, offered};
use proptest::prelude::*;

use crate::runner::{Outcome, run};

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "null",
    "true",
    "-1",
    "1e999",
    "\\u0000",
    "\\ud800",
    "\"current_file\"",
    "\"file_name\"",
    "\"prompt_components\"",
    "\"payload\"",
    "\"type\"",
    "\"code_editor_completion\"",
    "\"code_editor_generation\"",
    "\"messages\"",
    "\"role\"",
    "\"assistant\"",
    "\"content\"",
    "\"agent_scratchpad\"",
    "\"options\"",
    "\"steps\"",
    "\"inputs\"",
    "\"model_metadata\"",
    "\"identifier\"",
    "\"prompt_version\"",
    "\"contents\"",
    "\"query\"",
    "é",
    "\u{0}",
    "😀",
];

/// A refusal has between one and twenty faults, and its answer holds no value of the body.
fn refused(result: Result<(), Invalid>, body: &[u8]) -> Outcome {
    let Err(invalid) = result else { return Ok(()) };
    prop_assert!((1..=20).contains(&invalid.0.len()), "{} faults", invalid.0.len());
    let answer = invalid.body().to_string();
    prop_assert!(!answer.contains("s3cret"), "a key is in {answer}");
    prop_assert!(answer.len() < 64 * 1024 + body.len());
    Ok(())
}

fn fits(request: &ModelRequest, family: Family) -> Outcome {
    let tokens: usize = request.messages.iter().map(|message| estimate(&message.content)).sum();
    prop_assert!(tokens + request.max_tokens as usize <= context_window(family), "{family}: {tokens} tokens");
    Ok(())
}

fn code(body: &[u8]) -> Outcome {
    refused(CompletionBody::parse(body).and_then(|b| b.require_prompt().and(b.select().map(drop))), body)?;
    refused(ComponentBody::parse(body).and_then(|b| b.select().map(drop)), body)?;
    for family in [Family::Codegemma, Family::Codestral, Family::Claude3] {
        if let Ok(read) = CompletionBody::parse(body) {
            prop_assert!(read.current_file.content_above_cursor.chars().count() <= 100_000);
            let input = CodeInput { file: &read.current_file, context: &read.context, prompt: read.prompt.as_ref() };
            fits(&completion_request(&input, family), family)?;
            fits(&generation_request(&input, &PromptEnhancer::default(), family), family)?;
            fits(&plain_generation_request(&input, family), family)?;
        }
        if let Ok(read) = ComponentBody::parse(body) {
            let file = read.component.current_file();
            match &read.component {
                Component::Completion { prompt, .. } => {
                    let input = CodeInput { file, context: &read.context, prompt: prompt.as_ref() };
                    fits(&completion_request(&input, family), family)?;
                }
                Component::Generation(payload) => {
                    let prompt = payload.prompt.clone().map(CodePrompt::Text);
                    let input = CodeInput { file, context: &read.context, prompt: prompt.as_ref() };
                    fits(&generation_request(&input, &payload.enhancer, family), family)?;
                }
            }
        }
    }
    Ok(())
}

fn chat(body: &[u8]) -> Outcome {
    refused(AgentBody::parse(body).and_then(|b| b.select().map(drop)), body)?;
    refused(ChatV1Body::parse(body).and_then(|b| b.select().map(drop)), body)?;
    let Ok(read) = AgentBody::parse(body) else { return Ok(()) };
    let _ = (read.refusal(), read.context_primitives());
    let tools = offered(|_| true, GitlabVersion::parse("18.9"), true);
    for family in [Family::Codegemma, Family::Mistral, Family::Claude3] {
        let capability = capability::of(&Identifier::parse("custom_openai/m").unwrap(), family);
        let turn = ChatTurn { family, capability: &capability, tools: &tools, current_date: "2026-11-23" };
        let request = chat_agent_request(&read, &turn);
        prop_assert!(!capability::adapt(request.clone(), &capability).messages.is_empty());
        fits(&request, family)?;
    }
    Ok(())
}

fn prompt(body: &[u8]) -> Outcome {
    refused(PromptBody::parse(body).and_then(|b| b.select().map(drop)), body)?;
    let Ok(read) = PromptBody::parse(body) else { return Ok(()) };
    let constraint = read.prompt_version.as_deref();
    for prompt in prompts::all() {
        if let Err(error) = prompt.check_version(constraint) {
            prop_assert!(error.to_string().len() < 600);
        }
    }
    for id in
        ["chat/troubleshoot_job", "review_merge_request", "generate_session_title", "code_suggestions/completions"]
    {
        let request = prompt_request(prompts::find(id).unwrap(), &read.inputs, Family::Codegemma, "2026-11-23");
        fits(&request, Family::Codegemma)?;
    }
    Ok(())
}

fn other(body: &[u8]) -> Outcome {
    refused(SearchBody::parse(body).map(drop), body)?;
    refused(EmbeddingsBody::parse(body).and_then(|b| b.select().map(drop)), body)
}

#[test]
fn code_bodies() {
    run("body_code", WORDS, code);
}

#[test]
fn chat_bodies() {
    run("body_chat", WORDS, chat);
}

#[test]
fn prompt_bodies() {
    run("body_prompt", WORDS, prompt);
}

#[test]
fn search_and_embeddings_bodies() {
    run("body_other", WORDS, other);
}

/// Every reader takes every other's bodies, too.
#[test]
fn bodies_of_other_endpoints() {
    for target in ["body_code", "body_chat", "body_prompt", "body_other"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
        for file in std::fs::read_dir(folder).unwrap() {
            let body = std::fs::read(file.unwrap().path()).unwrap();
            for check in [code, chat, prompt, other] {
                check(&body).unwrap();
            }
        }
    }
}
