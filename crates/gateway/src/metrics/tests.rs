use super::*;

#[test]
fn official_names_are_exported() {
    let metrics = Metrics::default();
    metrics.http("/v2/code/completions", &http::Method::POST, 200, Duration::from_millis(3));
    let labels = InferenceLabels {
        model_engine: "bedrock",
        model_name: "mixtral",
        client: metrics.client_labels(&HeaderMap::new()),
        error: "no",
        error_type: "none",
        streaming: "no",
        feature_category: "code_suggestions",
        unit_primitive: "complete_code",
        finish_reason: "stop",
    };
    let usage = Usage { input_tokens: 5, output_tokens: 7, ..Usage::default() };
    metrics.inference(&labels, Duration::from_millis(3), Some(&usage));
    let text = metrics.render().unwrap();
    for expected in [
        "http_request_duration_seconds_bucket{le=\"0.5\",handler=\"/v2/code/completions\",method=\"POST\",status=\"2xx\"} 1",
        "model_inferences_total{model_engine=\"bedrock\",model_name=\"mixtral\",lsp_version=\"unknown\"",
        "inference_request_duration_seconds_count{",
        "inference_input_tokens_total{",
        "inference_output_tokens_total{",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    let model = ModelLabels { model_engine: "bedrock", model_name: "mixtral" };
    let in_flight = |number: u32| {
        let line = format!("model_inferences_in_flight{{model_engine=\"bedrock\",model_name=\"mixtral\"}} {number}\n");
        assert!(metrics.render().unwrap().contains(&line));
    };
    let guard = metrics.begin(&model);
    in_flight(1);
    drop(guard);
    in_flight(0);
}

#[test]
fn whatever_requests_bring_the_export_stays_bounded() {
    let metrics = Metrics::default();
    let usage = Usage { input_tokens: 1, output_tokens: 1, ..Usage::default() };
    for n in 0..20_000_u32 {
        let text = |prefix: &str, n: u32| http::HeaderValue::from_str(&format!("{prefix}{n}")).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-gitlab-version", text("18.", n % 40));
        headers.insert("x-gitlab-language-server-version", text("7.", n / 40 % 40));
        headers.insert("x-gitlab-client-type", text("ide", n / 1600 % 15));
        let model = metrics.names.model_id.value(Some(&format!("m{n}")));
        metrics.inference(
            &InferenceLabels {
                model_engine: metrics.names.engine.value(Some(&format!("e{n}"))),
                model_name: "general",
                client: metrics.client_labels(&headers),
                error: "no",
                error_type: "none",
                streaming: "no",
                feature_category: "c",
                unit_primitive: "u",
                finish_reason: "stop",
            },
            Duration::ZERO,
            Some(&usage),
        );
        let asked = AskedLabels {
            gen_ai_provider_name: "openai",
            gen_ai_operation_name: "chat",
            gen_ai_request_model: model,
            gen_ai_response_model: model,
        };
        let labels = GenAiLabels { asked, error_type: "" };
        metrics.served(&labels, Duration::ZERO, Some(Duration::ZERO), Some(&usage));
        metrics.called(&labels, Duration::ZERO, Some(Duration::ZERO), Some(&usage));
        metrics.spent(SpendLabels { model, feature: "u" }, Some(&usage), Some(("USD", 1)));
        metrics.prompt_language("ruby", &format!("f.{n}"), Some(&format!("l{n}")));
    }
    let text = metrics.render().unwrap();
    assert!(text.len() < 8 << 20, "{} bytes", text.len());
    let sum = |name: &str| -> f64 {
        let values = text.lines().filter(|line| line.starts_with(name));
        values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    };
    assert_eq!(sum("model_inferences_total{"), 20_000.0, "nothing is lost");
    assert_eq!(sum("gen_ai_server_request_duration_seconds_count{"), 20_000.0);
    assert_eq!(sum("duo_gateway_input_tokens_total{"), 20_000.0);
}
