//! What is sent to a model for each feature, family and provider, as files under `tests/golden/`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p duo-protocol --test golden` writes them anew; the review reads the difference.
//! A file has two parts. First the table: which text with which parameters goes to which families at which model; for
//! OpenAI-style servers the parameters are the wire body without model and messages, for others the neutral request's.
//! Then the texts, each once.

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
use duo_protocol::fim;
use duo_protocol::identifier::Identifier;
use duo_protocol::model::ModelRequest;
use duo_protocol::openai::{StreamMode, chat_body, completions_body};
use duo_protocol::prompts;
use duo_protocol::react::{GitlabVersion, offered};
use serde_json::{Map, Value, json};

const TODAY: &str = "2026-11-23";

/// The models that every family is put to: where a model has rules of its own the request differs. `{}` is the family.
const MODELS: [&str; 8] = [
    "custom_openai/{}-model",
    "azure/gpt-4o",
    "azure/gpt-5",
    "bedrock/mistral.mixtral-8x7b-instruct-v0:1",
    "bedrock/mistral.mistral-large-2407-v1:0",
    "bedrock/anthropic.claude-3-sonnet-20240229-v1:0",
    "bedrock/us.anthropic.claude-opus-4-7",
    "bedrock/meta.llama3-1-70b-instruct-v1:0",
];

fn families() -> impl Iterator<Item = Family> {
    Family::ALL.into_iter().filter(|family| *family != Family::Embedding)
}

fn capability(family: Family, id: &str) -> (Identifier, Capability) {
    let identifier = Identifier::parse(id).unwrap();
    let capability = capability::of(&identifier, family);
    (identifier, capability)
}

/// What goes with the texts.
fn parameters(request: &ModelRequest, identifier: &Identifier, capability: &Capability) -> String {
    if identifier.provider.speaks_openai() {
        let body = chat_body(request, &identifier.model, StreamMode::Whole, capability);
        let body: Value = serde_json::from_slice(&body).unwrap();
        return serde_json::to_string(&without(body, &["model", "messages"])).unwrap();
    }
    let mut out = format!("max_tokens {}", request.max_tokens);
    if let Some(t) = request.temperature {
        write!(out, ", temperature {t}").unwrap();
    }
    if let Some(p) = request.top_p {
        write!(out, ", top_p {p}").unwrap();
    }
    if !request.stop.is_empty() {
        write!(out, ", stop {:?}", request.stop).unwrap();
    }
    out
}

/// The other fields of a body, in their order.
fn without(body: Value, fields: &[&str]) -> Map<String, Value> {
    let Value::Object(body) = body else { panic!("a body is an object") };
    body.into_iter().filter(|(name, _)| !fields.contains(&name.as_str())).collect()
}

fn texts(request: &ModelRequest) -> String {
    request.messages.iter().map(|m| format!("--- {}\n{}\n", m.role.as_str(), m.content)).collect()
}

/// The place of `item` in `list`, put there when it is new.
fn place<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|known| *known == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}

fn golden(name: &str, request: impl Fn(Family, &Capability) -> ModelRequest) {
    let mut known_texts: Vec<String> = Vec::new();
    // text and parameters, and who gets them: per model the families
    let mut rows: Vec<(usize, String)> = Vec::new();
    let mut who: Vec<Vec<(&str, Vec<Family>)>> = Vec::new();
    for model in MODELS {
        for family in families() {
            let (identifier, capability) = capability(family, &model.replace("{}", family.as_str()));
            let request = adapt(request(family, &capability), &capability);
            let text = place(&mut known_texts, texts(&request));
            let row = place(&mut rows, (text, parameters(&request, &identifier, &capability)));
            who.resize_with(rows.len(), Vec::new);
            match who[row].last_mut() {
                Some((last, families)) if *last == model => families.push(family),
                _ => who[row].push((model, vec![family])),
            }
        }
    }
    let mut out = String::new();
    for ((text, parameters), who) in rows.iter().zip(who) {
        writeln!(out, "text {} with {parameters}", text + 1).unwrap();
        for (model, families) in who {
            let families: Vec<&str> = families.into_iter().map(Family::as_str).collect();
            writeln!(out, "    {model}: {}", families.join(" ")).unwrap();
        }
    }
    for (at, text) in known_texts.iter().enumerate() {
        write!(out, "\n======== text {}\n{text}", at + 1).unwrap();
    }
    check(&format!("{name}.txt"), &out);
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
    let tools = offered(|_| true, GitlabVersion::parse("18.9.0"), true);
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

/// Inputs of a prompt, each saying its name.
fn inputs(prompt: &prompts::Prompt) -> Map<String, Value> {
    let code = ["prefix", "suffix", "file_name", "language", "user_instruction"];
    let names: Vec<&str> = match prompt.id {
        id if id.starts_with("code_suggestions/") => code.to_vec(),
        _ => prompt.base.template.inputs(),
    };
    names.iter().map(|name| ((*name).to_owned(), json!(format!("[{name}]")))).collect()
}

#[test]
fn named_prompts() {
    for prompt in prompts::all().iter().filter(|prompt| prompts::find(prompt.id).is_ok()) {
        let inputs = inputs(prompt);
        golden(&format!("prompts/{}", prompt.id), |family, _| {
            prompt_request(prompt, &inputs.clone().into(), family, TODAY)
        });
    }
}

#[test]
fn prompts_without_any_input_leave_no_trace_of_the_template() {
    for prompt in prompts::all().iter().filter(|prompt| prompts::find(prompt.id).is_ok()) {
        for family in families() {
            let bare = prompt_request(prompt, &Map::new().into(), family, TODAY);
            assert!(!bare.messages.is_empty(), "{}", prompt.id);
            for message in &bare.messages {
                // JSON that the model is shown has a quotation mark behind its brace
                let text = message.content.replace("{\"", "");
                assert!(!text.contains('{'), "{}: {text}", prompt.id);
            }
        }
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
            let json: Value =
                serde_json::from_slice(&chat_body(&request, &identifier.model, mode, &capability)).unwrap();
            writeln!(text, "{}", serde_json::to_string_pretty(&json).unwrap()).unwrap();
        }
    }
    check("wire_openai.json", &text);
}

#[test]
fn gaps_for_the_completions_api() {
    let (file, context) = code();
    let mut known: Vec<(String, Vec<String>)> = Vec::new();
    for model in ["model", "starcoder2-7b"] {
        for family in families() {
            let (identifier, capability) = capability(family, &format!("custom_openai/{model}"));
            let input = CodeInput { file: &file, context: &context, prompt: None };
            let request = adapt(completion_request(&input, family), &capability);
            let gap = request.fim.as_ref().unwrap();
            let format = fim::format_of(family, &identifier.model);
            let body = completions_body(&request, gap, &identifier.model, StreamMode::Whole, format.as_ref());
            let body: Value = serde_json::from_slice(&body).unwrap();
            let text = serde_json::to_string_pretty(&without(body, &["model"])).unwrap();
            match known.iter_mut().find(|(same, _)| *same == text) {
                Some((_, who)) => who.push(format!("{family} {model}")),
                None => known.push((text, vec![format!("{family} {model}")])),
            }
        }
    }
    let text: String = known.iter().map(|(body, who)| format!("==== {}\n{body}\n\n", who.join(", "))).collect();
    check("wire_completions.txt", &text);
}
