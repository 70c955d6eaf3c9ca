//! The mounted folder changes under a running gateway.

use std::path::Path;

use duo_gateway_config::folder_hash;
use serde_json::json;
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
        let folder = config_folder(CONFIG, issuer, upstream, &[("key", "first-key")]);
        settings.config_file = Some(folder.path().join("config.yaml"));
        *slot.lock().unwrap() = Some(folder);
    })
    .await;
    (world, slot.into_inner().unwrap().unwrap())
}

/// The hash as the operator computes it over what it rendered.
fn expected(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
    });
    folder_hash(files)
}

async fn until_hash(world: &World, hash: &str) {
    loop {
        if world.hash().await["hash"] == json!(hash) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Replaces a file in one step.
fn replace(folder: &Path, name: &str, text: &str) {
    let beside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(beside.path(), text).unwrap();
    std::fs::rename(beside.path(), folder.join(name)).unwrap();
}

#[tokio::test]
async fn a_new_key_takes_effect_without_a_restart_and_shows_in_the_hash() {
    let (world, folder) = world().await;
    let first = expected(folder.path());
    assert_eq!(world.hash().await, json!({ "hash": first }));
    assert_eq!(world.post("/v2/code/completions", &world.completion()).await.status(), 200);
    assert_eq!(world.upstream.last().headers["authorization"], "Bearer first-key");

    replace(folder.path(), "key", "second-key");
    let second = expected(folder.path());
    assert_ne!(first, second);
    until_hash(&world, &second).await;
    assert_eq!(world.post("/v2/code/completions", &world.completion()).await.status(), 200);
    assert_eq!(world.upstream.last().headers["authorization"], "Bearer second-key");
}

#[tokio::test]
async fn a_bad_configuration_leaves_the_last_good_one_in_force_and_is_told() {
    let (world, folder) = world().await;
    let good = std::fs::read_to_string(folder.path().join("config.yaml")).unwrap();
    let hash = expected(folder.path());
    for (bad, part) in [
        ("gitlab: {}", "url"),
        (
            "gitlab: {url: http://g}\nmodels: [{name: a, family: mistral, identifier: custom_openai/x, endpoint: 'http://e', apiKeyFile: absent}]",
            "absent",
        ),
        ("gitlab: {url: http://g}\nmodels: [{name: a, family: unheard, identifier: bedrock/x}]", "models[0].family"),
        ("gitlab: {url: http://g}\ncaBundleFile: key", "key"),
        ("gitlab: {url: http://g}\nsigningKeyFile: key", "key"),
        ("gitlab: {url: http://g}\nproviders: {bedrock: {region: r, credentials: true}}", "AWS_ACCESS_KEY_ID"),
    ] {
        replace(folder.path(), "config.yaml", bad);
        let told = loop {
            let told = world.hash().await;
            if told["error"].as_str().is_some_and(|text| text.contains(part)) {
                break told;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        assert_eq!(told["hash"], json!(hash), "{bad}");
        assert!(!told.to_string().contains("first-key"), "{told}");
        assert_eq!(world.post("/v2/code/completions", &world.completion()).await.status(), 200, "{bad}");
    }
    assert!(world.metrics().await.contains("duo_gateway_config_reload_failures_total"));
    replace(folder.path(), "config.yaml", &good);
    loop {
        if world.hash().await == json!({ "hash": hash }) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_removed_model_is_refused_from_then_on_and_streams_under_way_go_on() {
    let (world, folder) = world().await;
    world.upstream.script(Script::Stall);
    let body = json!({"messages": [{"role": "user", "content": "x"}], "model_metadata": world.metadata("mistral")});
    let mut stream = world.post("/v2/chat/agent", &body).await;
    assert!(stream.chunk().await.unwrap().is_some());
    replace(folder.path(), "config.yaml", &format!("gitlab: {{url: {}}}", world.issuer.url));
    until_hash(&world, &expected(folder.path())).await;
    assert_eq!(world.post("/v2/code/completions", &world.completion()).await.status(), 422);
    // it was not cut: the next chunk is still waited for
    let waited = tokio::time::timeout(std::time::Duration::from_millis(100), stream.chunk()).await;
    assert!(waited.is_err(), "{waited:?}");
}

#[tokio::test]
async fn the_start_refuses_a_bad_configuration_by_field() {
    let folder = config_folder("gitlab: {url: g}", "", "", &[]);
    let mut settings = crate::support::world::settings("http://127.0.0.1:1");
    settings.config_file = Some(folder.path().join("config.yaml"));
    let sink = duo_gateway::logging::Sink::new(std::io::sink(), true);
    let error = duo_gateway::Gateway::start(settings, sink, None).await.err().unwrap();
    assert!(error.is_configuration());
    assert!(error.to_string().contains("gitlab.url"), "{error}");
}

#[tokio::test]
async fn a_folder_that_is_away_for_a_while_is_told_and_forgotten() {
    let (world, folder) = world().await;
    let away = folder.path().with_extension("away");
    std::fs::rename(folder.path(), &away).unwrap();
    while world.hash().await.get("error").is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(world.post("/v2/code/completions", &world.completion()).await.status(), 200);
    std::fs::rename(&away, folder.path()).unwrap();
    while world.hash().await.get("error").is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_log_level_is_part_of_the_configuration() {
    let (world, folder) = world().await;
    let health = || async { world.http.get(world.url("/monitoring/healthz")).send().await.unwrap().status() };
    assert_eq!(health().await, 200);
    let config = format!("gitlab: {{url: {}}}\nlogLevel: DEBUG", world.issuer.url);
    replace(folder.path(), "config.yaml", &config);
    until_hash(&world, &expected(folder.path())).await;
    assert_eq!(health().await, 200);
    assert_eq!(world.access(1).await.len(), 1, "probes are logged at DEBUG only");
}

#[tokio::test]
async fn without_a_folder_there_is_no_hash() {
    let world = World::new(Script::Say("x".into())).await;
    assert_eq!(world.hash().await, json!({ "hash": null }));
}
