//! Every field of every body: at its limit, over it, under it, of every other type, null and absent.
//!
//! The tables state the limits of the contract (sections 2.2 to 2.7 and 2.9 of GitLab's gateway); the cases are made
//! from them. A field that fails must be told at its own place, with the right kind of fault and no other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics to fail")]

mod engine;

use duo_protocol::contract::{
    AgentBody, ChatV1Body, CompletionBody, ComponentBody, EmbeddingsBody, PromptBody, SearchBody,
};
use engine::Kind::{AnyText, Flag, Number, Object, Objects, Texts, Whole, Word};
use engine::{Table, faults, hold, needed, set, text};
use serde_json::{Value, json};

const METADATA: Table<'static> = &[
    ("/model_metadata", Object { need: false }),
    ("/model_metadata/provider", text(255)),
    ("/model_metadata/name", text(255)),
    ("/model_metadata/endpoint", text(255)),
    ("/model_metadata/api_key", text(2000)),
    ("/model_metadata/identifier", text(1000)),
];

fn metadata() -> Value {
    json!({"provider": "openai", "name": "mixtral", "endpoint": "http://m/v1", "api_key": "k", "identifier": "m"})
}

#[test]
fn v2_code() {
    let base = json!({
        "prompt_version": 2, "prompt": "p", "prompt_id": "code_suggestions/generations", "project_path": "g/p",
        "stream": false,
        "current_file": {
            "file_name": "a.rb", "language_identifier": "ruby", "content_above_cursor": "a", "content_below_cursor": "b",
        },
        "model_provider": "litellm", "model_name": "mixtral", "model_endpoint": "http://m/v1", "model_api_key": "k",
        "model_identifier": "m",
        "context": [{"type": "file", "name": "b.rb", "content": "c"}], "telemetry": [{}],
    });
    let table: Table<'_> = &[
        ("/current_file", Object { need: true }),
        ("/current_file/file_name", needed(255)),
        ("/current_file/language_identifier", text(255)),
        ("/current_file/content_above_cursor", needed(100_000)),
        ("/current_file/content_below_cursor", needed(100_000)),
        ("/prompt_id", text(255)),
        ("/project_path", text(255)),
        ("/stream", Flag),
        (
            "/model_provider",
            Word {
                of: &["anthropic", "vertex-ai", "litellm", "codestral", "fireworks_ai", "amazon_q", "gitlab"],
                need: false,
            },
        ),
        ("/model_name", text(50)),
        ("/model_endpoint", text(255)),
        ("/model_api_key", text(2000)),
        ("/model_identifier", text(1000)),
        ("/context", Objects { least: 0, most: 100, need: false }),
        ("/context/0/type", needed(1024)),
        ("/context/0/name", needed(1024)),
        ("/context/0/content", needed(500_000)),
        ("/telemetry", Objects { least: 0, most: 10, need: false }),
    ];
    hold(&base, table, |body| CompletionBody::parse(body).map(drop));
    let mut newer = base.clone();
    set(&mut newer, "/model_metadata", metadata());
    hold(&newer, &METADATA[1..], |body| CompletionBody::parse(body).map(drop));
}

#[test]
fn v2_code_prompts() {
    let parse = |version: Value, prompt: Value| {
        let body = json!({
            "prompt_version": version, "prompt": prompt,
            "current_file": {"file_name": "a.rb", "content_above_cursor": "", "content_below_cursor": ""},
        });
        faults(CompletionBody::parse(body.to_string().as_bytes()).map(drop))
    };
    let fault = |place: &str, kind: &str| vec![(place.to_owned(), kind.to_owned())];
    for version in [json!(1), json!(2), json!(3), json!(null)] {
        assert_eq!(parse(version, Value::Null), []);
    }
    for version in [json!(0), json!(4), json!(-1), json!("2"), json!(1.5), json!([]), json!(true)] {
        assert_eq!(parse(version, Value::Null), fault("body.prompt_version", "literal_error"));
    }
    assert_eq!(parse(json!(2), json!("é".repeat(400_000))), []);
    assert_eq!(parse(json!(2), json!("é".repeat(400_001))), fault("body.prompt", "string_too_long"));
    for wrong in [json!(1), json!({}), json!(true)] {
        assert_eq!(parse(json!(2), wrong), fault("body.prompt", "string_type"));
    }
    let message = |role: Value, content: Value| json!([{"role": role, "content": content}]);
    for role in ["system", "user", "assistant"] {
        assert_eq!(parse(json!(3), message(json!(role), json!("x"))), []);
    }
    assert_eq!(parse(json!(3), message(json!("robot"), json!("x"))), fault("body.prompt.0.role", "enum"));
    assert_eq!(parse(json!(3), message(json!(1), json!("x"))), fault("body.prompt.0.role", "string_type"));
    assert_eq!(parse(json!(3), message(json!("user"), Value::Null)), fault("body.prompt.0.content", "missing"));
    assert_eq!(parse(json!(3), json!([7])), fault("body.prompt.0", "dict_type"));
}

