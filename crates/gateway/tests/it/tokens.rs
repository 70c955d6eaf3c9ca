//! Tokens for direct connections of IDEs.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Key, Script, World, claims};

async fn world() -> World {
    let key = Key::number(1, "").pem;
    World::with(Script::Say("x".into()), |settings, _, _| {
        settings.signing_key = Some(duo_gateway::secret::Secret::new(key));
    })
    .await
}

async fn mint(world: &World) -> String {
    let answer = world.signed(Method::POST, "/v1/code/user_access_token", &claims()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.unwrap();
    let life = body["expires_at"].as_i64().unwrap() - jiff::Timestamp::now().as_second();
    assert!((3590..=3600).contains(&life), "{life}");
    body["token"].as_str().unwrap().to_owned()
}

fn as_ide(world: &World, path: &str, token: &str) -> reqwest::RequestBuilder {
    world
        .http
        .post(world.url(path))
        .header("X-Gitlab-Authentication-Type", "oidc")
        .header("X-Gitlab-Realm", "self-managed")
        .header("X-Gitlab-Global-User-Id", "user-7")
        .bearer_auth(token)
}

#[tokio::test]
async fn an_ide_completes_code_with_its_token_and_nothing_else() {
    let world = world().await;
    let token = mint(&world).await;
    let answer = as_ide(&world, "/v2/completions", &token).json(&world.completion()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    for (path, body, text) in [
        ("/v1/code/user_access_token", json!({}), "Unauthorized to create user access token"),
        ("/v2/code/generations", world.completion(), "Unauthorized to access code generations"),
        ("/v3/code/completions", world.generation(false), "Unauthorized to access code suggestions"),
        ("/v2/chat/agent", json!({}), "Unauthorized to access duo chat"),
    ] {
        let refused = as_ide(&world, path, &token).json(&body).send().await.unwrap();
        assert_eq!(refused.status(), 403, "{path}");
        assert_eq!(refused.json::<Value>().await.unwrap(), json!({ "detail": text }));
    }
}

#[tokio::test]
async fn it_is_bound_to_its_user() {
    let world = world().await;
    let token = mint(&world).await;
    let request = as_ide(&world, "/v2/completions", &token).json(&world.completion()).build().unwrap();
    let mut other = request;
    other.headers_mut().insert("x-gitlab-global-user-id", "user-8".parse().unwrap());
    let refused = world.http.execute(other).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.json::<Value>().await.unwrap(), json!({"error": "Header mismatch 'X-Gitlab-Global-User-Id'"}));
}

#[tokio::test]
async fn gitlabs_key_cannot_make_them_and_ours_cannot_make_gitlabs() {
    let world = world().await;
    let mut ours = claims();
    ours["iss"] = "gitlab-ai-gateway".into();
    ours["sub"] = "user-7".into();
    let forged = world.key.sign(&ours);
    let refused = as_ide(&world, "/v2/completions", &forged).json(&world.completion()).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let forged = Key::number(1, "kid-0").sign(&claims());
    let request = world.bare(Method::POST, "/v2/completions").bearer_auth(forged);
    assert_eq!(request.json(&world.completion()).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn without_the_right_or_a_key_there_is_none() {
    let world = world().await;
    let mut less = claims();
    less["scopes"] = json!(["duo_chat"]);
    let refused = world.signed(Method::POST, "/v1/code/user_access_token", &less).send().await.unwrap();
    assert_eq!(refused.status(), 403);
    let world = World::new(Script::Say("x".into())).await;
    let failed = world.signed(Method::POST, "/v1/code/user_access_token", &claims()).send().await.unwrap();
    assert_eq!(failed.status(), 500);
    assert_eq!(failed.json::<Value>().await.unwrap(), json!({"detail": "Failed to generate JWT"}));
}

#[tokio::test]
async fn tokens_of_the_previous_signing_key_count_on_through_a_rotation() {
    let old = world().await;
    let token = mint(&old).await;
    let (new_key, old_key) = (Key::number(2, "").pem, Key::number(1, "").pem);
    let world = World::with(Script::Say("x".into()), |settings, _, _| {
        settings.signing_key = Some(duo_gateway::secret::Secret::new(new_key));
        settings.validation_key = Some(duo_gateway::secret::Secret::new(old_key));
    })
    .await;
    let answer = as_ide(&world, "/v2/completions", &token).json(&world.completion()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!mint(&world).await.is_empty());
}
