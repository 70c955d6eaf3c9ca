//! What administrators see of requests: access lines, audit lines, cost, prompts when they want them.

use serde_json::{Value, json};

use crate::support::world::{claims, eventually};
use crate::support::{Script, World, config_folder};

const CONFIG: &str = "
gitlab: {url: $ISSUER}
currency: EUR
$MORE
models:
- name: vllm
  family: mistral
  identifier: custom_openai/the-model
  endpoint: $UPSTREAM
  apiKeyFile: key
  price: {inputPerMillion: '3.00', outputPerMillion: '15', cacheReadPerMillion: '0.3'}
  concurrency: {maxRequests: 7}
";

async fn world(script: Script, more: &str) -> (World, tempfile::TempDir) {
    let slot = std::sync::Mutex::new(None);
    let world = World::with(script, |settings, issuer, upstream| {
        let folder = config_folder(&CONFIG.replace("$MORE", more), issuer, upstream, &[("key", "FOLDERSECRET")]);
        settings.config_file = Some(folder.path().join("config.yaml"));
        *slot.lock().unwrap() = Some(folder);
    })
    .await;
    (world, slot.into_inner().unwrap().unwrap())
}

/// Lines of a type, once there are as many.
async fn lines(world: &World, kind: &str, count: usize) -> Vec<Value> {
    eventually("log lines", || {
        let text = world.logs.text();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let lines: Vec<Value> = lines.filter(|line| line["type"] == kind).collect();
        (lines.len() >= count).then_some(lines)
    })
    .await
}

#[tokio::test]
async fn each_model_request_leaves_an_audit_line_with_who_what_tokens_and_cost_and_no_content() {
    let (world, _folder) = world(Script::Say("puts ANSWERWORD".into()), "logLevel: ERROR").await;
    let mut body = world.completion();
    body["current_file"]["content_above_cursor"] = "PROMPTWORD".into();
    for stream in [false, true] {
        body["stream"] = stream.into();
        let answer = world.post("/v2/code/completions", &body).await;
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        answer.bytes().await.unwrap();
        let audited = lines(&world, "audit", 1 + usize::from(stream)).await;
        let line = audited.iter().find(|line| line["correlation_id"] == id).unwrap();
        let expected = json!({
            "logger": "audit", "message": "Model request", "level": "info", "stage": "main",
            "gitlab_instance_id": crate::support::world::INSTANCE, "gitlab_global_user_id": "user-7",
            "gitlab_host_name": "gitlab.example.com",
            "meta.unit_primitive": "complete_code", "meta.feature_category": "code_suggestions",
            "code_suggestion_type": "completion",
            "model": "vllm", "model_identifier": "custom_openai/the-model",
            "answered_by": "custom_openai/the-model", "fallback": false, "streaming": stream, "upstream_calls": 1,
            "outcome": "answered", "status_code": 200, "finish_reason": "stop",
            "input_tokens": 11, "output_tokens": 7, "cache_read_tokens": 0, "cache_write_tokens": 0,
            // 11 × 3 + 7 × 15 per million
            "cost": 0.000_138, "currency": "EUR",
        });
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&line[field], value, "{field} in {line}");
        }
        assert!(line["inference_duration_s"].as_f64().unwrap() > 0.0);
    }
    let text = world.logs.text();
    assert!(!text.contains("PROMPTWORD") && !text.contains("ANSWERWORD"), "{text}");
    assert!(!text.contains("api.access"), "the audit log does not follow the log level: {text}");
    let metrics = world.metrics().await;
    for line in [
        "duo_gateway_cost_total{currency=\"EUR\",model=\"vllm\",feature=\"complete_code\"} 0.000276\n",
        "duo_gateway_input_tokens_total{model=\"vllm\",feature=\"complete_code\"} 22\n",
        "duo_gateway_output_tokens_total{model=\"vllm\",feature=\"complete_code\"} 14\n",
        "duo_gateway_feature_requests_total{model=\"vllm\",feature=\"complete_code\"} 2\n",
        "model_inferences_max_concurrent{model_engine=\"custom_openai\",model_name=\"mistral\"} 7\n",
        "gen_ai_server_request_duration_seconds_count{gen_ai_provider_name=\"openai\",gen_ai_operation_name=\"chat\",gen_ai_request_model=\"the-model\",gen_ai_response_model=\"the-model\",error_type=\"\"} 2\n",
        "gen_ai_server_time_to_first_token_seconds_count{gen_ai_provider_name=\"openai\",gen_ai_operation_name=\"chat\",gen_ai_request_model=\"the-model\",gen_ai_response_model=\"the-model\",error_type=\"\"} 1\n",
        "gen_ai_client_token_usage_sum{gen_ai_provider_name=\"openai\",gen_ai_operation_name=\"chat\",gen_ai_request_model=\"the-model\",gen_ai_response_model=\"the-model\",gen_ai_token_type=\"input\"} 22.0\n",
        "code_suggestions_prompt_language_total{lang=\"ruby\",extension=\"rb\",editor_lang=\"unknown\"} 2\n",
        "code_suggestions_post_processing_duration_seconds_count 1\n",
        "duo_gateway_overhead_seconds_count{handler=\"/v2/code/completions\"} 2\n",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
}