fn components(kind: &str) -> Value {
    json!({
        "prompt_components": [
            {"type": kind, "metadata": {"source": "GitLab EE", "version": "18.9"}, "payload": {
                "file_name": "a.rb", "language_identifier": "Ruby", "content_above_cursor": "a",
                "content_below_cursor": "b", "stream": true, "prompt": "p",
                "prompt_id": "code_suggestions/generations", "prompt_version": "^1.0.0", "prompt_enhancer": {},
            }},
            {"type": "code_context", "payload": {"type": "file", "name": "b.rb", "content": "c"}},
        ],
        "model_metadata": metadata(),
    })
}

const EDITOR: Table<'static> = &[
    ("/prompt_components", Objects { least: 1, most: 100, need: true }),
    ("/prompt_components/0/metadata", Object { need: false }),
    ("/prompt_components/0/metadata/source", text(255)),
    ("/prompt_components/0/metadata/version", text(255)),
    ("/prompt_components/0/payload", Object { need: true }),
    ("/prompt_components/0/payload/file_name", needed(255)),
    ("/prompt_components/0/payload/language_identifier", text(255)),
    ("/prompt_components/0/payload/content_above_cursor", needed(100_000)),
    ("/prompt_components/0/payload/content_below_cursor", needed(100_000)),
    ("/prompt_components/0/payload/stream", Flag),
    ("/prompt_components/1/payload/type", needed(1024)),
    ("/prompt_components/1/payload/name", needed(1024)),
    ("/prompt_components/1/payload/content", needed(100_000)),
];

#[test]
fn v3_and_v4_code() {
    let parse = |body: &[u8]| ComponentBody::parse(body).map(drop);
    // an empty object is a payload without a file: the faults of its fields are told instead
    let editor: Vec<_> = EDITOR.iter().copied().filter(|(pointer, _)| !pointer.ends_with("/0/payload")).collect();
    for kind in ["code_editor_completion", "code_editor_generation"] {
        hold(&components(kind), &editor, parse);
        hold(&components(kind), METADATA, parse);
    }
    let own: Table<'_> = &[
        ("/prompt_components/0/payload/prompt", text(400_000)),
        ("/prompt_components/0/payload/prompt_id", text(255)),
        ("/prompt_components/0/payload/prompt_version", text(255)),
        ("/prompt_components/0/payload/prompt_enhancer", Object { need: false }),
    ];
    hold(&components("code_editor_generation"), own, parse);
    let mut bare = components("code_editor_generation");
    set(&mut bare, "/prompt_components/0/payload", json!({}));
    let missing: Vec<_> = faults(parse(bare.to_string().as_bytes())).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(missing, ["missing"; 3]);
}

#[test]
fn chat_turns() {
    let base = json!({
        "messages": [
            {"role": "user", "content": "q",
             "context": {"type": "issue", "title": "t", "content": "c"},
             "current_file": {"file_path": "a.rb", "data": "d", "selected_code": true},
             "additional_context": [{"category": "file", "id": "i", "content": "c"}]},
            {"role": "assistant", "content": null, "agent_scratchpad": [
                {"action": {"thought": "t", "tool": "issue_reader", "tool_input": "1"}, "observation": "o"},
            ]},
        ],
        "options": {"agent_scratchpad": {"agent_type": "react", "steps": [
            {"thought": "t", "tool": "issue_reader", "tool_input": "1", "observation": "o"},
        ]}},
        "unavailable_resources": ["Pipelines"],
        "model_metadata": metadata(),
    });
    let any = AnyText { need: false };
    let table: Table<'_> = &[
        ("/messages", Objects { least: 1, most: 1000, need: true }),
        ("/messages/0/role", Word { of: &["user", "assistant", "system"], need: true }),
        ("/messages/0/content", any),
        (
            "/messages/0/context/type",
            Word { of: &["issue", "epic", "merge_request", "commit", "build", "work_item"], need: true },
        ),
        ("/messages/0/context/title", any),
        ("/messages/0/context/content", any),
        ("/messages/0/current_file/file_path", AnyText { need: true }),
        ("/messages/0/current_file/data", AnyText { need: true }),
        ("/messages/0/current_file/selected_code", Flag),
        ("/messages/0/additional_context", Objects { least: 0, most: 1000, need: false }),
        (
            "/messages/0/additional_context/0/category",
            Word {
                of: &[
                    "file",
                    "snippet",
                    "merge_request",
                    "issue",
                    "dependency",
                    "local_git",
                    "terminal",
                    "repository",
                    "directory",
                    "os_information",
                    "agent_user_environment",
                ],
                need: true,
            },
        ),
        ("/messages/0/additional_context/0/id", any),
        ("/messages/0/additional_context/0/content", any),
        ("/messages/1/agent_scratchpad", Objects { least: 0, most: 100, need: false }),
        ("/messages/1/agent_scratchpad/0/action", Object { need: false }),
        ("/messages/1/agent_scratchpad/0/action/thought", any),
        ("/messages/1/agent_scratchpad/0/action/tool", any),
        ("/messages/1/agent_scratchpad/0/action/tool_input", any),
        ("/messages/1/agent_scratchpad/0/observation", any),
        ("/options", Object { need: false }),
        ("/options/agent_scratchpad", Object { need: false }),
        ("/options/agent_scratchpad/steps", Objects { least: 0, most: 100, need: false }),
        ("/options/agent_scratchpad/steps/0/observation", any),
        ("/unavailable_resources", Texts { least: 0, most: 100, max: 255 }),
    ];
    hold(&base, table, |body| AgentBody::parse(body).map(drop));
    hold(&base, METADATA, |body| AgentBody::parse(body).map(drop));
}

