//! Declared models: what a mounted configuration allows.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Script, World, config_folder};

const CONFIG: &str = "
gitlab: {url: $ISSUER}
models:
- {name: vllm, family: mistral, identifier: custom_openai/the-model, endpoint: $UPSTREAM, apiKeyFile: key}
";

async fn world() -> (World, TempDir) {
    let slot = std::sync::Mutex::new(None);
    let world = World::with(Script::Say("x".into()), |settings, issuer, upstream| {
        let folder = config_folder(CONFIG, issuer, upstream, &[("key", "folder-key\n")]);
        settings.config_file = Some(folder.path().join("config.yaml"));
        *slot.lock().unwrap() = Some(folder);
    })
    .await;
    (world, slot.into_inner().unwrap().unwrap())
}

#[tokio::test]
async fn a_declared_model_is_called_with_the_folders_key_whatever_the_request_brings() {
    let (world, _folder) = world().await;
    assert_eq!(world.post("/v2/code/completions", &world.completion()).await.status(), 200);
    let sent = world.upstream.last();
    assert_eq!(sent.headers["authorization"], "Bearer folder-key");
    assert!(!sent.body.to_string().contains("request-key"));
    let line = world.access(1).await.remove(0);
    assert_eq!(line["model"], "vllm");

    let mut slash = world.completion();
    slash["model_endpoint"] = format!("{}/", world.upstream.url).into();
    slash.as_object_mut().unwrap().remove("model_api_key");
    assert_eq!(world.post("/v2/code/completions", &slash).await.status(), 200);
}

#[tokio::test]
async fn trap_a_request_cannot_name_another_server() {
    let (world, _folder) = world().await;
    for (field, value) in [
        ("model_endpoint", "http://169.254.169.254/latest"),
        ("model_identifier", "custom_openai/other"),
        ("model_identifier", "bedrock/mistral.mixtral-8x7b-instruct-v0:1"),
        ("model_name", "mixtral"),
    ] {
        let mut body = world.completion();
        body[field] = value.into();
        let answer = world.post("/v2/code/completions", &body).await;
        assert_eq!(answer.status(), 422, "{field}");
        let detail = answer.json::<Value>().await.unwrap();
        let text = detail["detail"][0]["msg"].as_str().unwrap();
        assert!(text.contains("not declared"), "{text}");
    }
    let check = json!({"inputs": {}, "model_metadata": world.metadata("mixtral")});
    let answer = world.post("/v1/prompts/model_configuration%2Fcheck", &check).await;
    assert_eq!(answer.status(), 422, "the connection check reads detail[0].msg");
    assert!(world.upstream.received().is_empty());
}

#[tokio::test]
async fn without_a_folder_custom_models_can_be_switched_off() {
    let world = World::with(Script::Say("x".into()), |settings, _, _| settings.custom_models.enabled = false).await;
    assert_eq!(world.post("/v2/code/completions", &world.completion()).await.status(), 422);
}

#[tokio::test]
async fn a_model_whose_last_call_failed_is_told_to_the_operator_until_one_goes_well() {
    let (world, _folder) = world().await;
    let failing = || async {
        let url = format!("http://{}/models/failing", world.gateway.metrics_addr());
        world.http.get(url).send().await.unwrap().json::<Value>().await.unwrap()
    };
    let none = json!({"failing": []});
    assert_eq!(failing().await, none);
    for (script, expected) in [
        (Script::Status(404, vec![], String::new()), json!({"failing": ["vllm"]})),
        (Script::Say("x".into()), none.clone()),
        (Script::Status(500, vec![], String::new()), json!({"failing": ["vllm"]})),
        (Script::Say("x".into()), none.clone()),
        // the moment's fault, and the request's own, say nothing of the model
        (Script::Status(429, vec![], String::new()), none.clone()),
        (Script::Status(400, vec![], String::new()), none.clone()),
    ] {
        world.upstream.script(script);
        world.post("/v2/code/completions", &world.completion()).await;
        assert_eq!(failing().await, expected);
    }
    world.upstream.script(Script::EndEarly(vec!["one "]));
    let mut body = world.completion();
    body["stream"] = true.into();
    assert!(world.post("/v2/code/completions", &body).await.text().await.is_err());
    while failing().await == none {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    world.upstream.script(Script::Say("x".into()));
    assert!(world.post("/v2/code/completions", &body).await.text().await.is_ok());
    while failing().await != none {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_client_of_17_10_that_names_no_identifier_gets_the_only_declared_model_of_its_family() {
    let (world, _folder) = world().await;
    let mut old = world.completion();
    old.as_object_mut().unwrap().remove("model_identifier");
    assert_eq!(world.post("/v2/code/completions", &old).await.status(), 200);
    assert_eq!(world.upstream.last().body["model"], "the-model");
    let mut blank = json!({"inputs": {}, "model_metadata": world.metadata("mistral")});
    blank["model_metadata"]["identifier"] = "".into();
    assert_eq!(world.post("/v1/prompts/model_configuration%2Fcheck", &blank).await.status(), 200);
    old["model_name"] = "gpt".into();
    let refused = world.post("/v2/code/completions", &old).await;
    assert_eq!(refused.status(), 422);
    let text = refused.json::<Value>().await.unwrap()["detail"][0]["msg"].as_str().unwrap().to_owned();
    assert!(text.contains("custom_openai/<model name>"), "the cure: {text}");
}
