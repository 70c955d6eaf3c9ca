//! Declared models: what a mounted configuration allows.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Key, Script, World, config_folder};

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

/// A token as the operator makes them.
fn operators(audience: &str, model: &str, life: i64) -> String {
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({"aud": audience, "sub": model, "iat": now, "exp": now + life});
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(Key::number(1, "").pem.as_bytes()).unwrap();
    jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256), &claims, &key).unwrap()
}

const CHECKS: &str = "duo-gateway/models/check";

#[tokio::test]
async fn the_operator_and_nobody_else_has_a_model_checked_with_a_users_time() {
    let slot = std::sync::Mutex::new(None);
    let world = World::with(Script::Say("x".into()), |settings, issuer, upstream| {
        let folder = config_folder(
            &format!("{CONFIG}signingKeyFile: signing\n"),
            issuer,
            upstream,
            &[("key", "k"), ("signing", &Key::number(1, "").pem)],
        );
        settings.config_file = Some(folder.path().join("config.yaml"));
        *slot.lock().unwrap() = Some(folder);
    })
    .await;
    let admin = |path: &str| format!("http://{}/{path}", world.gateway.metrics_addr());
    let ask = async |token: &str, query: &str| {
        let url = admin(&format!("models/check?{query}"));
        let answer = world.http.post(url).bearer_auth(token).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let models =
        async || world.http.get(admin("models")).send().await.unwrap().json::<Value>().await.unwrap()["models"].clone();
    let good = operators(CHECKS, "vllm", 60);
    for (token, query) in [
        ("", "model=vllm"),
        (good.as_str(), "model=another"),
        (operators("gitlab-ai-gateway", "vllm", 60).as_str(), "model=vllm"),
        (operators(CHECKS, "vllm", 100_000).as_str(), "model=vllm"),
        (operators(CHECKS, "vllm", -1_000).as_str(), "model=vllm"),
    ] {
        assert_eq!(ask(token, query).await.0, 401, "{query}");
    }
    // the operator's token opens nothing else
    let api = world.http.post(world.url("/v2/code/completions")).bearer_auth(&good).json(&world.completion());
    assert_eq!(api.header("X-Gitlab-Authentication-Type", "oidc").send().await.unwrap().status(), 401);
    assert!(world.upstream.received().is_empty());
    assert_eq!(models().await, json!({}));

    // a user's call fails, the check that follows passes, and then nobody is failed
    world.upstream.script(Script::Status(503, vec![], String::new()));
    world.post("/v2/code/completions", &world.completion()).await;
    assert_eq!(models().await["vllm"]["failing"]["class"], "503");
    world.upstream.script(Script::Say("x".into()));
    let (status, body) = ask(&good, "model=vllm&wait_ms=5000").await;
    assert_eq!((status, &body["check"]["outcome"]), (200, &json!("answered")), "{body}");
    assert_eq!(models().await["vllm"].get("failing"), None);
    let sent = world.upstream.last();
    assert!(sent.body["max_tokens"].as_u64().unwrap() <= 16, "{}", sent.body);

    // a feature's own prompt goes to the model: instructions of the chat, and the code that is to be explained
    for (feature, words) in [("duo_chat", "Thought:"), ("duo_chat_explain_code", "puts 1")] {
        let (_, body) = ask(&good, &format!("model=vllm&feature={feature}&wait_ms=5000")).await;
        assert_eq!(body["check"]["outcome"], "answered", "{body}");
        let sent = world.upstream.last().body.to_string();
        assert!(sent.contains(words), "{feature}: {sent}");
    }

    // one that hangs is not waited for, and no second one is begun meanwhile
    let count = world.upstream.received().len();
    world.upstream.script(Script::Silent);
    for query in ["model=vllm&feature=code_completions&wait_ms=50", "model=vllm&feature=code_completions"] {
        let (status, body) = ask(&good, query).await;
        assert_eq!((status, &body["check"]["running"]), (200, &json!(true)), "{body}");
    }
    while world.upstream.received().len() == count {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(world.upstream.received().len(), count + 1);
    assert_eq!(models().await["vllm/code_completions"]["check"]["running"], true);
}