#[test]
fn named_prompts() {
    let base = json!({"inputs": {"a": 1}, "prompt_version": "^1.0.0", "stream": true, "model_metadata": metadata()});
    let table: Table<'_> = &[("/inputs", Object { need: true }), ("/prompt_version", text(255)), ("/stream", Flag)];
    hold(&base, table, |body| PromptBody::parse(body).map(drop));
    hold(&base, METADATA, |body| PromptBody::parse(body).map(drop));
}

#[test]
fn v1_chat() {
    let base = json!({
        "prompt_components": [{"type": "prompt", "metadata": {"source": "s", "version": "v"}, "payload": {
            "content": "Hi", "provider": "litellm", "model": "mistral", "model_endpoint": "http://m/v1",
            "model_api_key": "k", "model_identifier": "m",
            "params": {"stop_sequences": ["x"], "temperature": 0.5, "max_tokens_to_sample": 10},
        }}],
        "stream": false,
    });
    let table: Table<'_> = &[
        ("/prompt_components", Objects { least: 1, most: 1, need: true }),
        ("/prompt_components/0/type", needed(100)),
        ("/prompt_components/0/metadata/source", needed(100)),
        ("/prompt_components/0/metadata/version", needed(100)),
        ("/prompt_components/0/payload/provider", Word { of: &["anthropic", "litellm"], need: false }),
        ("/prompt_components/0/payload/model", text(255)),
        ("/prompt_components/0/payload/model_endpoint", text(255)),
        ("/prompt_components/0/payload/model_api_key", text(2000)),
        ("/prompt_components/0/payload/model_identifier", text(1000)),
        ("/prompt_components/0/payload/params", Object { need: false }),
        ("/prompt_components/0/payload/params/stop_sequences", Texts { least: 1, most: 10, max: 225 }),
        ("/prompt_components/0/payload/params/temperature", Number { least: 0.0, most: 1.0 }),
        ("/prompt_components/0/payload/params/max_tokens_to_sample", Whole { least: 1, most: 8192 }),
        ("/stream", Flag),
    ];
    hold(&base, table, |body| ChatV1Body::parse(body).map(drop));
}

#[test]
fn search_and_embeddings() {
    let base = json!({
        "type": "search-docs", "metadata": {"source": "GitLab EE", "version": "18.9.0"},
        "payload": {"query": "q", "page_size": 4},
    });
    let table: Table<'_> = &[
        ("/type", needed(100)),
        ("/metadata/source", needed(100)),
        ("/metadata/version", needed(100)),
        ("/payload/query", needed(400_000)),
        ("/payload/page_size", Whole { least: 1, most: 20 }),
    ];
    hold(&base, table, |body| SearchBody::parse(body).map(drop));
    let base = json!({
        "model_metadata": metadata(), "contents": ["a"], "dimensions": 256, "litellm_drop_params": true,
    });
    let table: Table<'_> = &[
        ("/contents", Texts { least: 1, most: 2048, max: usize::MAX }),
        ("/dimensions", Whole { least: 1, most: 65_536 }),
        ("/litellm_drop_params", Flag),
    ];
    hold(&base, table, |body| EmbeddingsBody::parse(body).map(drop));
    hold(&base, &METADATA[1..], |body| EmbeddingsBody::parse(body).map(drop));
}
