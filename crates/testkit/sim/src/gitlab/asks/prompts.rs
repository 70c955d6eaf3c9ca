//! Slash commands and other features that call one prompt of the gateway, from Sidekiq.

use std::sync::Arc;

use serde_json::{Value, json};

use super::client::{self, GatewayAnswer, GatewayCall};
use super::{Ask, Outcome, Picked, metadata, token};
use crate::gitlab::sim::Sim;

/// `/explain`: `/v1/prompts/chat/explain_code`, streamed raw text.
pub async fn explain_code(sim: &Arc<Sim>, picked: &Picked, ask: &Ask, outcome: &mut Outcome) {
    let body = json!({
        "inputs": {
            "input": ask.question,
            "selected_text": ask.selected_text,
            "language_info": "",
            "file_content": format!("{}{}", ask.above, ask.below),
        },
        "prompt_version": "^1.0.0",
        "stream": true,
        "model_metadata": metadata::of(&picked.model),
    });
    let (answer, report) = client::post_reported(sim, &call(sim, picked, "chat/explain_code", body)).await;
    outcome.calls.push(report);
    let Some(answer) = judged(answer, outcome) else { return };
    outcome.text = String::from_utf8_lossy(&answer.body).into_owned();
    match answer.broken {
        Some(broken) => outcome.fail(Some(timeout_or("A1001", &broken)), broken),
        None if outcome.text.is_empty() => outcome.fail(Some("A1002"), "the gateway sent no answer"),
        None => outcome.ok = true,
    }
}

/// A merge commit message: not streamed, so a 429 is tried again and 5xx counts for the circuit breaker.
pub async fn commit_message(sim: &Arc<Sim>, picked: &Picked, ask: &Ask, outcome: &mut Outcome) {
    let body = json!({
        "inputs": {"diff": ask.diff},
        "prompt_version": "^1.0.0",
        "model_metadata": metadata::of(&picked.model),
    });
    let call = call(sim, picked, "generate_commit_message", body);
    let mut pause = sim.pace.retry_base;
    let mut left = sim.pace.retries;
    let answer = loop {
        if sim.breakers.is_open(&sim.pace) {
            return outcome.fail(None, "the circuit breaker of the AI gateway is open");
        }
        let (answer, report) = client::post_reported(sim, &call).await;
        outcome.calls.push(report);
        let status = answer.as_ref().map_or(599, |answer| answer.status);
        sim.breakers.count(status >= 500, &sim.pace);
        if status == 429 && left > 0 {
            left -= 1;
            tokio::time::sleep(pause).await;
            pause *= 2;
            continue;
        }
        break answer;
    };
    let Some(answer) = judged(answer, outcome) else { return };
    // Rails takes a bare string or an object with `content`
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match body.as_str().or_else(|| body["content"].as_str()) {
        Some(text) if !text.is_empty() => outcome.answer(text.to_owned()),
        _ => outcome.fail(None, "the gateway sent no answer"),
    }
}

fn call(sim: &Sim, picked: &Picked, prompt: &str, body: Value) -> GatewayCall {
    GatewayCall {
        url: format!("{}/v1/prompts/{prompt}", picked.url),
        token: token::own(sim),
        user: Some(picked.user.clone()),
        body,
        timeout: picked.timeout,
        extra_headers: Vec::new(),
    }
}

/// The answer if it is one; else the failure is settled in the outcome.
pub fn judged(answer: Result<GatewayAnswer, String>, outcome: &mut Outcome) -> Option<GatewayAnswer> {
    match answer {
        Err(error) => {
            outcome.fail(Some(timeout_or("A1001", &error)), error);
            None
        }
        Ok(answer) if answer.status == 403 => {
            outcome.fail(Some("M3006"), "the token lacks the right for this feature");
            None
        }
        Ok(answer) if answer.status != 200 => {
            outcome.fail(Some("A1001"), format!("the AI gateway answered {}", answer.status));
            None
        }
        Ok(answer) => Some(answer),
    }
}

/// `A1000` is GitLab's code for no bytes in time.
pub fn timeout_or<'a>(other: &'a str, error: &str) -> &'a str {
    if error.starts_with("Net::ReadTimeout") { "A1000" } else { other }
}
