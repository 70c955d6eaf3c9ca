//! Duo Chat: the loop of up to ten turns in which the gateway asks for tools and GitLab runs them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::client::{self, GatewayCall};
use super::prompts::{judged, timeout_or};
use super::{Ask, Outcome, Picked, metadata, token};
use crate::gitlab::sim::Sim;
use crate::gitlab::version::Version;

const MAX_TURNS: usize = 10;
const MAX_RETRIES: usize = 2;

/// Tools that GitLab has a class for.
const TOOLS: [&str; 7] = [
    "build_reader",
    "commit_reader",
    "merge_request_reader",
    "epic_reader",
    "issue_reader",
    "work_item_reader",
    "gitlab_documentation",
];

/// One step that ran.
#[derive(Clone)]
struct Step {
    thought: String,
    tool: String,
    input: String,
    observation: String,
}

/// What a turn's events come to.
#[derive(Debug, PartialEq)]
enum Turn {
    Answer(String),
    Action { thought: String, tool: String, input: String },
    Failed { code: &'static str, message: String, retryable: bool },
}

/// Asks the chat.
pub async fn run(sim: &Arc<Sim>, picked: &Picked, ask: &Ask, outcome: &mut Outcome) {
    let version = sim.read(|state| state.instance.version);
    let mut steps: Vec<Step> = Vec::new();
    let mut retries = 0;
    let mut turns = 0;
    while turns < MAX_TURNS {
        let call = GatewayCall {
            url: format!("{}/v2/chat/agent", picked.url),
            token: token::own(sim),
            user: Some(picked.user.clone()),
            body: body(version, picked, ask, &steps),
            timeout: picked.timeout,
            extra_headers: Vec::new(),
        };
        let (answer, report) = client::post_reported(sim, &call).await;
        outcome.calls.push(report);
        let Some(answer) = judged(answer, outcome) else { return };
        let turn = read_turn(&String::from_utf8_lossy(&answer.body));
        if let Some(broken) = answer.broken {
            if let Turn::Answer(text) = turn {
                outcome.text = text;
            }
            return outcome.fail(Some(timeout_or("A1001", &broken)), broken);
        }
        match turn {
            Turn::Answer(text) => return outcome.answer(text),
            Turn::Failed { retryable: true, .. } if retries < MAX_RETRIES => retries += 1,
            Turn::Failed { code, message, .. } => return outcome.fail(Some(code), message),
            Turn::Action { thought, tool, input } => {
                turns += 1;
                if !TOOLS.contains(&tool.as_str()) {
                    return outcome.fail(Some("A1006"), format!("the model asked for an unknown tool {tool}"));
                }
                let observation = observe(&sim.read(|state| state.resources.clone()), &tool, &input);
                outcome.tools.push((tool.clone(), input.clone(), observation.clone()));
                steps.push(Step { thought, tool, input, observation });
            }
        }
    }
    outcome.fail(Some("A1001"), format!("no answer after {MAX_TURNS} turns"));
}

fn body(version: Version, picked: &Picked, ask: &Ask, steps: &[Step]) -> Value {
    let mut messages = ask.conversation.clone();
    messages.push(json!({
        "role": "user",
        "content": ask.question,
        "context": ask.context,
        "current_file": null,
        "additional_context": ask.additional_context,
    }));
    let mut body = json!({
        "unavailable_resources": ["Pipelines", "Vulnerabilities"],
        "model_metadata": metadata::of(&picked.model),
    });
    if version.at_least(18, 0) {
        if !steps.is_empty() {
            let scratchpad: Vec<Value> = steps
                .iter()
                .map(|step| {
                    json!({"action": {"thought": step.thought, "tool": step.tool, "tool_input": step.input},
                           "observation": step.observation})
                })
                .collect();
            messages.push(json!({"role": "assistant", "agent_scratchpad": scratchpad}));
        }
    } else {
        // the gateway of 17.10 wants a string for every message's content, so the steps go another way
        let steps: Vec<Value> = steps
            .iter()
            .map(|step| {
                json!({"thought": step.thought, "tool": step.tool, "tool_input": step.input,
                       "observation": step.observation})
            })
            .collect();
        body["options"] = json!({"agent_scratchpad": {"agent_type": "react", "steps": steps}});
    }
    body["messages"] = Value::Array(messages);
    body
}

/// Rails' reading: an event is one `{…}` followed by a line end; a last line without its end is lost.
fn read_turn(body: &str) -> Turn {
    let complete = body.rfind('\n').map_or("", |end| &body[..end]);
    let events: Vec<Value> = complete
        .split('\n')
        .filter_map(|line| serde_json::from_str(line.trim()).ok())
        .filter(Value::is_object)
        .collect();
    if events.is_empty() {
        let message = "the AI gateway sent no events".to_owned();
        return Turn::Failed { code: "A1002", message, retryable: false };
    }
    let mut text = String::new();
    let mut answered = false;
    for event in &events {
        let data = &event["data"];
        let piece = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap_or_default() {
            "final_answer_delta" | "unknown" => {
                answered = true;
                text.push_str(&piece("text"));
            }
            "action" => {
                return Turn::Action { thought: piece("thought"), tool: piece("tool"), input: piece("tool_input") };
            }
            "error" => {
                let message = piece("message");
                let code = if message.contains("prompt is too long") {
                    "A1005"
                } else if message.contains("tool not available") {
                    "A1006"
                } else {
                    "A1001"
                };
                return Turn::Failed { code, message, retryable: data["retryable"] == true };
            }
            // `usage` and whatever a later gateway adds
            _ => {}
        }
    }
    if answered && !text.is_empty() {
        Turn::Answer(text)
    } else {
        Turn::Failed { code: "A1002", message: "the AI gateway sent an empty answer".to_owned(), retryable: false }
    }
}

/// What a tool finds: the entry for what was asked, or the one for `*`.
fn observe(resources: &BTreeMap<String, BTreeMap<String, String>>, tool: &str, input: &str) -> String {
    let found = resources.get(tool).and_then(|known| known.get(input.trim()).or_else(|| known.get("*")));
    found.cloned().unwrap_or_else(|| "I am sorry, I am unable to find what you are looking for.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_and_usage_is_passed_over() {
        let body = concat!(
            "{\"type\":\"final_answer_delta\",\"data\":{\"text\":\"Hel\"}}\n",
            "{\"type\":\"final_answer_delta\",\"data\":{\"text\":\"lo\"}}\n",
            "{\"type\":\"usage\",\"data\":{\"usage\":{}}}\n"
        );
        assert_eq!(read_turn(body), Turn::Answer("Hello".to_owned()));
    }

    #[test]
    fn a_last_line_without_its_end_is_lost() {
        let turn = read_turn("{\"type\":\"final_answer_delta\",\"data\":{\"text\":\"Hello\"}}");
        assert!(matches!(turn, Turn::Failed { code: "A1002", .. }), "{turn:?}");
    }

    #[test]
    fn error_texts_choose_the_code() {
        for (message, code) in [("prompt is too long: 5", "A1005"), ("tool not available", "A1006"), ("boom", "A1001")]
        {
            let body = format!("{}\n", json!({"type": "error", "data": {"message": message, "retryable": false}}));
            assert!(matches!(read_turn(&body), Turn::Failed { code: found, .. } if found == code), "{message}");
        }
    }

    #[test]
    fn scratchpad_goes_as_options_before_18_0_and_as_a_message_after() {
        let picked = Picked {
            url: String::new(),
            user: crate::gitlab::State::fresh(Version::default()).users[0].clone(),
            model: crate::gitlab::state::Model {
                id: 1,
                name: "m".to_owned(),
                family: "claude_3".to_owned(),
                endpoint: None,
                identifier: "bedrock/x".to_owned(),
                api_token: None,
                provider: "BEDROCK".to_owned(),
                created_at: jiff::Timestamp::UNIX_EPOCH,
                updated_at: jiff::Timestamp::UNIX_EPOCH,
            },
            timeout: std::time::Duration::from_secs(1),
        };
        let step = Step {
            thought: "t".to_owned(),
            tool: "issue_reader".to_owned(),
            input: "#1".to_owned(),
            observation: "o".to_owned(),
        };
        let old = body(Version::new(17, 10, 0), &picked, &Ask::default(), std::slice::from_ref(&step));
        assert_eq!(old["options"]["agent_scratchpad"]["steps"][0]["observation"], "o");
        assert_eq!(old["messages"].as_array().unwrap().len(), 1);
        let new = body(Version::new(18, 9, 0), &picked, &Ask::default(), &[step]);
        assert!(new.get("options").is_none());
        assert_eq!(new["messages"][1]["agent_scratchpad"][0]["action"]["tool"], "issue_reader");
        assert!(new["messages"][1].get("content").is_none());
    }
}
