//! Named prompts.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Script, World, claims};

fn explain(world: &World, stream: bool) -> Value {
    json!({
        "inputs": {"input": "explain", "selected_text": "puts 1", "language_info": "ruby", "file_content": ""},
        "prompt_version": "^1.0.0", "stream": stream, "model_metadata": world.metadata("mistral"),
    })
}

#[tokio::test]
async fn the_connection_check_passes_under_both_spellings_of_its_path() {
    let world = World::new(Script::Say("ok".into())).await;
    let body = json!({"inputs": {}, "stream": false, "model_metadata": world.metadata("mistral")});
    for path in ["/v1/prompts/model_configuration%2Fcheck", "/v1/prompts/model_configuration/check"] {
        let answer = world.post(path, &body).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap(), json!("ok"));
    }
    assert!(world.upstream.last().body["max_tokens"].as_u64().unwrap() <= 16, "GitLab up to 18.9 waits 3 s");
}

#[tokio::test]
async fn v1_answers_a_bare_string_and_v2_an_object_with_counts() {
    let world = World::new(Script::Say("It prints one.".into())).await;
    let v1: Value = world.post("/v1/prompts/chat/explain_code", &explain(&world, false)).await.json().await.unwrap();
    assert_eq!(v1, json!("It prints one."));
    let v2: Value = world.post("/v2/prompts/chat/explain_code", &explain(&world, false)).await.json().await.unwrap();
    let usage = json!({"mistral": {"input_tokens": 11, "output_tokens": 7}});
    assert_eq!(v2, json!({"content": "It prints one.", "usage": usage}));
    assert!(world.upstream.last().body["messages"].to_string().contains("puts 1"));
}

