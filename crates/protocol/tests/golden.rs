//! What is sent to a model for each feature and family, as files under `tests/golden/`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p duo-protocol --test golden` writes them anew; the review reads the difference.
//! Families that are sent the same stand in one section.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics to fail")]

use std::fmt::Write as _;
use std::path::Path;

use duo_protocol::build::{
    ChatTurn, CodeInput, chat_agent_request, completion_request, generation_request, plain_generation_request,
    prompt_request,
};
use duo_protocol::capability::{self, Capability, adapt};
use duo_protocol::contract::{AgentBody, CodeContext, CurrentCode, PromptEnhancer};
use duo_protocol::family::Family;
use duo_protocol::identifier::Identifier;
use duo_protocol::model::ModelRequest;
use duo_protocol::openai::{StreamMode, chat_body};
use duo_protocol::prompts;
use duo_protocol::react::{GitlabVersion, offered};
use serde_json::{Map, Value, json};

const TODAY: &str = "2026-11-23";

/// The models whose requests differ: each family on an OpenAI-compatible server, and those with rules of their own.
fn models() -> Vec<(Family, String)> {
    let own = Family::ALL.into_iter().filter(|f| *f != Family::Embedding);
    let mut out: Vec<(Family, String)> = own.map(|f| (f, format!("custom_openai/{f}-model"))).collect();
    let rules = [
        (Family::Mixtral, "bedrock/mistral.mixtral-8x7b-instruct-v0:1"),
        (Family::Mistral, "bedrock/mistral.mistral-large-2407-v1:0"),
        (Family::Claude3, "bedrock/anthropic.claude-3-sonnet-20240229-v1:0"),
        (Family::Claude3, "bedrock/us.anthropic.claude-opus-4-7"),
        (Family::Llama3, "bedrock/meta.llama3-1-70b-instruct-v1:0"),
        (Family::Gpt, "azure/gpt-4o"),
        (Family::Gpt, "azure/gpt-5"),
    ];
    out.extend(rules.map(|(family, id)| (family, id.to_owned())));
    out
}

fn capability(family: Family, id: &str) -> (Identifier, Capability) {
    let identifier = Identifier::parse(id).unwrap();
    let capability = capability::of(&identifier, family);
    (identifier, capability)
}

fn show(request: &ModelRequest) -> String {
    let mut out = format!("max_tokens: {}", request.max_tokens);
    if let Some(t) = request.temperature {
        write!(out, "  temperature: {t}").unwrap();
    }
    if let Some(p) = request.top_p {
        write!(out, "  top_p: {p}").unwrap();
    }
    writeln!(out, "  stop: {:?}{}", request.stop, if request.continue_final_message { "  continued" } else { "" })
        .unwrap();
    for message in &request.messages {
        writeln!(out, "--- {}\n{}", message.role.as_str(), message.content).unwrap();
    }
    out
}

fn golden(name: &str, request: impl Fn(Family, &Capability) -> ModelRequest) {
    let mut sections: Vec<(Vec<String>, String)> = Vec::new();
    for (family, id) in models() {
        let (_, capability) = capability(family, &id);
        let text = show(&adapt(request(family, &capability), &capability));
        let label = format!("{family} {id}");
        match sections.iter_mut().find(|(_, known)| *known == text) {
            Some((labels, _)) => labels.push(label),
            None => sections.push((vec![label], text)),
        }
    }
    let text: String =
        sections.iter().map(|(labels, text)| format!("==== {}\n{text}\n", labels.join("\n==== "))).collect();
    check(&format!("{name}.txt"), &text);
}

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let wanted = std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; run with UPDATE_GOLDEN=1 and review the file", path.display()));
    assert!(wanted == text, "{name} differs from what is sent now; run with UPDATE_GOLDEN=1 and review the difference");
}

fn code() -> (CurrentCode, Vec<CodeContext>) {
    let file = CurrentCode {
        file_name: "app/models/user.rb".into(),
        language_identifier: Some("Ruby".into()),
        content_above_cursor: "class User\n  def full_name\n    ".into(),
        content_below_cursor: "\n  end\nend\n".into(),
    };
    let context = CodeContext { kind: "file".into(), name: "db/schema.rb".into(), content: "t.string :first\n".into() };
    (file, vec![context])
}

#[test]
fn completions() {
    let (file, context) = code();
    golden("completions", |family, _| {
        completion_request(&CodeInput { file: &file, context: &context, prompt: None }, family)
    });
}

