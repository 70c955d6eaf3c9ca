//! Model servers that fail, or whose answers are broken in transport or form: each fault of each kind of server on every
//! endpoint. What a fault leads to is settled by its row: a status with a `detail` that names model and cause, or a
//! stream that is visibly broken off. Whatever the row, no key is told.

mod bedrock;
mod embeddings;
mod rows;
mod servers;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Endpoint, Model, Raw, Script, Step, World, claims, config_folder, endpoints};

/// What the client sees.
enum Seen {
    /// The status, and words of the cause.
    Status(u16, &'static str),
    /// 429 with this `Retry-After`.
    Wait(&'static str),
    /// A 200 whose body is broken off, or ends with the chat's error line.
    Broken,
    /// All of it.
    Text(&'static str),
}
use Seen::{Broken, Status, Text, Wait};

/// One fault.
struct Row {
    name: &'static str,
    /// For endpoints that ask for a stream (true), for the others (false), or for all.
    stream: Option<bool>,
    steps: Vec<Step>,
    seen: Seen,
}

fn row(name: &'static str, stream: Option<bool>, steps: Vec<Step>, seen: Seen) -> Row {
    Row { name, stream, steps, seen }
}

/// The models' key, which the servers of these tests repeat wherever they can.
const KEY: &str = "swordfish-4711-key";
/// Each fault is seen as it is: no call is made again, none is held back.
const RULES: &str = "retries: {attempts: 0}, circuitBreaker: {consecutiveFailures: 0}";
/// Time for a call where the fault is that it takes too long, and where it is not.
const SOON: u32 = 3;
const LATE: u32 = 600;

/// A gateway whose only model is on a server made of bytes.
struct Stage {
    world: World,
    raw: Raw,
    model: Model,
    endpoints: Vec<Endpoint>,
    _folder: TempDir,
}

impl Stage {
    /// Every call may take so many seconds; `$UPSTREAM` in the configuration is the server.
    async fn new(seconds: u32, config: &str, files: &[(&str, &str)], model: &Model) -> Self {
        let raw = Raw::start().await;
        let config = format!("gitlab: {{url: $ISSUER}}\nrequestTimeoutSeconds: {seconds}\n{config}");
        let slot = std::sync::Mutex::new(None);
        let world = World::with(Script::Silent, |settings, issuer, _| {
            let files: Vec<_> = files.iter().copied().chain([("key", KEY)]).collect();
            let folder = config_folder(&config, issuer, &raw.url, &files);
            settings.config_file = Some(folder.path().join("config.yaml"));
            *slot.lock().unwrap() = Some(folder);
        })
        .await;
        let model = Model { endpoint: model.endpoint.replace("$UPSTREAM", &raw.url), ..model.clone() };
        let endpoints = endpoints(&world, &model);
        Self { world, raw, model, endpoints, _folder: slot.into_inner().unwrap().unwrap() }
    }

    async fn run(&self, rows: Vec<Row>) {
        let mut wrong = Vec::new();
        for row in rows {
            self.raw.script(row.steps);
            let asked = self.endpoints.iter().filter(|one| row.stream.is_none_or(|stream| one.stream == stream));
            let checks = asked.map(|endpoint| {
                let (name, seen) = (row.name, &row.seen);
                async move { self.check(endpoint, seen).await.err().map(|why| (name, endpoint, why)) }
            });
            for (name, endpoint, why) in futures::future::join_all(checks).await.into_iter().flatten() {
                wrong.push(format!("{name}, {} (stream {}): {why}", endpoint.path, endpoint.stream));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(!self.world.logs.text().contains(KEY), "a key in the log");
    }

    async fn check(&self, endpoint: &Endpoint, expected: &Seen) -> Result<(), String> {
        let mut may = claims();
        may["scopes"].as_array_mut().unwrap().push("generate_embeddings_codebase".into());
        let request = self.world.signed(reqwest::Method::POST, endpoint.path, &may).json(&endpoint.body);
        let mut answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let wait = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let mut bytes = Vec::new();
        let broken = loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        let text = String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
        if text.contains(KEY) {
            return Err(format!("{status} with the key"));
        }
        let detail = || serde_json::from_str::<Value>(&text).unwrap_or_default()["detail"].clone();
        let names = |detail: &Value| detail.as_str().is_some_and(|detail| detail.contains(self.model.identifier));
        let ok = match expected {
            Status(expected, part) => {
                let detail = detail();
                status == *expected && names(&detail) && detail.as_str().unwrap_or_default().contains(part) && !broken
            }
            Wait(seconds) => status == 429 && names(&detail()) && wait.as_deref() == Some(seconds),
            Broken if endpoint.tells_errors() => {
                let last = text.lines().last().unwrap_or_default();
                let line = serde_json::from_str::<Value>(last).unwrap_or_default();
                status == 200 && line["type"] == "error" && names(&line["data"]["message"])
            }
            Broken => status == 200 && broken && !text.contains("stream_end"),
            Text(part) => status == 200 && !broken && text.contains(part),
        };
        let start = text.floor_char_boundary(300);
        if ok { Ok(()) } else { Err(format!("{status} (broken off: {broken}) {}", &text[..start])) }
    }

    /// GitLab's connection check: 421 whatever the server answers, since GitLab shows no other text.
    async fn checked(&self) {
        let body = json!({"inputs": {}, "stream": false, "model_metadata": {
            "provider": "openai", "name": self.model.family, "endpoint": self.model.endpoint,
            "identifier": self.model.identifier,
        }});
        for (steps, begins) in rows::checks() {
            self.raw.script(steps);
            let answer = self.world.post("/v1/prompts/model_configuration%2Fcheck", &body).await;
            let status = answer.status();
            let detail = answer.json::<Value>().await.unwrap()["detail"].as_str().unwrap_or_default().to_owned();
            assert_eq!(status, 421, "{begins}: {detail}");
            assert!(detail.starts_with(begins) && detail.contains(self.model.identifier), "{begins}: {detail}");
            assert!(!detail.contains(KEY), "{detail}");
        }
    }

    /// The server is there no more.
    async fn refused(self) {
        let Self { raw, world, model, endpoints, _folder } = self;
        let address = raw.url.trim_start_matches("http://").to_owned();
        drop(raw);
        while tokio::net::TcpStream::connect(&address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        let stage = Self { raw: Raw::start().await, world, model, endpoints, _folder };
        stage.run(vec![row("refused", None, vec![], Status(503, "unavailable"))]).await;
    }
}
