//! Clients that go away: the model call goes with them, whatever it is doing.

use reqwest::{Client, Method, RequestBuilder};

use crate::support::raw::{begin, chunk};
use crate::support::world::INSTANCE;
use crate::support::{Authority, Endpoint, Model, Raw, Script, Step, World, claims, config_folder, endpoints};

const MODEL: &str = "
models:
- name: only
  family: mistral
  identifier: custom_openai/the-model
  endpoint: $UPSTREAM/v1
";

struct Setting {
    world: World,
    raw: Raw,
    model: Model,
    authority: Authority,
    _folder: tempfile::TempDir,
}

/// A gateway with TLS whose only model is on a server made of bytes.
async fn setting(more: &str) -> Setting {
    let (raw, authority) = (Raw::start().await, Authority::new());
    let (chain, key) = authority.certificate(100);
    let config = format!(
        "gitlab: {{url: $ISSUER}}\ntls: {{certificate: {{certificateFile: tls.crt, keyFile: tls.key}}}}\n{MODEL}{more}"
    );
    let slot = std::sync::Mutex::new(None);
    let world = World::with(Script::Silent, |settings, issuer, _| {
        let folder = config_folder(&config, issuer, &raw.url, &[("tls.crt", &chain), ("tls.key", &key)]);
        settings.config_file = Some(folder.path().join("config.yaml"));
        *slot.lock().unwrap() = Some(folder);
    })
    .await;
    let model = Model { family: "mistral", identifier: "custom_openai/the-model", endpoint: format!("{}/v1", raw.url) };
    Setting { world, raw, model, authority, _folder: slot.into_inner().unwrap().unwrap() }
}

impl Setting {
    /// HTTP/1 and HTTP/2.
    fn clients(&self) -> [Client; 2] {
        [self.authority.client().http1_only(), self.authority.client()].map(|client| client.build().unwrap())
    }

    fn request(&self, client: &Client, endpoint: &Endpoint) -> RequestBuilder {
        let port = self.world.gateway.api_addr().port();
        client
            .request(Method::POST, format!("https://localhost:{port}{}", endpoint.path))
            .header("X-Gitlab-Authentication-Type", "oidc")
            .header("X-Gitlab-Instance-Id", INSTANCE)
            .header("X-Gitlab-Realm", "self-managed")
            .bearer_auth(self.world.key.sign(&claims()))
            .json(&endpoint.body)
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        endpoints(&self.world, &self.model)
    }
}

#[tokio::test]
async fn a_call_that_has_not_answered_ends_with_its_client() {
    let setting = setting("").await;
    setting.raw.script(vec![Step::Hang]);
    let mut count = 0;
    for client in setting.clients() {
        for endpoint in setting.endpoints() {
            count += 1;
            let asking = tokio::spawn(setting.request(&client, &endpoint).send());
            setting.raw.called(count).await;
            asking.abort();
            setting.raw.gone(count).await;
        }
    }
    assert_eq!(setting.raw.calls(), count);
    assert_eq!(setting.world.access(count).await.len(), count);
}

#[tokio::test]
async fn a_stream_ends_with_its_client() {
    let setting = setting("").await;
    let event = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Final Answer: one two three \"}}]}\n\n";
    setting.raw.script(vec![begin("text/event-stream"), Step::Say(chunk(event)), Step::Hang]);
    let mut count = 0;
    for client in setting.clients() {
        for endpoint in setting.endpoints().into_iter().filter(|one| one.stream) {
            count += 1;
            let answer = setting.request(&client, &endpoint).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{}", endpoint.path);
            drop(answer);
            setting.raw.gone(count).await;
        }
    }
    let cancelled = setting.world.access(count).await;
    assert!(cancelled.iter().all(|line| line["client_disconnected"] == true), "{cancelled:?}");
}
