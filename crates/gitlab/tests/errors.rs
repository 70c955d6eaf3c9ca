//! Each way a call can fail, by its category, with GitLab's words and without any secret.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use duo_gitlab::{ApiToken, Client, ClientConfig, Error, ModelInput, ModelProvider, Shared, Source, Token};
use serde_json::json;
use support::{Answer, Script, TOKEN, client, config, metadata, schema};

fn model(api_token: ApiToken) -> ModelInput {
    ModelInput {
        name: "m".into(),
        family: "claude_3".into(),
        endpoint: None,
        identifier: Some("bedrock/x".into()),
        provider: ModelProvider::Bedrock,
        api_token,
    }
}

fn raw(status: u16, headers: Vec<(&'static str, &str)>, body: &str) -> Answer {
    Answer::Raw(status, headers.into_iter().map(|(n, v)| (n, v.to_owned())).collect(), body.into())
}

#[tokio::test]
async fn http_answers_become_categories_with_gitlabs_words() {
    let html = "<html><body>Sign in</body></html>";
    let errors = |m: &str| json!({ "errors": [{ "message": m }] }).to_string();
    let cases: Vec<(Answer, &str, &str, bool)> = vec![
        (raw(401, vec![], &errors("Invalid token")), "TokenInvalid", "Invalid token", false),
        (
            raw(403, vec![], &errors("API not accessible for user")),
            "AccessForbidden",
            "API not accessible for user",
            false,
        ),
        (raw(422, vec![], &errors("Query too large")), "SchemaMismatch", "Query too large", false),
        (raw(429, vec![("retry-after", "17")], "Retry later"), "RateLimited", "17 s", true),
        (raw(500, vec![], &errors("Internal server error")), "ServerError", "Internal server error", true),
        (raw(502, vec![("content-type", "text/html")], html), "ServerError", "502", true),
        (raw(503, vec![], &errors("Timeout on validation")), "ServerError", "503", true),
        (raw(404, vec![("content-type", "text/html")], html), "UnexpectedStatus", "404", false),
        (raw(200, vec![("content-type", "text/html; charset=utf-8")], html), "NotGraphQL", "HTML page", true),
        (raw(200, vec![], "{\"data\":"), "NotGraphQL", "invalid JSON", true),
        (raw(200, vec![], "{}"), "NotGraphQL", "neither data nor errors", true),
        (raw(200, vec![], "{\"data\":{\"metadata\":{\"version\":7}}}"), "UnexpectedAnswer", "unexpected form", false),
        (raw(200, vec![], "{\"data\":{\"metadata\":null}}"), "TokenInvalid", "anonymous", false),
        (
            raw(302, vec![("location", "https://sso.example.com/login?t=1")], ""),
            "Redirected",
            "https://sso.example.com;",
            false,
        ),
        (raw(301, vec![("location", "/users/sign_in")], ""), "Redirected", "http://127.0.0.1", false),
    ];
    for (answer, category, words, transient) in cases {
        let gitlab = Script::default().then(answer).client().await;
        let error = gitlab.metadata().await.unwrap_err();
        assert_eq!(error.category(), category, "{error}");
        assert_eq!(error.is_transient(), transient, "{error}");
        assert!(error.to_string().contains(words), "{error} lacks {words}");
    }
}

#[tokio::test]
async fn rate_limits_say_when_to_come_back() {
    let gitlab = Script::default().then(raw(429, vec![("retry-after", "17")], "")).client().await;
    let error = gitlab.metadata().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(17)));
    let gitlab = Script::default().then(raw(503, vec![("retry-after", "5")], "")).client().await;
    assert_eq!(gitlab.metadata().await.unwrap_err().retry_after(), Some(Duration::from_secs(5)));
}

