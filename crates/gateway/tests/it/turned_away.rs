//! What the metrics listener says of GitLab's users who are turned away, and that strangers cannot make it say so.

use std::time::Duration;

use duo_gateway::settings::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::world::INSTANCE;
use crate::support::{Key, Script, World, claims, config_folder};

/// A gateway that takes the tokens of one instance only and fetches keys as often as it is asked to.
async fn pinned() -> (World, tempfile::TempDir) {
    let folder = std::sync::Mutex::new(None);
    let world = World::with(Script::Say("x".into()), |settings: &mut Settings, issuer, upstream| {
        let config = format!("gitlab: {{url: $ISSUER, instanceId: {INSTANCE}}}\nundeclaredModels: Allow");
        let made = config_folder(&config, issuer, upstream, &[]);
        settings.config_file = Some(made.path().join("config.yaml"));
        settings.key_refresh_pause = Duration::ZERO;
        *folder.lock().unwrap() = Some(made);
    })
    .await;
    while world.http.get(world.url("/monitoring/ready")).send().await.unwrap().status() != 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (world, folder.into_inner().unwrap().unwrap())
}

/// Claims of this GitLab, changed.
fn ours(world: &World, change: Value) -> Value {
    let mut claims = claims();
    claims["iss"] = world.issuer.url.clone().into();
    claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    claims
}

/// The status of a call with these claims, signed by this key.
async fn call(world: &World, key: &Key, claims: &Value) -> u16 {
    let instance = claims["sub"].as_str().unwrap_or_default().to_owned();
    let request = world
        .http
        .post(world.url("/v2/code/completions"))
        .header("X-Gitlab-Authentication-Type", "oidc")
        .header("X-Gitlab-Instance-Id", instance)
        .header("X-Gitlab-Realm", "self-managed");
    request.bearer_auth(key.sign(claims)).json(&world.completion()).send().await.unwrap().status().as_u16()
}

/// Causes that both of the operator's questions are answered with.
async fn told(world: &World) -> Vec<String> {
    let ask = async |path: &str| {
        let url = format!("http://{}/{path}", world.gateway.metrics_addr());
        let body: Value = world.http.get(url).send().await.unwrap().json().await.unwrap();
        body["refusing"].clone()
    };
    let (models, hash) = (ask("models").await, ask("config/hash").await);
    assert_eq!(models, hash);
    models.as_array().into_iter().flatten().map(|one| one["cause"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn keys_that_rotate_while_they_cannot_be_fetched_are_told_until_they_can() {
    let (world, _folder) = pinned().await;
    let new = Key::number(1, "kid-1");
    world.issuer.publish(vec![new.clone()]);
    world.issuer.set_down(true);
    assert_eq!(call(&world, &world.key, &ours(&world, json!({}))).await, 200, "the old keys go on counting");
    assert_eq!(told(&world).await, [""; 0], "nobody was turned away yet");
    assert_eq!(call(&world, &new, &ours(&world, json!({}))).await, 401);
    assert_eq!(told(&world).await, ["SigningKeys"]);

    world.issuer.set_down(false);
    assert_eq!(call(&world, &new, &ours(&world, json!({}))).await, 200);
    assert_eq!(told(&world).await, [""; 0]);
}

#[tokio::test]
async fn tokens_that_strangers_make_up_are_not_told() {
    let (world, _folder) = pinned().await;
    let invented = Key::number(2, "invented");
    assert_eq!(call(&world, &invented, &ours(&world, json!({}))).await, 401);
    assert_eq!(told(&world).await, [""; 0], "the keys can be fetched, and this is none of them");
    // what came while all was well does not count when it no longer is
    world.issuer.set_down(true);
    for (name, change) in [
        ("of another issuer", json!({"iss": "https://gitlab.example.com"})),
        ("of another instance", json!({"sub": "other"})),
        ("without a realm, as a job's", json!({"gitlab_realm": null})),
        ("without unit primitives, as a job's", json!({"scopes": []})),
    ] {
        assert_eq!(call(&world, &invented, &ours(&world, change)).await, 401);
        assert_eq!(told(&world).await, [""; 0], "{name}");
    }
    let nonsense = world.bare(Method::POST, "/v2/code/completions").bearer_auth("a.b.c").json(&json!({}));
    assert_eq!(nonsense.send().await.unwrap().status(), 401);
    assert_eq!(told(&world).await, [""; 0]);
}

#[tokio::test]
async fn another_instance_and_another_time_are_told_only_where_the_signature_is_gitlabs() {
    let (world, _folder) = pinned().await;
    let later = jiff::Timestamp::now().as_second() + 600;
    let cases = [(json!({"sub": "other"}), "OtherInstance"), (json!({"nbf": later}), "ClocksDiffer")];
    for (change, _) in &cases {
        let forged = Key::number(2, &world.key.kid);
        assert_eq!(call(&world, &forged, &ours(&world, change.clone())).await, 401);
        let mut job = change.clone();
        job["gitlab_realm"] = Value::Null;
        assert_eq!(call(&world, &world.key, &ours(&world, job)).await, 401);
    }
    assert_eq!(told(&world).await, [""; 0]);
    for (at, (change, _)) in cases.iter().enumerate() {
        assert_eq!(call(&world, &world.key, &ours(&world, change.clone())).await, 401);
        let causes: Vec<&str> = cases.iter().take(at + 1).map(|(_, cause)| *cause).collect();
        assert_eq!(told(&world).await, causes);
    }
}
