//! Documentation: the index that the administrator makes, the search, and the chat's tool that needs both.

use duo_gateway::docs_index::index_folder;
use serde_json::{Value, json};

use crate::support::world::eventually;
use crate::support::{Script, World, claims, config_folder};

fn docs(pages: &[(&str, &str)]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in pages {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    index_folder(folder.path(), "https://docs.gitlab.com").unwrap().bytes
}

fn question(query: &str) -> Value {
    json!({
        "type": "search-docs", "metadata": {"source": "GitLab EE", "version": "18.9.0"},
        "payload": {"query": query, "page_size": 4},
    })
}

async fn results(world: &World, query: &str) -> Vec<Value> {
    let answer = world.post("/v1/search/gitlab-docs", &question(query)).await;
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    assert!(answer["metadata"]["timestamp"].is_i64() && answer["metadata"]["provider"].is_string(), "{answer}");
    answer["response"]["results"].as_array().unwrap().clone()
}

async fn found(world: &World, query: &str, count: usize) -> Vec<Value> {
    loop {
        let results = results(world, query).await;
        if results.len() == count {
            return results;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn offered(world: &World) -> bool {
    let body = json!({"messages": [{"role": "user", "content": "x"}], "model_metadata": world.metadata("mistral")});
    assert_eq!(world.post("/v2/chat/agent", &body).await.status(), 200);
    world.upstream.last().body.to_string().contains("gitlab_documentation")
}

#[tokio::test]
async fn without_an_index_nothing_is_found_and_the_chat_offers_no_search() {
    let world = World::new(Script::Say("Final Answer: x".into())).await;
    assert!(results(&world, "runners").await.is_empty());
    assert!(!offered(&world).await);
}

#[tokio::test]
async fn an_index_is_searched_offered_to_the_chat_and_loaded_anew_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("docs.index");
    std::fs::write(&file, docs(&[("runners.md", "# Runners\n\n## Register\n\nRegister a runner with its token.")]))
        .unwrap();
    let world = World::with(Script::Say("Final Answer: x".into()), |settings, _, _| {
        settings.docs_index = Some(file.clone());
    })
    .await;
    let result = found(&world, "How are runners registered?", 1).await.remove(0);
    assert_eq!(result["content"], "Register a runner with its token.");
    assert_eq!(result["metadata"]["title"], "Runners");
    assert_eq!(result["metadata"]["heading"], "Register");
    assert_eq!(result["metadata"]["source"], "runners.md");
    assert_eq!(result["metadata"]["url"], "https://docs.gitlab.com/runners/#register");
    assert!(result["id"].as_str().unwrap().parse::<u32>().is_ok());
    assert!(offered(&world).await);
    let metrics = world.metrics().await;
    for line in ["documents 1", "sections 1", "load_failures_total 0"] {
        assert!(metrics.contains(&format!("duo_gateway_docs_index_{line}\n")), "{line} in {metrics}");
    }
    assert!(!metrics.contains("duo_gateway_docs_index_modified_timestamp_seconds 0\n"), "{metrics}");

    // a damaged file leaves the last good one in force
    let bytes = docs(&[("a.md", "squash"), ("b.md", "squash")]);
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let broken = "the documentation index cannot be used";
    eventually("an error in the log", || crate::support::world::TRACED.text().contains(broken).then_some(())).await;
    assert!(offered(&world).await);
    std::fs::write(&file, &bytes).unwrap();
    found(&world, "squash", 2).await;
    let metrics = world.metrics().await;
    assert!(metrics.contains("duo_gateway_docs_index_documents 2\n"), "{metrics}");
    assert!(!metrics.contains("duo_gateway_docs_index_load_failures_total 0\n"), "{metrics}");
}

#[tokio::test]
async fn the_mounted_configuration_names_an_index_and_can_let_go_of_it() {
    let index = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(index.path(), docs(&[("a.md", "squash")])).unwrap();
    let config = |more: &str| format!("gitlab: {{url: $ISSUER}}\nundeclaredModels: Allow\n{more}\n");
    let slot = std::sync::Mutex::new(None);
    let world = World::with(Script::Say("x".into()), |settings, issuer, upstream| {
        let line = format!("docsIndexFile: {}", index.path().display());
        let folder = config_folder(&config(&line), issuer, upstream, &[]);
        settings.config_file = Some(folder.path().join("config.yaml"));
        *slot.lock().unwrap() = Some(folder);
    })
    .await;
    found(&world, "squash", 1).await;
    let folder = slot.into_inner().unwrap().unwrap();
    let config = config("").replace("$ISSUER", &world.issuer.url);
    std::fs::write(folder.path().join("config.yaml"), config).unwrap();
    found(&world, "squash", 0).await;
}

#[tokio::test]
async fn a_search_needs_its_unit_primitive() {
    let world = World::new(Script::Say("x".into())).await;
    let mut less = claims();
    less["scopes"] = json!(["duo_chat"]);
    let request = world.signed(reqwest::Method::POST, "/v1/search/gitlab-docs", &less);
    let answer = request.json(&question("x")).send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"detail": "Unauthorized to search documentations"}));
}

#[tokio::test]
async fn what_was_found_becomes_an_answer() {
    let world = World::new(Script::Say("Press Squash.".into())).await;
    let body = json!({
        "inputs": {"question": "How?", "documents": "CNT-IDX-1: Squash is a button.", "content_id": "ATTRS"},
        "model_metadata": world.metadata("mistral"),
    });
    let answer = world.post("/v1/prompts/chat/documentation_search", &body).await;
    assert_eq!(answer.json::<Value>().await.unwrap(), json!("Press Squash."));
    let sent = world.upstream.last().body.to_string();
    assert!(sent.contains("Squash is a button") && sent.contains("ATTRS") && sent.contains("How?"), "{sent}");
}

#[test]
fn the_program_makes_an_index_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("doc")).unwrap();
    std::fs::write(folder.path().join("doc/a.md"), "# A\ntext").unwrap();
    let output = folder.path().join("docs.index");
    let run = |docs: &str| {
        std::process::Command::new(env!("CARGO_BIN_EXE_duo-gateway"))
            .args(["index-docs", docs, "--output"])
            .arg(&output)
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    let made = run("doc");
    assert!(made.status.success(), "{made:?}");
    assert!(String::from_utf8(made.stdout).unwrap().contains("1 pages, 1 sections"));
    assert!(duo_gateway::docs_index::Index::open(&output).is_ok());
    let failed = run("nowhere");
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8(failed.stderr).unwrap().contains("nowhere"));
}
