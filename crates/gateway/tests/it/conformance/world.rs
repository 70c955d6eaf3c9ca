//! The server that the suite asks, and how it is asked.

use std::sync::Mutex;
use std::time::Duration;

use duo_gateway::MAX_BODY;
use http::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::document::Operation;
use super::recipes::Recipe;
use crate::support::{Key, Script, World, claims, config_folder};

/// What examples of the description name as their model server.
const EXAMPLE_ENDPOINT: &str = "http://vllm.models.svc:8000/v1";

/// Declares the models of the examples, so that requests without an identifier find them, and allows others.
const CONFIG: &str = "
gitlab: {url: $ISSUER}
undeclaredModels: Allow
models:
- {name: a, family: mixtral, identifier: custom_openai/mixtral, endpoint: $UPSTREAM}
- {name: b, family: codestral, identifier: custom_openai/codestral, endpoint: $UPSTREAM}
- {name: c, family: embedding, identifier: custom_openai/embedding, endpoint: $UPSTREAM}
";

/// Every unit primitive that an operation may ask for.
pub fn everything() -> Value {
    let mut claims = claims();
    claims["scopes"] = json!([
        "complete_code",
        "generate_code",
        "duo_chat",
        "explain_code",
        "documentation_search",
        "generate_embeddings_codebase",
        "include_file_context",
        "include_snippet_context",
        "include_merge_request_context",
        "include_issue_context",
        "include_dependency_context",
        "include_local_git_context",
        "include_terminal_context",
        "include_repository_context",
        "include_directory_context",
        "include_os_information_context",
        "include_agent_user_environment_context",
    ]);
    claims
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn lines(&self) -> Result<Vec<Value>, String> {
        let text = self.text();
        if !text.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        text.lines().map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))).collect()
    }
}

/// The suite's world; the folder lives as long as it.
pub async fn world(script: Script) -> (World, TempDir) {
    with(script, Recipe::Plain).await
}

async fn with(script: Script, recipe: Recipe) -> (World, TempDir) {
    let folder = Mutex::new(None);
    let world = World::with(script, |settings, issuer, upstream| {
        // a port that nobody listens on
        let gitlab = if recipe == Recipe::NoKeys { "http://127.0.0.1:9" } else { issuer };
        let made = config_folder(CONFIG, gitlab, upstream, &[]);
        settings.config_file = Some(made.path().join("config.yaml"));
        if recipe != Recipe::NoSigningKey {
            settings.signing_key = Some(duo_gateway::secret::Secret::new(Key::number(1, "").pem));
        }
        if recipe == Recipe::SlowBody {
            settings.limits.body_pause = Duration::from_millis(100);
        }
        *folder.lock().unwrap() = Some(made);
    })
    .await;
    (world, folder.into_inner().unwrap().unwrap())
}

/// What the model server says so that every operation has something to answer.
pub fn saying() -> Script {
    Script::Say("Final Answer: puts 'hello'".into())
}

/// An example with the world's own model server.
pub fn localised(world: &World, example: &Value) -> Value {
    serde_json::from_str(&example.to_string().replace(EXAMPLE_ENDPOINT, &world.upstream.url)).unwrap()
}

/// Brings a recipe's status about in a world of its own: failing calls of one case must not decide another.
pub async fn ask(operation: &Operation, recipe: Recipe) -> Answer {
    let script = match recipe {
        Recipe::Upstream(429) => Script::Status(429, vec![("retry-after", "3")], "{}".into()),
        Recipe::Upstream(status) => {
            Script::Status(status, vec![], json!({"error": {"message": "it says no"}}).to_string())
        }
        Recipe::UpstreamHtml => Script::Status(200, vec![("content-type", "text/html")], "<html>".into()),
        _ => saying(),
    };
    let (world, _folder) = with(script, recipe).await;
    let mut body = operation.body.as_ref().map(|(_, example)| localised(&world, example));
    let mut claims = everything();
    let mut path = operation.path.clone();
    match recipe {
        Recipe::NoScope => claims["scopes"] = json!([]),
        Recipe::Unknown => path = format!("{}/nothing_of_that_name", path.rsplit_once('/').unwrap().0),
        Recipe::BadVersion => body.as_mut().unwrap()["prompt_version"] = "^99.0.0".into(),
        Recipe::AnotherRole => body.as_mut().unwrap()["messages"][0]["agent_scratchpad"] = json!([]),
        Recipe::Stream => set_stream(body.as_mut().unwrap()),
        Recipe::CutBody => return raw(&world, &path, 100, true).await,
        Recipe::SlowBody => return raw(&world, &path, 100, false).await,
        // a client that sends all of it may meet the closed connection before it reads the answer
        Recipe::HugeBody => return raw(&world, &path, MAX_BODY + 1, false).await,
        _ => {}
    }
    let request = match (recipe, operation.signed) {
        (Recipe::NoToken, _) | (_, false) => world.bare(operation.method.clone(), &path),
        _ => world.signed(operation.method.clone(), &path, &claims),
    };
    let request = match recipe {
        Recipe::NotJson => request.header("content-type", "application/json").body("{"),
        _ => match body {
            Some(body) => request.json(&body),
            None => request,
        },
    };
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer { status, headers, body: answer.bytes().await.unwrap().to_vec() }
}

/// Wherever the endpoint has its switch.
fn set_stream(body: &mut Value) {
    match body.pointer_mut("/prompt_components/0/payload/stream") {
        Some(stream) => *stream = true.into(),
        None => body["stream"] = true.into(),
    }
}

/// A body that is declared longer than what is sent of it.
async fn raw(world: &World, path: &str, length: usize, cut: bool) -> Answer {
    let request = world.signed(reqwest::Method::POST, path, &everything()).build().unwrap();
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    );
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    let mut connection = tokio::net::TcpStream::connect(world.gateway.api_addr()).await.unwrap();
    connection.write_all(format!("{head}\r\n{{\"half\":").as_bytes()).await.unwrap();
    if cut {
        connection.shutdown().await.unwrap();
    }
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes).await.unwrap();
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Answer { status: 0, headers: HeaderMap::new(), body: bytes.to_vec() };
    };
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok()).unwrap_or(0);
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (http::HeaderName::try_from(name).unwrap(), http::HeaderValue::try_from(value).unwrap()))
        .collect();
    Answer { status, headers, body: body.as_bytes().to_vec() }
}
