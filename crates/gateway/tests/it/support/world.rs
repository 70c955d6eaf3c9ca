//! A gateway with an issuer and a model server around it.

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex, Once};
use std::time::Duration;

use duo_gateway::Gateway;
use duo_gateway::logging::{Sink, layer};
use duo_gateway::settings::{Listen, Settings};
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt;

use super::{Issuer, Key, Script, Upstream};

/// Collects log lines.
#[derive(Clone, Default)]
pub struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// What all tests of this process log through `tracing`, at every level and from every library.
pub static TRACED: LazyLock<Buffer> = LazyLock::new(Buffer::default);
static INSTALL: Once = Once::new();

pub struct World {
    pub issuer: Issuer,
    pub upstream: Upstream,
    pub gateway: Gateway,
    pub http: reqwest::Client,
    pub logs: Buffer,
    pub key: Key,
}

/// The instance id of the GitLab in these tests.
pub const INSTANCE: &str = "5cb5dd2a-7d4b-4a3c-8d0b-0123456789ab";

/// Claims as Rails makes them, with every unit primitive these tests need.
pub fn claims() -> Value {
    let now = jiff::Timestamp::now().as_second();
    json!({
        "iss": "http://gitlab", "aud": ["gitlab-ai-gateway", "gitlab-duo-workflow-service"], "sub": INSTANCE,
        "gitlab_realm": "self-managed", "iat": now, "nbf": now - 5, "exp": now + 3600, "jti": "j",
        "scopes": [
            "complete_code", "generate_code", "duo_chat", "explain_code", "write_tests", "ask_issue", "ask_commit",
            "documentation_search", "include_file_context", "generate_commit_message",
        ],
    })
}

/// A folder with a configuration; `$ISSUER` and `$UPSTREAM` are filled in, further files are written beside it.
pub fn config_folder(config: &str, issuer: &str, upstream: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = config.replace("$ISSUER", issuer).replace("$UPSTREAM", upstream);
    for (name, content) in files.iter().copied().chain([("config.yaml", text.as_str())]) {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

/// Settings of a gateway on free ports whose GitLab is at `gitlab`.
pub fn settings(gitlab: &str) -> Settings {
    let gitlab = gitlab.to_owned();
    let mut settings = Settings::read(
        move |name| match name {
            "AIGW_GITLAB_URL" => Some(gitlab.clone()),
            "AIGW_CUSTOMER_PORTAL_URL" => Some(String::new()),
            _ => None,
        },
        None,
    )
    .unwrap();
    let free = Listen { host: "127.0.0.1".into(), port: 0 };
    settings.api = free.clone();
    settings.metrics = free;
    settings.drain = Duration::ZERO;
    settings.config_poll = Duration::from_millis(20);
    settings
}

impl World {
    /// A gateway by environment alone: it calls what requests name.
    pub async fn new(script: Script) -> Self {
        Self::with(script, |_, _, _| {}).await
    }

    /// The same with the settings changed; the issuer and the model server are given as URLs.
    pub async fn with(script: Script, change: impl FnOnce(&mut Settings, &str, &str)) -> Self {
        let key = Key::number(0, "kid-0");
        let issuer = Issuer::start(vec![key.clone()]).await;
        let upstream = Upstream::start(script).await;
        let mut settings = settings(&issuer.url);
        change(&mut settings, &issuer.url, &upstream.url);
        INSTALL.call_once(|| {
            let all = tracing_subscriber::registry().with(layer(Sink::new(TRACED.clone(), true)));
            tracing::subscriber::set_global_default(all).unwrap();
        });
        let logs = Buffer::default();
        let gateway = Gateway::start(settings, Sink::new(logs.clone(), true), None).await.unwrap();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { issuer, upstream, gateway, http, logs, key }
    }

    /// A gateway with a mounted folder, which lives as long as the second value.
    pub async fn configured(config: &str, files: &[(&str, &str)], script: Script) -> (Self, tempfile::TempDir) {
        let slot = Mutex::new(None);
        let world = Self::with(script, |settings, issuer, upstream| {
            let folder = config_folder(config, issuer, upstream, files);
            settings.config_file = Some(folder.path().join("config.yaml"));
            *slot.lock().unwrap() = Some(folder);
        })
        .await;
        (world, slot.into_inner().unwrap().unwrap())
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.api_addr())
    }

    /// A request with a token of the given claims, as Rails sends it.
    pub fn signed(&self, method: reqwest::Method, path: &str, claims: &Value) -> reqwest::RequestBuilder {
        self.bare(method, path).bearer_auth(self.key.sign(claims))
    }

    /// The same without a token.
    pub fn bare(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, self.url(path))
            .header("X-Gitlab-Authentication-Type", "oidc")
            .header("X-Gitlab-Instance-Id", INSTANCE)
            .header("X-Gitlab-Realm", "self-managed")
            .header("X-Gitlab-Host-Name", "gitlab.example.com")
            .header("X-Gitlab-Version", "18.9.0")
            .header("X-Gitlab-Global-User-Id", "user-7")
    }

    pub async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        self.signed(reqwest::Method::POST, path, &claims()).json(body).send().await.unwrap()
    }

    /// The metadata of a model on this world's model server.
    pub fn metadata(&self, family: &str) -> Value {
        json!({
            "provider": "openai", "name": family, "endpoint": self.upstream.url, "api_key": "request-key",
            "identifier": "custom_openai/the-model",
        })
    }

    /// A body of `/v2/code/completions` as Rails sends it.
    pub fn completion(&self) -> Value {
        json!({
            "prompt_version": 2, "prompt": null, "stream": false,
            "current_file": {
                "file_name": "test.rb", "content_above_cursor": "def hello_world", "content_below_cursor": "",
            },
            "model_provider": "litellm", "model_name": "mistral", "model_endpoint": self.upstream.url,
            "model_api_key": "request-key", "model_identifier": "custom_openai/the-model",
        })
    }

    /// A generation of v3 and v4 as Rails sends it.
    pub fn generation(&self, stream: bool) -> Value {
        json!({
            "prompt_components": [{
                "type": "code_editor_generation",
                "payload": {
                    "file_name": "test.rb", "content_above_cursor": "# hello\n", "content_below_cursor": "",
                    "language_identifier": "Ruby", "stream": stream, "prompt_id": "code_suggestions/generations",
                    "prompt_version": "^1.0.0", "prompt_enhancer": {"user_instruction": "print hello"},
                },
            }],
            "model_metadata": self.metadata("mistral"),
        })
    }

    pub async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.gateway.metrics_addr());
        self.http.get(url).send().await.unwrap().text().await.unwrap()
    }

    pub async fn hash(&self) -> Value {
        let url = format!("http://{}/config/hash", self.gateway.metrics_addr());
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// The access-log lines so far, once at least `count` are there (a line is written after its answer is out).
    pub async fn access(&self, count: usize) -> Vec<Value> {
        eventually("access-log lines", || {
            let text = self.logs.text();
            let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let lines: Vec<Value> = lines.into_iter().filter(|line| line["logger"] == "api.access").collect();
            (lines.len() >= count).then_some(lines)
        })
        .await
    }
}

/// Waits until something is there. No bound of its own: the test runner's counts.
pub async fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let mut rounds = 0_u32;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        rounds += 1;
        assert!(rounds < 3000, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
