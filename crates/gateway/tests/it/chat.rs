//! Turns of Duo Chat.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Script, World, claims};

fn body(world: &World) -> Value {
    json!({
        "messages": [{"role": "user", "content": "What is issue 12 about?"}],
        "unavailable_resources": ["Pipelines"],
        "model_metadata": world.metadata("claude_3"),
    })
}

/// The lines of an answer, read as Rails reads them: one object, then a line end.
fn lines(text: &str) -> Vec<Value> {
    assert!(text.ends_with('\n'), "{text:?}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn an_answer_comes_in_pieces_as_lines_of_json() {
    let world = World::new(Script::Say("Thought: I know.\nFinal Answer: It is about apples and\npears.".into())).await;
    let answer = world.post("/v2/chat/agent", &body(&world)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson; charset=utf-8");
    let lines = lines(&answer.text().await.unwrap());
    assert!(lines.len() > 2, "it is streamed: {lines:?}");
    assert!(lines.iter().all(|line| line["type"] == "final_answer_delta"), "18.9 knows no usage line: {lines:?}");
    let joined: String = lines.iter().map(|line| line["data"]["text"].as_str().unwrap()).collect();
    assert_eq!(joined, "It is about apples and\npears.");
    assert_eq!(lines.last().unwrap()["data"]["finish_reason"], "stop");
}

#[tokio::test]
async fn a_tool_call_is_the_last_line_and_its_observation_comes_back_in_either_form() {
    let world = World::new(Script::Say("Thought: look\nAction: issue_reader\nAction Input: #12".into())).await;
    let answer = world.post("/v2/chat/agent", &body(&world)).await.text().await.unwrap();
    assert_eq!(
        lines(&answer),
        [json!({"type": "action", "data": {"tool": "issue_reader", "tool_input": "#12", "thought": "look"}})]
    );
    let step = json!({"thought": "look", "tool": "issue_reader", "tool_input": "#12"});
    let mut newer = body(&world);
    newer["messages"].as_array_mut().unwrap().push(json!({
        "role": "assistant", "content": null,
        "agent_scratchpad": [{"action": step, "observation": "Title: apples"}],
    }));
    let mut older = body(&world);
    let mut flat = step.clone();
    flat["observation"] = "Title: apples".into();
    older["options"] = json!({"agent_scratchpad": {"agent_type": "react", "steps": [flat]}});
    for request in [newer, older] {
        assert_eq!(world.post("/v2/chat/agent", &request).await.status(), 200);
        assert!(world.upstream.last().body["messages"].to_string().contains("Title: apples"));
    }
}

#[tokio::test]
async fn tools_are_offered_by_unit_primitive_and_refused_otherwise() {
    let world = World::new(Script::Say("Thought: x\nAction: epic_reader\nAction Input: &1".into())).await;
    let answer = world.post("/v2/chat/agent", &body(&world)).await.text().await.unwrap();
    assert_eq!(
        lines(&answer),
        [json!({"type": "error", "data": {"message": "tool not available", "retryable": false}})]
    );
    let prompt = world.upstream.last().body["messages"].to_string();
    assert!(prompt.contains("issue_reader") && !prompt.contains("epic_reader"), "{prompt}");
}

#[tokio::test]
async fn the_chat_and_each_attached_context_want_their_unit_primitive() {
    let world = World::new(Script::Say("Final Answer: x".into())).await;
    let mut less = claims();
    less["scopes"] = json!(["complete_code"]);
    let refused = world.signed(Method::POST, "/v2/chat/agent", &less).json(&body(&world)).send().await.unwrap();
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.json::<Value>().await.unwrap(), json!({"detail": "Unauthorized to access duo chat"}));

    let mut request = body(&world);
    request["messages"][0]["additional_context"] = json!([{"category": "file", "id": "a", "content": "b"}]);
    assert_eq!(world.post("/v2/chat/agent", &request).await.status(), 200);
    request["messages"][0]["additional_context"][0]["category"] = "issue".into();
    let refused = world.post("/v2/chat/agent", &request).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(
        refused.json::<Value>().await.unwrap(),
        json!({"detail": "Unauthorized to access include_issue_context"})
    );
    // 19.x renamed the chat's own
    let mut newer = claims();
    newer["scopes"] = json!(["duo_classic_chat"]);
    let taken = world.signed(Method::POST, "/v2/chat/agent", &newer).json(&body(&world)).send().await.unwrap();
    assert_eq!(taken.status(), 200);
}

#[tokio::test]
async fn a_scratchpad_of_a_user_is_400() {
    let world = World::new(Script::Say("x".into())).await;
    let mut request = body(&world);
    request["messages"][0]["agent_scratchpad"] = json!([]);
    let refused = world.post("/v2/chat/agent", &request).await;
    assert_eq!(refused.status(), 400);
    assert_eq!(
        refused.json::<Value>().await.unwrap(),
        json!({"detail": "agent_scratchpad can only be present when role is ASSISTANT"})
    );
}

#[tokio::test]
async fn token_counts_are_told_to_gitlab_19_only() {
    let world = World::new(Script::Say("Final Answer: x".into())).await;
    let mut may = claims();
    may["scopes"] = json!(["duo_classic_chat"]);
    let request = world.signed(Method::POST, "/v2/chat/agent", &may).json(&body(&world));
    let mut request = request.build().unwrap();
    request.headers_mut().insert("x-gitlab-version", "19.2.0".parse().unwrap());
    let answer = world.http.execute(request).await.unwrap().text().await.unwrap();
    assert_eq!(
        lines(&answer).last().unwrap(),
        &json!({"type": "usage", "data": {"usage": {"the-model": {"input_tokens": 11, "output_tokens": 7}}}})
    );
}

#[tokio::test]
async fn a_model_without_the_format_is_passed_on_as_unknown() {
    let world = World::new(Script::Say("just talk".into())).await;
    let answer = world.post("/v2/chat/agent", &body(&world)).await.text().await.unwrap();
    assert_eq!(lines(&answer), [json!({"type": "unknown", "data": {"text": "just talk"}})]);
}

#[tokio::test]
async fn trap_a_model_without_stop_sequences_is_stopped_when_it_invents_its_own_observation() {
    let said = vec!["Thought: look\nAction: issue_reader\n", "Action Input: #12\nObser", "vation: it is about"];
    let world = World::new(Script::SayAndStall(said)).await;
    let answer = world.post("/v2/chat/agent", &body(&world)).await.text().await.unwrap();
    assert_eq!(
        lines(&answer),
        [json!({"type": "action", "data": {"tool": "issue_reader", "tool_input": "#12", "thought": "look"}})]
    );
    world.upstream.cancelled().await;
    let line = world.access(1).await.remove(0);
    assert_eq!(line["finish_reason"], "stop", "{line}");
}

#[tokio::test]
async fn gitlab_19_has_two_chats_and_this_one_answers_the_other_only_when_spoken_to_by_name() {
    let world = World::new(Script::Say("Final Answer: x".into())).await;
    let ask = async |version: &str, scope: &str, content: &str| {
        let mut may = claims();
        may["scopes"] = json!([scope]);
        let mut body = body(&world);
        body["messages"] =
            json!([{"role": "user", "content": content}, {"role": "assistant", "content": "@GitLabDuo"}]);
        let request = world.signed(reqwest::Method::POST, "/v2/chat/agent", &may).json(&body);
        let mut request = request.build().unwrap();
        request.headers_mut().insert("x-gitlab-version", version.parse().unwrap());
        world.http.execute(request).await.unwrap().status().as_u16()
    };
    for (version, scope, content, status) in [
        ("18.9.0", "duo_chat", "hello", 200),
        ("19.1.0", "duo_chat", "hello", 403),
        ("19.1.0", "duo_chat", "hello @GitLabDuo", 200),
        ("19.1.0", "duo_classic_chat", "hello", 200),
        ("19.1.0", "complete_code", "hello @GitLabDuo", 403),
    ] {
        assert_eq!(ask(version, scope, content).await, status, "{version} {scope} {content}");
    }
}