#[tokio::test]
async fn a_gitlab_that_is_away_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let error = client(&format!("http://{addr}")).metadata().await.unwrap_err();
    assert_eq!(error.category(), "Unreachable");
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
    let error = client("http://no-such-host.invalid").metadata().await.unwrap_err();
    assert_eq!(error.category(), "Unreachable", "{error}");
}

#[tokio::test]
async fn a_gitlab_that_does_not_answer_times_out() {
    let url = Script::default().then(Answer::Never).serve().await;
    let config = ClientConfig { request_timeout: Duration::from_millis(300), ..config(&url) };
    let error = Client::new(config).unwrap().metadata().await.unwrap_err();
    assert!(matches!(error, Error::Timeout { operation: "DuoMetadata", .. }), "{error}");
    assert!(error.is_transient() && error.outcome_unknown());
}

#[tokio::test]
async fn oversized_answers_are_cut_with_and_without_a_length() {
    let big = format!("{{\"data\":{{\"metadata\":{{\"version\":\"{}\"}}}}}}", "9".repeat(5 << 20));
    let gitlab = Script::default().then(raw(200, vec![], &big)).client().await;
    assert_eq!(gitlab.metadata().await.unwrap_err().category(), "AnswerTooLarge");
    // chunked: no length is announced
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let router = axum::Router::new().fallback(async || {
        let chunks = futures::stream::iter((0..6).map(|_| Ok::<_, std::io::Error>(" ".repeat(1 << 20))));
        axum::body::Body::from_stream(chunks)
    });
    tokio::spawn(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        sender.send(listener.local_addr().unwrap()).unwrap();
        axum::serve(listener, router).await
    });
    let error = client(&format!("http://{}", receiver.await.unwrap())).metadata().await.unwrap_err();
    assert_eq!(error.category(), "AnswerTooLarge");
}

#[tokio::test]
async fn an_unknown_certificate_names_the_cure_and_the_bundle_cures_it() {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let tls = std::sync::Arc::new(tls);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tls = tls.clone();
            std::thread::spawn(move || serve_one(stream, tls));
        }
    });
    let url = format!("https://localhost:{}", addr.port());
    let error = client(&url).metadata().await.unwrap_err();
    assert_eq!(error.category(), "TLSFailed", "{error}");
    assert!(error.to_string().contains("spec.gitlab.caBundleRef"), "{error}");
    assert!(!error.is_transient());
    let trusting = ClientConfig { ca_bundle_pem: Some(signed.cert.pem().into_bytes()), ..config(&url) };
    let metadata = Client::new(trusting).unwrap().metadata().await.unwrap();
    assert_eq!(metadata.version, "19.5.0");
}

fn serve_one(mut stream: std::net::TcpStream, tls: std::sync::Arc<rustls::ServerConfig>) {
    use std::io::{Read, Write};
    let mut connection = rustls::ServerConnection::new(tls).unwrap();
    let mut stream = rustls::Stream::new(&mut connection, &mut stream);
    let mut request = [0; 4096];
    if stream.read(&mut request).is_err() {
        return;
    }
    let body = metadata("19.5.0").to_string();
    let _gone = write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _gone = stream.flush();
}

