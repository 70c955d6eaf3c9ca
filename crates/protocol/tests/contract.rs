//! Bodies as GitLab sends them, and those that no model can be found for. Each field's limits are in `limits.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics to fail")]

use duo_protocol::contract::{AgentBody, AgentEvent, CompletionBody, Component, ComponentBody, Loc, PromptBody};
use duo_protocol::family::Family;
use duo_protocol::identifier::Provider;
use duo_protocol::model::Usage;
use serde_json::{Value, json};

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn with(base: &Value, pointer: &str, value: Value) -> Value {
    let mut out = base.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    out.pointer_mut(parent).unwrap()[key] = value;
    out
}

fn without(base: &Value, pointer: &str) -> Value {
    let mut out = base.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    out.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
    out
}

/// What Rails 18.9 sends for a completion (contract, sections 2.2 and 4), with the IDE's own fields merged in.
fn completion() -> Value {
    json!({
        "prompt_version": 2, "prompt": null, "project_path": "g/p", "intent": "completion", "stream": false,
        "current_file": {
            "file_name": " test.rb ", "content_above_cursor": "def hello_world", "content_below_cursor": "",
            "language_identifier": null, "extra": {"x": 1},
        },
        "model_provider": "litellm", "model_name": "mixtral", "model_endpoint": "http://bedrockselfhostedmodel.com",
        "model_api_key": "topsecret", "model_identifier": "bedrock/mistral.mixtral-8x7b-instruct-v0:1",
        "telemetry": [], "user_instruction": null, "generation_type": "comment",
    })
}

#[test]
fn a_completion_of_rails_is_read_and_its_unknown_fields_are_ignored() {
    let body = CompletionBody::parse(&bytes(&completion())).unwrap();
    assert_eq!(body.current_file.file_name, "test.rb");
    let model = body.select().unwrap();
    assert_eq!((model.family, &model.identifier.unwrap().provider), (Family::Mixtral, &Provider::Bedrock));
    assert_eq!(model.endpoint, None, "trap: the placeholder endpoint of Bedrock is ignored");
    assert_eq!(model.api_key.unwrap().expose(), "topsecret");
}

#[test]
fn a_key_and_the_code_are_in_no_debug_text() {
    let body = CompletionBody::parse(&bytes(&completion())).unwrap();
    let text = format!("{body:?} {:?}", body.select().unwrap());
    assert!(!text.contains("topsecret") && !text.contains("hello_world"), "{text}");
}

fn faults(result: Result<impl Sized, duo_protocol::contract::Invalid>) -> Vec<(String, String)> {
    let Err(invalid) = result else { return Vec::new() };
    let path = |loc: &[Loc]| {
        let keys = loc.iter().map(|l| match l {
            Loc::Key(key) => key.clone(),
            Loc::Index(i) => i.to_string(),
        });
        keys.collect::<Vec<_>>().join(".")
    };
    invalid.0.iter().map(|item| (path(&item.loc), item.kind.clone())).collect()
}

fn fault(place: &str, kind: &str) -> Vec<(String, String)> {
    vec![(place.to_owned(), kind.to_owned())]
}

#[test]
fn all_faults_are_told_at_once_and_hold_nothing_of_the_body() {
    let body =
        json!({"current_file": {"file_name": 7, "content_above_cursor": "x"}, "model_api_key": {"k": "topsecret"}});
    let invalid = CompletionBody::parse(&bytes(&body)).unwrap_err();
    assert_eq!(invalid.0.len(), 3);
    let answer = invalid.body();
    assert_eq!(answer["detail"][0]["loc"], json!(["body", "current_file", "file_name"]));
    assert_eq!(answer["detail"][0]["type"], "string_type");
    assert!(!answer.to_string().contains("topsecret"), "trap: the official gateway repeats the whole body here");
}