#[tokio::test]
async fn streams_are_raw_text_in_v1_and_lines_in_v2_with_counts_in_the_last() {
    let world = World::new(Script::Say("It prints one.".into())).await;
    let v1 = world.post("/v1/prompts/chat/explain_code", &explain(&world, true)).await;
    assert_eq!(v1.headers()["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(v1.text().await.unwrap(), "It prints one.");
    let v2 = world.post("/v2/prompts/chat/explain_code", &explain(&world, true)).await.text().await.unwrap();
    let lines: Vec<Value> = v2.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let joined: String = lines.iter().map(|line| line["content"].as_str().unwrap()).collect();
    assert_eq!(joined, "It prints one.");
    let (last, rest) = lines.split_last().unwrap();
    assert!(rest.iter().all(|line| line.get("usage").is_none()));
    assert_eq!(last["usage"], json!({"the-model": {"input_tokens": 11, "output_tokens": 7}}));
}

#[tokio::test]
async fn refusals_of_prompts() {
    let world = World::new(Script::Say("x".into())).await;
    let unknown = world.post("/v1/prompts/no/such", &explain(&world, false)).await;
    assert_eq!(unknown.status(), 404);
    assert_eq!(unknown.json::<Value>().await.unwrap(), json!({"detail": "Prompt 'no/such' not found"}));

    let mut version = explain(&world, false);
    version["prompt_version"] = "^9.0.0".into();
    assert_eq!(world.post("/v1/prompts/chat/explain_code", &version).await.status(), 400);
    version["prompt_version"] = "newest".into();
    assert_eq!(world.post("/v1/prompts/chat/explain_code", &version).await.status(), 400);

    let mut less = claims();
    less["scopes"] = json!(["duo_chat"]);
    let request = world.signed(Method::POST, "/v1/prompts/chat%2Fexplain_code", &less).json(&explain(&world, false));
    let refused = request.send().await.unwrap();
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.json::<Value>().await.unwrap(), json!({"detail": "Unauthorized to access 'chat/explain_code'"}));
}

#[tokio::test]
async fn a_reasoning_models_thoughts_and_the_blank_lines_behind_them_are_not_the_answer() {
    let world = World::new(Script::Say("<think>what does it do</think>\n\nIt prints one.".into())).await;
    for (path, stream, expected) in [
        ("/v1/prompts/chat/explain_code", false, "\"It prints one.\""),
        ("/v1/prompts/chat/explain_code", true, "It prints one."),
    ] {
        let answer = world.post(path, &explain(&world, stream)).await.text().await.unwrap();
        assert_eq!(answer, expected);
    }
}

/// The ids GitLab calls, each with the unit primitive that allows it; the table of the contract, section 2.6.
const PROMPTS: [(&str, &str); 26] = [
    ("model_configuration/check", "complete_code"),
    ("chat/explain_code", "explain_code"),
    ("chat/refactor_code", "refactor_code"),
    ("chat/fix_code", "fix_code"),
    ("chat/write_tests", "write_tests"),
    ("chat/explain_vulnerability", "explain_vulnerability"),
    ("chat/troubleshoot_job", "troubleshoot_job"),
    ("chat/summarize_comments", "summarize_comments"),
    ("chat/issue_reader", "ask_issue"),
    ("chat/epic_reader", "ask_epic"),
    ("chat/merge_request_reader", "ask_merge_request"),
    ("chat/commit_reader", "duo_chat"),
    ("chat/build_reader", "ask_build"),
    ("chat/work_item_reader", "ask_work_item"),
    ("chat/documentation_search", "documentation_search"),
    ("generate_commit_message", "generate_commit_message"),
    ("summarize_new_merge_request", "summarize_new_merge_request"),
    ("summarize_review", "summarize_review"),
    ("resolve_vulnerability", "resolve_vulnerability"),
    ("review_merge_request", "review_merge_request"),
    ("glab_ask_git_command", "glab_ask_git_command"),
    ("categorize_question", "duo_chat"),
    ("generate_session_title", "duo_agent_platform"),
    ("summarize_duo_workflow", "duo_agent_platform"),
    ("code_suggestions/completions", "complete_code"),
    ("code_suggestions/generations", "generate_code"),
];

#[tokio::test]
async fn every_prompt_that_gitlab_calls_is_served_to_who_may_call_it_whatever_its_inputs() {
    let world = World::new(Script::Say("An answer".into())).await;
    let ask = async |id: &str, primitive: &str, inputs: Value| {
        let body = json!({"inputs": inputs, "model_metadata": world.metadata("mistral")});
        let mut claims = claims();
        claims["scopes"] = json!([primitive]);
        let path = format!("/v1/prompts/{}", id.replace('/', "%2F"));
        world.signed(Method::POST, &path, &claims).json(&body).send().await.unwrap()
    };
    for (id, primitive) in PROMPTS {
        for inputs in [json!({}), json!({"something": "MATERIAL", "goal": {"nested": [1]}})] {
            let answer = ask(id, primitive, inputs).await;
            assert_eq!(answer.status(), 200, "{id}");
            assert_eq!(answer.json::<Value>().await.unwrap(), json!("An answer"), "{id}");
        }
        assert_eq!(ask(id, "something_else", json!({})).await.status(), 403, "{id}");
    }
    let intent = "classify_code_review_mention_intent";
    assert_eq!(ask(intent, "duo_agent_platform", json!({"comment": "MATERIAL"})).await.status(), 200);
    assert!(world.upstream.last().body["messages"].to_string().contains("MATERIAL"));
}

#[tokio::test]
async fn a_readers_answer_is_its_json_block_however_the_model_wraps_it() {
    let said = r#"It is {"ResourceIdentifierType": "iid", "ResourceIdentifier": 12}, I think."#;
    let world = World::new(Script::Say(said.into())).await;
    let mut claims = claims();
    claims["scopes"] = json!(["ask_issue"]);
    for stream in [false, true] {
        let body = json!({
            "inputs": {"input": "what is #12?"}, "stream": stream, "model_metadata": world.metadata("mistral"),
        });
        let request = world.signed(Method::POST, "/v1/prompts/chat/issue_reader", &claims).json(&body);
        let answer = request.send().await.unwrap();
        let text = if stream { answer.text().await.unwrap() } else { answer.json::<String>().await.unwrap() };
        let block = text.split_once("```json\n").unwrap().1.strip_suffix("\n```").unwrap();
        let block: Value = serde_json::from_str(block).unwrap();
        assert_eq!(block, json!({"ResourceIdentifierType": "iid", "ResourceIdentifier": "12"}));
    }
}
