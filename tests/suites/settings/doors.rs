//! Each platform's door as the settings choose it: Azure's versions, servers that fill gaps, FIPS, prompt caches, Vertex
//! AI, and how long a stop still lets people in.

use duo_e2e::{Options, World};
use duo_sim::gitlab::{Ask, What};
use duo_sim::openai;
use kube::api::{Api, DeleteParams};
use serde_json::{Value, json};

use crate::neighbours::{proxy, recorder};
use crate::scene::{change, complete, completes, data, declare, hash, on, on_bedrock, statuses, vllm, world};

const MODEL: &str = "SelfHostedModel";
/// An RSA key: one that the operator made for the gateway does for a service account, too.
async fn rsa(world: &World) -> String {
    let api: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(world.client.clone(), &world.namespace);
    loop {
        let secret = api.get_opt("duo-credentials").await.expect("the API server answers");
        match secret.and_then(|secret| secret.data?.remove("signing-key.pem")) {
            Some(key) => return String::from_utf8(key.0).expect("PEM"),
            None => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
}

/// Paths of the calls of a server, the newest last.
fn paths(server: &openai::Handle) -> Vec<String> {
    server.journal().calls().into_iter().map(|call| call.path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_is_asked_by_the_version_that_is_declared_or_by_none() {
    let world = world(Options::default(), &json!({})).await;
    let key = "azure-key-0123456789abcdef";
    let azure = openai::start(openai::Config {
        azure: true,
        api_keys: vec![key.into()],
        served_model_names: vec!["gpt-4o".to_owned()],
        ..openai::Config::default()
    })
    .await
    .expect("an Azure OpenAI");
    data(&world, "Secret", "azure", &[("key", key)]).await;
    let spec = json!({
        "platform": "AzureOpenAI", "family": "GPT", "identifier": "azure/gpt-4o", "endpoint": azure.base_url(),
        "apiKeySecretRef": {"name": "azure", "key": "key"},
    });
    declare(&world, "code", &spec, &["CodeCompletions"]).await;
    completes(&world).await;
    assert!(paths(&azure).iter().all(|path| path == "/openai/v1/chat/completions"), "{:?}", paths(&azure));

    change(&world, MODEL, "code", &json!({"connection": {"apiVersion": "2024-10-21"}})).await;
    completes(&world).await;
    let last = paths(&azure).pop().expect("a call");
    assert_eq!(last, "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21");
    world.no_secret_is_told(&[key.to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_go_to_the_api_that_is_declared() {
    let (world, server) = (world(Options::default(), &json!({})).await, vllm().await);
    declare(&world, "code", &on(&server, &json!({"family": "Codestral"})), &["CodeCompletions"]).await;
    for (api, path) in
        [("Completions", "/v1/completions"), ("Suffix", "/v1/completions"), ("Chat", "/v1/chat/completions")]
    {
        change(&world, MODEL, "code", &json!({"connection": {"completionApi": api}})).await;
        completes(&world).await;
        let last = server.journal().calls().pop().expect("a call");
        assert_eq!(last.path, path, "{api}");
        assert_eq!(last.request["suffix"].is_string(), api == "Suffix", "{:#}", last.request);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fips_is_another_host() {
    let world = world(Options::default(), &json!({})).await;
    declare(&world, "code", &on_bedrock(&json!({})), &["CodeCompletions"]).await;
    completes(&world).await;
    // The host is a public one: whoever is asked the way there sees its name.
    let way = proxy().await;
    let fips = json!({"spec": {
        "providers": {"bedrock": {"endpoint": null, "fips": true}},
        "proxy": {"httpsProxy": format!("http://{}", way.addr)},
    }});
    let before = hash(&world).await;
    world.patch("AIGateway", "duo", fips).await.expect("the change is admitted");
    world
        .until("AIGateway", "duo", "another configuration served", |gateway| {
            gateway["status"]["configHash"].as_str() != Some(&before)
                && duo_e2e::wait::condition(gateway, "ConfigAccepted").0 == "True"
        })
        .await;
    let refused = complete(&world).await;
    assert!(!refused.ok && statuses(&refused).contains(&503), "{refused:#?}");
    assert!(way.seen.has("CONNECT bedrock-runtime-fips.us-east-1.amazonaws.com:443"), "{:?}", way.seen.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn long_beginnings_are_kept_by_the_providers_cache_unless_that_is_switched_off() {
    let world = world(Options::default(), &json!({})).await;
    let claude = json!({"family": "Claude", "identifier": "bedrock/us.anthropic.claude-sonnet-4-20250514-v1:0"});
    declare(&world, "code", &on_bedrock(&claude), &["CodeCompletions", "CodeGenerations"]).await;
    let marked = async |world: &World| {
        let ask = Ask { above: "# a line of a long file\n".repeat(2000), ..Ask::default() };
        let outcome = world.gitlab.ask(What::CodeGeneration, &ask).await;
        assert!(outcome.ok, "{outcome:#?}\n{}", world.log_tail());
        world.bedrock.journal().calls().pop().expect("a call").request.to_string().contains("cachePoint")
    };
    assert!(marked(&world).await);
    change(&world, MODEL, "code", &json!({"promptCaching": false})).await;
    assert!(!marked(&world).await);
    change(&world, MODEL, "code", &json!({"promptCaching": true})).await;
    assert!(marked(&world).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_on_vertex_ai_answer_with_the_service_accounts_token() {
    let world = world(Options::default(), &json!({})).await;
    let token = "ya29.vertex-access-token";
    let google = recorder("application/json", json!({"access_token": token, "expires_in": 3599}).to_string()).await;
    let gpt = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "puts 'gpt'"},
                                     "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}});
    let claude = json!({"type": "message", "role": "assistant", "stop_reason": "end_turn",
                        "content": [{"type": "text", "text": "puts 'claude'"}],
                        "usage": {"input_tokens": 1, "output_tokens": 2}});
    let (gpt, claude) =
        (recorder("application/json", gpt.to_string()).await, recorder("application/json", claude.to_string()).await);
    let key = json!({
        "type": "service_account", "project_id": "company-ai", "private_key_id": "k", "private_key": rsa(&world).await,
        "client_email": "duo@company-ai.iam.gserviceaccount.com", "token_uri": format!("http://{}/token", google.addr),
    });
    data(&world, "Secret", "vertex", &[("key.json", &key.to_string())]).await;
    let settings = json!({"providers": {"vertexAI": {
        "project": "company-ai", "location": "europe-west1", "endpoint": format!("http://{}", gpt.addr),
        "credentialsSecretRef": {"name": "vertex", "key": "key.json"},
    }}});
    world.patch("AIGateway", "duo", json!({ "spec": settings })).await.expect("the change is admitted");
    let spec = json!({"platform": "VertexAI", "family": "GPT", "identifier": "vertex_ai/openai/gpt-oss-120b-maas"});
    declare(&world, "code", &spec, &["CodeCompletions"]).await;
    assert!(completes(&world).await.text.contains("gpt"));
    let asked = gpt.seen.all().pop().expect("a call").to_lowercase();
    assert!(asked.starts_with("post /v1/projects/company-ai/locations/europe-west1/endpoints/openapi/"), "{asked}");
    assert!(asked.contains(&format!("authorization: bearer {token}")), "{asked}");
    assert!(google.seen.has("assertion="), "{:?}", google.seen.all());

    // A place of its own, by the door of another publisher.
    let own = json!({
        "family": "Claude", "identifier": "vertex_ai/claude-sonnet-4@20250514",
        "connection": {"region": "us-east5", "endpoint": format!("http://{}", claude.addr)},
    });
    change(&world, MODEL, "code", &own).await;
    assert!(completes(&world).await.text.contains("claude"));
    let asked = claude.seen.all().pop().expect("a call");
    let path = "/locations/us-east5/publishers/anthropic/models/claude-sonnet-4@20250514:rawPredict";
    assert!(asked.lines().next().unwrap_or_default().contains(path), "{asked}");
    assert_eq!(google.seen.all().len(), 1, "one token for both");
    world.no_secret_is_told(&[token.to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_key_of_vertex_ai_is_told_and_takes_no_other_model_with_it() {
    let (world, server) = (world(Options::default(), &json!({})).await, vllm().await);
    declare(&world, "code", &on(&server, &json!({})), &["CodeCompletions"]).await;
    completes(&world).await;
    let served = hash(&world).await;
    data(
        &world,
        "Secret",
        "vertex",
        &[("key.json", "{\"type\": \"service_account\", \"private_key\": \"word-of-a-key\"")],
    )
    .await;
    let settings = json!({"providers": {"vertexAI": {
        "project": "company-ai", "location": "europe-west1",
        "credentialsSecretRef": {"name": "vertex", "key": "key.json"},
    }}});
    world.patch("AIGateway", "duo", json!({ "spec": settings })).await.expect("the change is admitted");
    let object = world
        .until("AIGateway", "duo", "the key is refused", |gateway| {
            let (status, _, message) = duo_e2e::wait::condition(gateway, "ConfigAccepted");
            status != "True" && message.contains("not a JSON object")
        })
        .await;
    let (_, _, message) = duo_e2e::wait::condition(&object, "ConfigAccepted");
    for word in ["credentialsSecretRef", "vertex", "key.json", "gcloud iam service-accounts keys create"] {
        assert!(message.contains(word), "{word} is not told: {message}");
    }
    assert_eq!(duo_e2e::wait::condition(&object, "Stalled").1, "SecretInvalid", "{object:#}");
    // The pods keep what they served, and go on.
    assert_eq!(hash(&world).await, served);
    completes(&world).await;
    world.no_secret_is_told(&["word-of-a-key".to_owned()]).await;
    let key = json!({
        "type": "service_account", "private_key": rsa(&world).await, "client_email": "duo@c.iam.gserviceaccount.com",
    });
    data(&world, "Secret", "vertex", &[("key.json", &key.to_string())]).await;
    world.until_ready("AIGateway", "duo").await;
    completes(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_stops_goes_on_accepting_for_the_drain_period() {
    let (world, server) = (world(Options::default(), &json!({"drainPeriod": "1s"})).await, vllm().await);
    declare(&world, "code", &on(&server, &json!({})), &["CodeCompletions"]).await;
    let grace = world.pod_template().await["spec"]["terminationGracePeriodSeconds"].clone();
    assert_eq!(grace, Value::from(1 + 600 + 10));
    change(&world, "AIGateway", "duo", &json!({"drainPeriod": "7s"})).await;
    let grace = world.pod_template().await["spec"]["terminationGracePeriodSeconds"].clone();
    assert_eq!(grace, Value::from(7 + 600 + 10));
    let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(world.client.clone(), &world.namespace);
    for pod in api.list(&Default::default()).await.expect("Pods").items {
        let name = pod.metadata.name.unwrap_or_default();
        let _ = api.delete(&name, &DeleteParams::default()).await;
    }
    let told = "\"seconds\":7.0";
    world.eventually("a pod drains", || world.gateway_logs().iter().any(|(_, log)| log.contains(told))).await;
    // The pod that takes its place is ready a little later.
    while !complete(&world).await.ok {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}