#[test]
fn what_is_no_json_object_is_one_fault() {
    for body in [&b""[..], b"[]", b"\"x\"", b"{\"a\":", b"\xff\xfe", b"{\"a\":\"\xc3\"}"] {
        assert_eq!(faults(CompletionBody::parse(body)), fault("body", "json_invalid"));
        assert_eq!(faults(ComponentBody::parse(body)), fault("body", "json_invalid"));
        assert_eq!(faults(AgentBody::parse(body)), fault("body", "json_invalid"));
        assert_eq!(faults(PromptBody::parse(body)), fault("body", "json_invalid"));
    }
    let deep = "[".repeat(100_000);
    assert_eq!(faults(PromptBody::parse(deep.as_bytes())), fault("body", "json_invalid"));
}

#[test]
fn trap_model_faults_are_422_lists_and_never_another_model() {
    let base = completion();
    let table = [
        ("/model_name", json!("starcoder"), "body.model_name", "enum"),
        ("/model_name", json!(null), "body.model_name", "missing"),
        ("/model_identifier", json!("bedrock/"), "body.model_identifier", "missing"),
        ("/model_provider", json!("gitlab"), "body.model_provider", "value_error"),
    ];
    for (pointer, value, place, kind) in table {
        let body = CompletionBody::parse(&bytes(&with(&base, pointer, value))).unwrap();
        assert_eq!(faults(body.select()), fault(place, kind));
    }
    for none in [json!(null), json!(""), json!(" ")] {
        let old = CompletionBody::parse(&bytes(&with(&base, "/model_identifier", none))).unwrap().select().unwrap();
        assert_eq!(old.identifier, None, "clients of 17.10 name none; what is declared decides");
    }
    let general = CompletionBody::parse(&bytes(&with(&base, "/model_name", json!("general")))).unwrap();
    assert_eq!(general.select().unwrap().family, Family::General, "trap: missing from the official list");
    let body = with(&base, "/model_identifier", json!("custom_openai/m"));
    for endpoint in [json!("models.example.com"), json!("file:///etc/passwd"), json!("https://"), json!(null)] {
        let body = CompletionBody::parse(&bytes(&with(&body, "/model_endpoint", endpoint))).unwrap();
        assert_eq!(faults(body.select()), fault("body.model_endpoint", "url_parsing"));
    }
    let body = CompletionBody::parse(&bytes(&with(&body, "/model_endpoint", json!("http://vllm:8000/v1/")))).unwrap();
    assert_eq!(body.select().unwrap().endpoint.as_deref(), Some("http://vllm:8000/v1"));
}

#[test]
fn generations_of_versions_2_and_3_need_a_prompt() {
    let base = completion();
    let parse = |body: &Value| CompletionBody::parse(&bytes(body)).unwrap();
    assert!(parse(&base).require_prompt().is_err());
    assert!(parse(&with(&base, "/prompt_version", json!(1))).require_prompt().is_ok());
    assert!(parse(&with(&base, "/prompt", json!("write"))).require_prompt().is_ok());
    let three = with(&base, "/prompt_version", json!(3));
    assert!(parse(&with(&three, "/prompt", json!([{"role": "user", "content": "x"}]))).require_prompt().is_ok());
    let bad = with(&three, "/prompt", json!([{"role": "robot", "content": "x"}]));
    assert_eq!(faults(CompletionBody::parse(&bytes(&bad))), fault("body.prompt.0.role", "enum"));
}

/// What Rails sends for a generation (contract, section 2.4).
fn generation() -> Value {
    json!({
        "prompt_components": [
            {"type": "code_editor_generation", "payload": {
                "file_name": "app.rb", "content_above_cursor": "# hi\n", "content_below_cursor": "",
                "language_identifier": "Ruby", "stream": true, "prompt_id": "code_suggestions/generations",
                "prompt_version": "^1.0.0",
                "prompt_enhancer": {
                    "examples_array": [{"example": "a", "response": "b", "trigger_type": "comment"}],
                    "trimmed_content_above_cursor": "# hi\n", "related_files": ["<file_content …>"],
                    "libraries": ["rails"], "user_instruction": "say hi",
                },
            }},
            {"type": "code_context", "payload": {"type": "file", "name": "b.rb", "content": "B"}},
        ],
        "model_metadata": {
            "provider": "openai", "name": "mixtral", "endpoint": "http://x/v1", "api_key": null,
            "identifier": "custom_openai/mixtral",
        },
    })
}

