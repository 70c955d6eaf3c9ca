//! No secret, no prompt and no answer in any log line, audit line, error, metric or trace, at any level and from any
//! library.

use serde_json::json;

use crate::support::collector::Collector;
use crate::support::world::TRACED;
use crate::support::{Key, Script, World, config_folder};

const CONFIG: &str = "
gitlab: {url: $ISSUER}
undeclaredModels: Allow
signingKeyFile: signing
providers: {bedrock: {region: us-east-1, endpoint: 'http://127.0.0.1:9', credentials: true}}
models:
- {name: vllm, family: mistral, identifier: custom_openai/the-model, endpoint: $UPSTREAM, apiKeyFile: key}
";

#[tokio::test]
async fn logs_errors_metrics_and_traces_hold_no_secret_no_prompt_and_no_answer() {
    let signing = Key::number(2, "").pem;
    let collector = Collector::start().await;
    let slot = std::sync::Mutex::new(None);
    let world = World::with(Script::Say("ANSWER-OF-THE-MODEL".into()), |settings, issuer, upstream| {
        let files = [
            ("key", "FOLDERSECRET"),
            ("signing", signing.as_str()),
            ("AWS_ACCESS_KEY_ID", "AKIAFOLDERSECRET"),
            ("AWS_SECRET_ACCESS_KEY", "AWSFOLDERSECRET"),
            ("AWS_SESSION_TOKEN", "SESSIONFOLDERSECRET"),
        ];
        let folder = config_folder(CONFIG, issuer, upstream, &files);
        settings.config_file = Some(folder.path().join("config.yaml"));
        settings.custom_models.extra_headers = vec![("x-extra".parse().unwrap(), "EXTRASECRET".parse().unwrap())];
        settings.logging.level = tracing::Level::TRACE;
        settings.telemetry.url = Some(collector.url.clone());
        settings.telemetry.headers.insert("authorization", "COLLECTORSECRET".parse().unwrap());
        *slot.lock().unwrap() = Some(folder);
    })
    .await;
    let mut texts = Vec::new();
    let mut body = world.completion();
    body["current_file"]["content_above_cursor"] = "PROMPT-OF-THE-USER-WHO-TYPES-A-LOT".into();
    body["model_api_key"] = "sk-REQUESTSECRET".into();
    assert_eq!(world.post("/v2/code/completions", &body).await.status(), 200);
    body["stream"] = true.into();
    assert_eq!(world.post("/v2/code/completions", &body).await.status(), 200);

    // a server that repeats what it was sent
    let echo = json!({"error": {"message": "bad key FOLDERSECRET in PROMPT-OF-THE-USER-WHO-TYPES-A-LOT and so on and so forth"}});
    for status in [400, 401, 500] {
        world.upstream.script(Script::Status(status, vec![], echo.to_string()));
        let answer = world.post("/v2/code/completions", &body).await;
        texts.push(format!("{:?}", answer.headers()));
        texts.push(answer.text().await.unwrap());
    }
    // the same words where an answer was due: in a 200, in a stream, and a key that looks like none
    let echo = json!({"error": {"code": 400, "message":
        "FOLDERSECRET said PROMPT-OF-THE-USER-WHO-TYPES-A-LOT and so on"}});
    let stream = |event: &serde_json::Value| format!("data: {event}\n\n");
    let text = json!({"choices": [{"index": 0, "delta": {"content": "a"}}]});
    for (streamed, answer) in [(false, echo.to_string()), (true, stream(&echo)), (true, stream(&text) + &stream(&echo))]
    {
        world.upstream.script(Script::Status(200, vec![("content-type", "text/event-stream")], answer));
        body["stream"] = streamed.into();
        let answer = world.post("/v2/code/completions", &body).await;
        texts.push(answer.text().await.unwrap_or_default());
    }
    body["model_identifier"] = "bedrock/mistral.mixtral-8x7b-instruct-v0:1".into();
    let answer = world.post("/v2/code/completions", &body).await;
    assert_eq!(answer.status(), 503);
    texts.push(answer.text().await.unwrap());
    body["model_endpoint"] = "http://user:URLSECRET@127.0.0.1:9/v1".into();
    body["model_identifier"] = "custom_openai/the-model".into();
    texts.push(world.post("/v2/code/completions", &body).await.text().await.unwrap());
    body["prompt_version"] = "PROMPT-OF-THE-USER-WHO-TYPES-A-LOT".into();
    texts.push(world.post("/v2/code/completions", &body).await.text().await.unwrap());
    world.access(11).await;

    texts.extend([world.metrics().await, world.hash().await.to_string()]);
    let token = world.key.sign(&crate::support::claims());
    let World { gateway, logs, .. } = world;
    gateway.stop().await;
    let lines = logs.text();
    assert!(lines.contains("\"type\":\"audit\""), "{lines}");
    texts.push(lines);
    let spans: Vec<String> = collector.spans().iter().map(|span| format!("{span:?}")).collect();
    assert!(spans.len() > 10, "{} spans", spans.len());
    texts.extend(spans);
    let signature = token.rsplit('.').next().unwrap().to_owned();
    let key_line = signing.lines().nth(3).unwrap().to_owned();
    for text in &texts {
        for secret in [
            "FOLDERSECRET",
            "REQUESTSECRET",
            "EXTRASECRET",
            "URLSECRET",
            "COLLECTORSECRET",
            "PROMPT-OF-THE-USER-WHO-TYPES-A-LOT",
            "ANSWER-OF-THE-MODEL",
            "eyJ",
            &signature,
            &key_line,
        ] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    // this program's own lines at every level; libraries are silenced below warnings in the real process
    let own: Vec<String> =
        TRACED.text().lines().filter(|line| line.contains("\"logger\":\"duo_gateway")).map(str::to_owned).collect();
    assert!(!own.is_empty());
    for line in own {
        assert!(!line.contains("SECRET") && !line.contains("PROMPT-OF"), "{line}");
    }
}