#[test]
fn completions_without_context() {
    let (file, _) = code();
    golden("completions_bare", |family, _| {
        completion_request(&CodeInput { file: &file, context: &[], prompt: None }, family)
    });
}

#[test]
fn generations() {
    let (file, context) = code();
    let enhancer = PromptEnhancer {
        examples: vec![("def add".into(), "def add(a, b) = a + b".into())],
        related_files: vec!["<file_content file_name=\"a.rb\">\nA = 1\n</file_content>".into()],
        libraries: vec!["rails".into(), "rspec".into()],
        user_instruction: Some("return first and last name".into()),
        ..PromptEnhancer::default()
    };
    let input = CodeInput { file: &file, context: &context, prompt: None };
    golden("generations", |family, _| generation_request(&input, &enhancer, family));
    golden("generations_bare", |family, _| {
        generation_request(&CodeInput { context: &[], ..input }, &PromptEnhancer::default(), family)
    });
    golden("generations_plain", |family, _| plain_generation_request(&input, family));
}

fn agent_body(steps: bool) -> AgentBody {
    let mut messages = vec![
        json!({"role": "user", "content": "Hello"}),
        json!({"role": "assistant", "content": "Hello, how can I help?"}),
        json!({
            "role": "user",
            "content": "What is this issue about?",
            "context": {"type": "issue", "title": "Login fails"},
            "current_file": {"file_path": "a.rb", "data": "puts 1", "selected_code": true},
            "additional_context": [{"category": "file", "id": "b.rb", "content": "puts 2"}],
        }),
    ];
    if steps {
        messages.push(json!({"role": "assistant", "content": null, "agent_scratchpad": [
            {"action": {"thought": "I must read it", "tool": "issue_reader", "tool_input": "current issue"},
             "observation": "Title: Login fails\nDescription: 500 on sign in"},
        ]}));
    }
    let body = json!({ "messages": messages, "unavailable_resources": ["Pipelines", "Vulnerabilities"] });
    AgentBody::parse(body.to_string().as_bytes()).unwrap()
}

fn chat(body: &AgentBody, family: Family, capability: &Capability) -> ModelRequest {
    let tools = offered(|_| true, GitlabVersion::parse("18.9.0"));
    chat_agent_request(body, &ChatTurn { family, capability, tools: &tools, current_date: TODAY })
}

#[test]
fn chat_turns() {
    let (first, second) = (agent_body(false), agent_body(true));
    golden("chat_first_turn", |family, capability| chat(&first, family, capability));
    golden("chat_after_a_tool", |family, capability| chat(&second, family, capability));
    golden("chat_without_tools", |family, capability| {
        chat_agent_request(&first, &ChatTurn { family, capability, tools: &[], current_date: TODAY })
    });
}

#[test]
fn named_prompts_with_all_inputs_and_with_none() {
    for prompt in prompts::all().iter().filter(|prompt| prompts::find(prompt.id).is_ok()) {
        let inputs: Map<String, Value> =
            prompt.template.inputs().iter().map(|name| ((*name).to_owned(), json!(format!("[{name}]")))).collect();
        let name = format!("prompts/{}", prompt.id);
        golden(&name, |family, _| prompt_request(prompt, &inputs, family, TODAY));
        let bare = prompt_request(prompt, &Map::new(), Family::General, TODAY);
        assert!(!bare.messages.is_empty() && !show(&bare).contains(['{', '}']) || prompt.id.ends_with("_reader"));
    }
}

#[test]
fn wire_bodies_of_openai_compatible_servers() {
    let body = agent_body(true);
    let mut text = String::new();
    for (family, id) in [
        (Family::Mistral, "custom_openai/mistral-model"),
        (Family::Codegemma, "custom_openai/codegemma-model"),
        (Family::Gpt, "azure/gpt-5"),
    ] {
        let (identifier, capability) = capability(family, id);
        for mode in [StreamMode::Whole, StreamMode::Stream { usage: true }] {
            let mut request = adapt(chat(&body, family, &capability), &capability);
            for message in &mut request.messages {
                message.content = message.content.chars().take(40).collect();
            }
            let json = chat_body(&request, &identifier.model, mode, &capability);
            writeln!(text, "{}", serde_json::to_string_pretty(&json).unwrap()).unwrap();
        }
    }
    check("wire_openai.json", &text);
}