#[tokio::test]
async fn bad_configuration_is_refused_before_anything_is_sent() {
    let token = |t: &str| ClientConfig { token: Token::new(t), ..config("http://x") };
    let bundle = |b: &[u8]| ClientConfig { ca_bundle_pem: Some(b.to_vec()), ..config("http://x") };
    let cases = [
        (config("ftp://x"), "spec.gitlab.url"),
        (config("https://user:password@x"), "credentials"),
        (token(" \n"), "tokenSecretRef"),
        (token("a\nb"), "Secret"),
        (bundle(b"not pem"), "spec.gitlab.caBundleRef"),
        (bundle(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "spec.gitlab.caBundleRef"),
    ];
    for (config, words) in cases {
        let error = Client::new(config).unwrap_err();
        assert_eq!(error.category(), "InvalidConfiguration");
        assert!(error.to_string().contains(words) && !error.to_string().contains("password@"), "{error}");
    }
}

#[tokio::test]
async fn trap_a_coercion_error_echoes_the_api_token_in_extensions() {
    let key = "sk-model-key-value";
    let script = Script::default().json(metadata("19.5.0")).json(schema(true)).json(json!({ "errors": [{
        "message": format!("Variable $input of type AiSelfHostedModelCreateInput! was provided invalid value for model, near {key} and {TOKEN}"),
        "extensions": { "value": { "apiToken": key }, "problems": [] }
    }] }));
    // asked once more whether the schema changed
    let script = script.json(metadata("19.5.0"));
    let gitlab = script.client().await;
    let error = gitlab.create_model(&model(ApiToken::Set(Token::new(key)))).await.unwrap_err();
    assert_eq!(error.category(), "SchemaMismatch");
    for text in [error.to_string(), format!("{error:?}"), format!("{gitlab:?}")] {
        assert!(!text.contains(key) && !text.contains(TOKEN), "{text}");
    }
    assert!(error.to_string().contains("[redacted]"), "{error}");
}

#[tokio::test]
async fn the_token_travels_as_bearer_and_is_printed_nowhere() {
    let script = Script::default().json(metadata("19.5.0"));
    let gitlab = script.client().await;
    gitlab.metadata().await.unwrap();
    let request = script.requests.lock().unwrap()[0].clone();
    assert_eq!(request.headers["authorization"], format!("Bearer {TOKEN}"));
    assert_eq!(request.headers["user-agent"], "test");
    assert!(!format!("{:?}", config("http://x")).contains(TOKEN));
}

#[tokio::test]
async fn payload_errors_are_gitlabs_words() {
    let cases = [
        ("Name has already been taken", "NameTaken"),
        ("Endpoint is blocked: Only allowed schemes are http, https", "Refused"),
    ];
    for (words, category) in cases {
        let payload = json!({ "data": { "aiSelfHostedModelCreate": { "errors": [words], "selfHostedModel": null } } });
        let script = Script::default().json(metadata("19.5.0")).json(schema(true)).json(payload);
        let error = script.client().await.create_model(&model(ApiToken::Keep)).await.unwrap_err();
        assert_eq!(error.category(), category);
        assert!(error.to_string().contains(words) && !error.is_transient(), "{error}");
    }
}

#[tokio::test]
async fn instances_of_one_version_share_one_introspection() {
    let script = Script::default()
        .json(metadata("19.5.0"))
        .json(schema(true))
        .json(metadata("19.5.0"))
        .json(metadata("18.9.0"))
        .json(schema(false));
    let (url, shared) = (script.serve().await, Shared::default());
    let client = || Client::sharing(config(&url), &shared).unwrap();
    let first = client();
    assert!(first.capabilities().await.unwrap().has_model_provider);
    assert!(first.capabilities().await.unwrap().has_model_provider);
    assert!(client().capabilities().await.unwrap().has_model_provider);
    assert!(!client().capabilities().await.unwrap().has_model_provider);
    let introspection = "IntrospectionQuery";
    assert_eq!(script.operations(), ["DuoMetadata", introspection, "DuoMetadata", "DuoMetadata", introspection]);
}

#[tokio::test]
async fn without_introspection_the_probe_and_the_version_decide() {
    let off = json!({ "errors": [{ "message": "Introspection is not allowed" }] });
    let no_provider =
        json!({ "errors": [{ "message": "Field 'provider' doesn't exist on type 'AiSelfHostedModel'" }] });
    let empty = json!({ "data": { "aiSelfHostedModels": { "nodes": [] } } });
    let denied = json!({ "errors": [{ "message": "x", "path": ["aiSelfHostedModels"] }], "data": null });
    for (version, probe, provider) in [
        ("18.11.0-ee", &no_provider, false),
        ("18.11.0-ee", &empty, true),
        ("19.2.0-ee", &denied, true),
        ("18.9.0-pre", &denied, false),
    ] {
        let script = Script::default().json(metadata(version)).json(off.clone()).json(probe.clone());
        let found = script.client().await.capabilities().await.unwrap();
        assert_eq!((found.source, found.has_model_provider), (Source::Version, provider), "{version}");
    }
}

#[tokio::test]
async fn a_failing_introspection_is_not_taken_for_one_that_is_off() {
    let script = Script::default()
        .json(metadata("19.5.0"))
        .then(raw(500, vec![], ""))
        .json(metadata("19.5.0"))
        .json(schema(true));
    let gitlab = script.client().await;
    assert_eq!(gitlab.capabilities().await.unwrap_err().category(), "ServerError");
    assert_eq!(gitlab.capabilities().await.unwrap().source, Source::Introspection);
}

#[tokio::test]
async fn an_upgrade_between_two_calls_is_noticed_and_the_call_repeated_in_the_new_shape() {
    let mismatch = json!({ "errors": [{ "message": "Variable $input of type AiSelfHostedModelCreateInput! was provided invalid value for provider (Expected value to not be null)" }] });
    let created = json!({ "data": { "aiSelfHostedModelCreate": { "errors": [], "selfHostedModel": {
        "id": "gid://gitlab/Ai::SelfHostedModel/1", "name": "m", "model": "claude_3", "endpoint": null, "identifier": "bedrock/x",
        "provider": "BEDROCK", "hasApiToken": false } } } });
    let script = Script::default()
        .json(metadata("18.9.0"))
        .json(schema(false))
        .json(mismatch)
        .json(metadata("19.5.0"))
        .json(schema(true))
        .json(created);
    let gitlab = script.client().await;
    let model = gitlab.create_model(&model(ApiToken::Keep)).await.unwrap();
    assert_eq!(model.provider, Some(ModelProvider::Bedrock));
    let requests = script.requests.lock().unwrap().clone();
    let input = |i: usize| requests[i].body["variables"]["input"].clone();
    assert_eq!(input(2)["endpoint"], "http://bedrockselfhostedmodel.com");
    assert!(input(2).get("provider").is_none());
    assert_eq!((input(5)["endpoint"].clone(), input(5)["provider"].clone()), (json!(null), json!("BEDROCK")));
}

#[tokio::test]
async fn rest_says_what_the_token_is_and_why_it_is_not_enough() {
    let own = json!({ "id": 1, "name": "operator", "scopes": ["api"], "expires_at": "2027-01-31", "active": true, "revoked": false, "user_id": 5 });
    let script = Script::default().json(own).then(raw(
        403,
        vec![],
        r#"{"error":"insufficient_scope","error_description":"The request requires higher privileges than provided by the access token.","scope":"api read_api"}"#,
    ));
    let gitlab = script.client().await;
    let token = gitlab.token_self().await.unwrap();
    assert!(token.may_write() && token.active);
    assert_eq!(token.expires_at.unwrap().to_string(), "2027-01-31");
    assert_eq!(script.requests.lock().unwrap()[0].path, "/api/v4/personal_access_tokens/self");
    let error = gitlab.token_self().await.unwrap_err();
    assert_eq!(error.category(), "TokenLacksRights", "{error}");
}

#[tokio::test]
async fn every_request_is_observed_with_its_result() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let record = seen.clone();
    let script = Script::default().json(metadata("19.5.0")).then(raw(500, vec![], ""));
    let gitlab = script.client().await.with_observer(std::sync::Arc::new(move |call: duo_gitlab::CallOutcome| {
        record.lock().unwrap().push((call.operation, call.result));
    }));
    gitlab.metadata().await.unwrap();
    gitlab.metadata().await.unwrap_err();
    assert_eq!(*seen.lock().unwrap(), [("DuoMetadata", "OK"), ("DuoMetadata", "ServerError")]);
}