#[tokio::test]
async fn failed_cancelled_and_refused_requests_are_audited_as_such() {
    let (world, _folder) =
        world(Script::Status(403, vec![], "no".into()), "limits: {perUser: {requestsPerMinute: 1}}").await;
    assert_eq!(world.post("/v2/code/completions", &world.completion()).await.status(), 421);
    let line = lines(&world, "audit", 1).await.remove(0);
    assert_eq!((&line["outcome"], &line["error_class"]), (&json!("failed"), &json!("403")));
    assert_eq!((&line["status_code"], line.get("cost")), (&json!(421), None));

    assert_eq!(world.post("/v2/code/completions", &world.completion()).await.status(), 429);
    let line = lines(&world, "audit", 2).await.remove(1);
    assert_eq!((&line["outcome"], &line["status_code"]), (&json!("refused"), &json!(429)));
    assert!(line["limited_by"].is_string(), "{line}");

    let stalled = World::new(Script::SayAndStall(vec!["a"])).await;
    let mut body = stalled.completion();
    body["stream"] = true.into();
    let mut answer = stalled.post("/v2/code/completions", &body).await;
    answer.chunk().await.unwrap();
    drop(answer);
    let line = lines(&stalled, "audit", 1).await.remove(0);
    assert_eq!((&line["outcome"], &line["model"]), (&json!("cancelled"), &json!("undeclared")));
    let access = stalled.access(1).await.remove(0);
    assert_eq!(access["client_disconnected"], true);
}

#[tokio::test]
async fn the_access_line_says_why_a_request_was_refused_and_how_long_its_parts_took() {
    let world = World::new(Script::Say("x".into())).await;
    let call = world.signed(reqwest::Method::POST, "/v2/code/completions", &claims());
    let call = call.header("x-gitlab-saas-duo-pro-namespace-ids", "1,2").header("x-gitlab-is-team-member", "false");
    call.json(&json!({"current_file": 1})).send().await.unwrap();
    world.post("/v2/code/completions", &world.completion()).await;
    let lines = world.access(2).await;
    let refused = lines.iter().find(|line| line["status_code"] == 422).unwrap();
    assert!(refused["http_exception_details"].as_str().unwrap().contains("current_file"), "{refused}");
    assert_eq!(refused["gitlab_saas_duo_pro_namespace_ids"], "1,2");
    assert_eq!(refused["is_gitlab_team_member"], "false");
    let answered = lines.iter().find(|line| line["status_code"] == 200).unwrap();
    for field in ["duration_s", "response_start_duration_s", "first_chunk_duration_s", "overhead_s", "auth_duration_s"]
    {
        assert!(answered[field].as_f64().is_some(), "{field} in {answered}");
    }
    let seconds = |field: &str| answered[field].as_f64().unwrap();
    assert!(seconds("overhead_s") <= seconds("response_start_duration_s"));
    assert!(seconds("response_start_duration_s") <= seconds("first_chunk_duration_s"));
    assert!(seconds("first_chunk_duration_s") <= seconds("duration_s"));
    assert_eq!(answered["duration_request"], -1.0);
}

#[tokio::test]
async fn prompts_and_answers_are_logged_where_gitlabs_administrator_switched_it_on_and_nowhere_else() {
    let (world, _folder) = world(Script::Say("puts ANSWERWORD".into()), "").await;
    let mut body = world.completion();
    body["current_file"]["content_above_cursor"] = format!("PROMPTWORD FOLDERSECRET {}", "x".repeat(1000)).into();
    for (stream, switch) in [(false, "false"), (true, "true"), (false, "true")] {
        body["stream"] = stream.into();
        let call = world.signed(reqwest::Method::POST, "/v2/code/completions", &claims());
        let call = call.header("x-gitlab-enabled-instance-verbose-ai-logs", switch).json(&body);
        call.send().await.unwrap().bytes().await.unwrap();
        if switch == "false" {
            world.access(1).await;
            assert!(!world.logs.text().contains("PROMPTWORD"));
        }
    }
    let prompts = lines(&world, "prompt", 4).await;
    assert_eq!(prompts.len(), 4);
    for line in &prompts {
        assert_eq!((&line["logger"], &line["model"]), (&json!("prompts"), &json!("vllm")));
        match line["message"].as_str().unwrap() {
            "Prompt" => {
                let text = line["prompt"].to_string();
                assert!(text.contains("PROMPTWORD [masked]"), "{text}");
            }
            _ => assert!(line["answer"].as_str().unwrap().contains("ANSWERWORD"), "{line}"),
        }
    }
    assert!(!world.logs.text().contains("FOLDERSECRET"));
}

#[tokio::test]
async fn the_gateways_own_switch_logs_long_prompts_cut_and_follows_the_configuration() {
    let (world, folder) = world(Script::Say("a".into()), "promptLogging: true").await;
    let mut body = world.completion();
    body["current_file"]["content_above_cursor"] = "x".repeat(90_000).into();
    assert_eq!(world.post("/v2/code/completions", &body).await.status(), 200);
    let line = lines(&world, "prompt", 1).await.remove(0);
    let text = line.to_string();
    assert!(text.len() < 80_000, "{} bytes", text.len());
    assert!(text.contains("bytes in all]"));

    let config = folder.path().join("config.yaml");
    let off = std::fs::read_to_string(&config).unwrap().replace("promptLogging: true", "");
    let before = world.hash().await;
    std::fs::write(&config, off).unwrap();
    while world.hash().await == before {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let count = lines(&world, "prompt", 2).await.len();
    assert_eq!(world.post("/v2/code/completions", &body).await.status(), 200);
    world.access(2).await;
    assert_eq!(lines(&world, "prompt", 2).await.len(), count);
}