#[test]
fn a_generation_of_rails_is_read() {
    let body = ComponentBody::parse(&bytes(&generation())).unwrap();
    let Component::Generation(payload) = &body.component else { panic!("a generation") };
    assert!(body.component.stream());
    assert_eq!(payload.enhancer.user_instruction.as_deref(), Some("say hi"));
    assert_eq!(payload.enhancer.examples, [("a".to_owned(), "b".to_owned())]);
    assert_eq!(body.context.len(), 1);
    assert_eq!(body.select().unwrap().family, Family::Mixtral);
    let body = ComponentBody::parse(&bytes(&without(&generation(), "/model_metadata"))).unwrap();
    assert_eq!(faults(body.select()), fault("body.model_metadata", "missing"));
}

#[test]
fn component_faults() {
    let base = generation();
    let part = base["prompt_components"][0].clone();
    let context = base["prompt_components"][1].clone();
    let table = [
        ("/prompt_components", json!([]), "body.prompt_components", "too_short"),
        ("/prompt_components", json!(null), "body.prompt_components", "missing"),
        ("/prompt_components", json!("x"), "body.prompt_components", "list_type"),
        ("/prompt_components", json!(vec![part.clone(); 101]), "body.prompt_components", "too_long"),
        ("/prompt_components", json!([context]), "body.prompt_components", "value_error"),
        ("/prompt_components", json!([3]), "body.prompt_components.0", "dict_type"),
        (
            "/prompt_components",
            json!([{"type": "x", "payload": {}}]),
            "body.prompt_components.0.type",
            "union_tag_invalid",
        ),
        ("/prompt_components", json!([without(&part, "/payload")]), "body.prompt_components.0.payload", "missing"),
        (
            "/prompt_components",
            json!([without(&part, "/payload/file_name")]),
            "body.prompt_components.0.payload.file_name",
            "missing",
        ),
        (
            "/prompt_components/0/metadata",
            json!({"source": "x".repeat(256)}),
            "body.prompt_components.0.metadata.source",
            "string_too_long",
        ),
        ("/model_metadata", json!("x"), "body.model_metadata", "dict_type"),
    ];
    for (pointer, value, place, kind) in table {
        let got = faults(ComponentBody::parse(&bytes(&with(&base, pointer, value))));
        assert_eq!(got, fault(place, kind), "{pointer}");
    }
    let most = with(&base, "/prompt_components", json!(vec![part; 100]));
    assert!(ComponentBody::parse(&bytes(&most)).is_ok());
}

#[test]
fn the_scratchpad_is_read_in_both_forms() {
    let step = json!({"thought": "t", "tool": "issue_reader", "tool_input": "1", "observation": "o"});
    let old = json!({
        "messages": [{"role": "user", "content": "q"}],
        "options": {"agent_scratchpad": {"agent_type": "react", "steps": [step]}},
    });
    let new = json!({"messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": null, "agent_scratchpad": [
            {"action": {"thought": "t", "tool": "issue_reader", "tool_input": "1"}, "observation": "o"},
        ]},
    ]});
    let (old, new) = (AgentBody::parse(&bytes(&old)).unwrap(), AgentBody::parse(&bytes(&new)).unwrap());
    assert_eq!(old.steps().len(), 1);
    assert!(old.steps() == new.steps());
    let misplaced = json!({"messages": [{"role": "user", "content": "q", "agent_scratchpad": []}]});
    let misplaced = AgentBody::parse(&bytes(&misplaced)).unwrap();
    assert_eq!(misplaced.refusal(), Some("agent_scratchpad can only be present when role is ASSISTANT"));
    assert_eq!(new.refusal(), None);
}

#[test]
fn chat_faults_and_context_primitives() {
    assert_eq!(faults(AgentBody::parse(b"{\"messages\":[]}")), fault("body.messages", "too_short"));
    assert_eq!(faults(AgentBody::parse(b"{}")), fault("body.messages", "missing"));
    let body = |message: Value| bytes(&json!({"messages": [message]}));
    let bad = json!({"role": "user", "content": "q", "additional_context": [{"category": "moon"}]});
    assert_eq!(faults(AgentBody::parse(&body(bad))), fault("body.messages.0.additional_context.0.category", "enum"));
    let context = json!([{"category": "file"}, {"category": "file"}, {"category": "terminal", "metadata": {}}]);
    let good = AgentBody::parse(&body(json!({"role": "user", "additional_context": context}))).unwrap();
    assert_eq!(good.context_primitives(), ["include_file_context", "include_terminal_context"]);
}

