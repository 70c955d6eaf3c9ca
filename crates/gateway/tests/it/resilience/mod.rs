//! What keeps a model usable while its servers are not. Each setting has a test that fails when it is ignored.

mod breaker;
mod hedging;
mod limits;
mod places;
mod queue;
mod repeats;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Script, World};

/// A gateway with one model on the world's model server; `rules` are lines of the model, indented by two.
async fn model(rules: &str, script: Script) -> (World, TempDir) {
    configured(rules, "", script).await
}

/// The same with more settings of the whole configuration.
async fn configured(rules: &str, more: &str, script: Script) -> (World, TempDir) {
    let config = format!(
        "gitlab: {{url: $ISSUER}}\n{more}\nmodels:\n- name: vllm\n  family: mistral\n  identifier: \
         custom_openai/the-model\n  endpoint: $UPSTREAM\n{rules}"
    );
    World::configured(&config, &[], script).await
}

fn say() -> Script {
    Script::Say("puts 'hello'".into())
}

fn status(code: u16) -> Script {
    Script::Status(code, vec![], json!({"error": {"message": "boom"}}).to_string())
}

async fn complete(world: &World) -> reqwest::Response {
    world.post("/v2/code/completions", &world.completion()).await
}

async fn stream(world: &World) -> reqwest::Response {
    let mut body = world.completion();
    body["stream"] = true.into();
    world.post("/v2/code/completions", &body).await
}

async fn check(world: &World) -> reqwest::Response {
    let body = json!({"inputs": {}, "stream": false, "model_metadata": world.metadata("mistral")});
    world.post("/v1/prompts/model_configuration%2Fcheck", &body).await
}

async fn detail(answer: reqwest::Response) -> String {
    answer.json::<Value>().await.unwrap()["detail"].as_str().unwrap().to_owned()
}

fn wait(answer: &reqwest::Response) -> u64 {
    answer.headers()["retry-after"].to_str().unwrap().parse().unwrap()
}

async fn failing(world: &World) -> Value {
    let url = format!("http://{}/models/failing", world.gateway.metrics_addr());
    world.http.get(url).send().await.unwrap().json::<Value>().await.unwrap()["failing"].clone()
}

/// The value of a metric's line that begins so.
async fn metric(world: &World, line: &str) -> f64 {
    let text = world.metrics().await;
    let found = text.lines().find_map(|one| one.strip_prefix(line)).unwrap_or_else(|| panic!("{line} in\n{text}"));
    found.trim().parse().unwrap()
}
