//! An encrypted gateway in front of a model server made of bytes.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};

use super::world::INSTANCE;
use super::{Authority, Endpoint, Model, Raw, Script, World, claims, config_folder, endpoints};

const MODEL: &str = "
models:
- name: only
  family: mistral
  identifier: custom_openai/the-model
  endpoint: $UPSTREAM/v1
";

pub struct Setting {
    pub world: World,
    pub raw: Raw,
    pub authority: Authority,
    model: Model,
    _folder: tempfile::TempDir,
}

/// A gateway with TLS (its clients find it at `localhost`) whose only model is on a server made of bytes.
pub async fn setting(more: &str) -> Setting {
    draining(more, Duration::ZERO).await
}

/// The same; `drain`: how long it goes on accepting when it is told to stop.
pub async fn draining(more: &str, drain: Duration) -> Setting {
    let (raw, authority) = (Raw::start().await, Authority::new());
    let (chain, key) = authority.certificate(100);
    let config = format!(
        "gitlab: {{url: $ISSUER}}\ntls: {{certificate: {{certificateFile: tls.crt, keyFile: tls.key}}}}\n{MODEL}{more}"
    );
    let slot = std::sync::Mutex::new(None);
    let world = World::with(Script::Silent, |settings, issuer, _| {
        settings.drain = drain;
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
    pub fn clients(&self) -> [Client; 2] {
        [self.authority.client().http1_only(), self.authority.client()].map(|client| client.build().unwrap())
    }

    pub fn request(&self, client: &Client, endpoint: &Endpoint) -> RequestBuilder {
        let port = self.world.gateway.api_addr().port();
        client
            .request(Method::POST, format!("https://localhost:{port}{}", endpoint.path))
            .header("X-Gitlab-Authentication-Type", "oidc")
            .header("X-Gitlab-Instance-Id", INSTANCE)
            .header("X-Gitlab-Realm", "self-managed")
            .bearer_auth(self.world.key.sign(&claims()))
            .json(&endpoint.body)
    }

    pub fn endpoints(&self) -> Vec<Endpoint> {
        endpoints(&self.world, &self.model)
    }
}