#[test]
fn prompt_bodies() {
    let body = PromptBody::parse(br#"{"inputs":{},"stream":false,"model_metadata":{"name":"mistral","endpoint":"http://m/v1","api_key":"","provider":"openai","identifier":"m"}}"#).unwrap();
    let model = body.select().unwrap();
    assert_eq!((model.identifier.unwrap().to_string().as_str(), model.api_key), ("custom_openai/m", None));
    assert_eq!(faults(PromptBody::parse(b"{}")), fault("body.inputs", "missing"));
    assert_eq!(faults(PromptBody::parse(b"{\"inputs\":[]}")), fault("body.inputs", "dict_type"), "trap: 500 in 19.x");
}

#[test]
fn chat_lines_have_the_forms_of_the_contract() {
    let table = [
        (
            AgentEvent::Action { tool: "issue_reader".into(), tool_input: "1".into(), thought: "a\nb".into() },
            r#"{"type":"action","data":{"tool":"issue_reader","tool_input":"1","thought":"a\nb"}}"#,
        ),
        (
            AgentEvent::FinalAnswerDelta { text: "piece".into(), finish_reason: None },
            r#"{"type":"final_answer_delta","data":{"text":"piece","finish_reason":null}}"#,
        ),
        (AgentEvent::Unknown { text: String::new() }, r#"{"type":"unknown","data":{"text":""}}"#),
        (
            AgentEvent::tool_not_available(),
            r#"{"type":"error","data":{"message":"tool not available","retryable":false}}"#,
        ),
        (
            AgentEvent::usage("m", Usage { input_tokens: 1, output_tokens: 2, ..Usage::default() }),
            r#"{"type":"usage","data":{"usage":{"m":{"input_tokens":1,"output_tokens":2}}}}"#,
        ),
    ];
    for (event, wanted) in table {
        assert_eq!(event.to_line(), format!("{wanted}\n"));
    }
}

mod any_body {
    use proptest::prelude::*;

    use super::*;

    /// Any JSON, with the field names of the bodies in it.
    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            Just(json!("user")),
            Just(json!("code_editor_completion")),
            Just(json!("issue")),
        ];
        let key = prop_oneof![
            Just("current_file"),
            Just("file_name"),
            Just("content_above_cursor"),
            Just("prompt_components"),
            Just("payload"),
            Just("type"),
            Just("messages"),
            Just("role"),
            Just("content"),
            Just("context"),
            Just("agent_scratchpad"),
            Just("options"),
            Just("steps"),
            Just("action"),
            Just("inputs"),
            Just("model_metadata"),
            Just("name"),
            Just("identifier"),
            Just("endpoint"),
            Just("prompt"),
            Just("prompt_version"),
            Just("stream"),
            Just("additional_context"),
            Just("prompt_enhancer"),
            Just("examples_array"),
        ];
        leaf.prop_recursive(5, 60, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec((key.clone(), inner), 0..8)
                    .prop_map(|pairs| { Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()) }),
            ]
        })
    }

    /// Whatever comes is read or refused with at least one fault and no more than 20.
    fn read(body: &[u8]) -> Result<(), TestCaseError> {
        let refused = [
            CompletionBody::parse(body).and_then(|b| b.select().map(drop)).err(),
            ComponentBody::parse(body).and_then(|b| b.select().map(drop)).err(),
            AgentBody::parse(body).and_then(|b| b.select().map(drop)).err(),
            PromptBody::parse(body).and_then(|b| b.select().map(drop)).err(),
        ];
        for invalid in refused.into_iter().flatten() {
            prop_assert!((1..=20).contains(&invalid.0.len()));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn any_json_is_read_or_refused(value in json()) {
            read(&bytes(&value))?;
        }

        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(&body)?;
        }
    }
}
