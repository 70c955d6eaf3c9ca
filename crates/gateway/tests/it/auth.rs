//! Who gets in, with which text refused, and what happens while GitLab rotates keys or is away.

use base64::Engine;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::world::{INSTANCE, eventually};
use crate::support::{Issuer, Key, Script, World, claims};

async fn world() -> World {
    let world = World::new(Script::Say("x".into())).await;
    ready(&world).await;
    world
}

/// Waits for the first keys.
async fn ready(world: &World) {
    loop {
        let answer = world.http.get(world.url("/monitoring/ready")).send().await.unwrap();
        if answer.status() == 200 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Status and `error` of a request with the token.
async fn with_token(world: &World, token: &str) -> (u16, String) {
    let request = world.bare(Method::POST, "/v2/code/completions").bearer_auth(token).json(&world.completion());
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["error"].as_str().unwrap_or_default().to_owned())
}

fn forbidden() -> (u16, String) {
    (401, "Forbidden by auth provider".to_owned())
}

fn accepted() -> (u16, String) {
    (200, String::new())
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

#[tokio::test]
async fn claims_decide() {
    let world = world().await;
    let now = jiff::Timestamp::now().as_second();
    let cases = [
        ("as Rails makes it", claims(), accepted()),
        ("audience as a single string", changed(|c| c["aud"] = "gitlab-ai-gateway".into()), accepted()),
        ("expired within the leeway", changed(|c| c["exp"] = (now - 30).into()), accepted()),
        ("not valid yet within the leeway", changed(|c| c["nbf"] = (now + 30).into()), accepted()),
        ("expired beyond the leeway", changed(|c| c["exp"] = (now - 120).into()), forbidden()),
        ("not valid yet", changed(|c| c["nbf"] = (now + 600).into()), forbidden()),
        ("another audience", changed(|c| c["aud"] = json!(["gitlab-duo-workflow-service"])), forbidden()),
        ("no audience", changed(|c| drop(c.as_object_mut().unwrap().remove("aud"))), forbidden()),
        ("no end", changed(|c| drop(c.as_object_mut().unwrap().remove("exp"))), forbidden()),
        (
            "another instance",
            changed(|c| c["sub"] = "other".into()),
            (401, "Header mismatch 'X-Gitlab-Instance-Id'".to_owned()),
        ),
        (
            "another realm",
            changed(|c| c["gitlab_realm"] = "saas".into()),
            (401, "Header mismatch 'X-Gitlab-Realm'".to_owned()),
        ),
    ];
    for (name, claims, expected) in cases {
        assert_eq!(with_token(&world, &world.key.sign(&claims)).await, expected, "{name}");
        // a second time: the verdict comes from the cache
        assert_eq!(with_token(&world, &world.key.sign(&claims)).await, expected, "{name}, again");
    }
}

#[tokio::test]
async fn only_rs256_signatures_of_published_keys_count() {
    let world = world().await;
    let encode = |part: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(part.to_string());
    let none = format!("{}.{}.", encode(&json!({"alg": "none", "typ": "JWT"})), encode(&claims()));
    // the classic confusion: the public key as an HMAC secret
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(world.key.kid.clone());
    let hmac = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(b"public")).unwrap();
    let mut header = Header::new(Algorithm::RS512);
    header.kid = Some(world.key.kid.clone());
    let rs512 = jsonwebtoken::encode(&header, &claims(), &world.key.encoding()).unwrap();
    let forged = Key::number(1, &world.key.kid).sign(&claims());
    let good = world.key.sign(&claims());
    let mut parts: Vec<&str> = good.split('.').collect();
    let tampered_claims = encode(&changed(|c| c["scopes"] = json!(["everything"])));
    parts[1] = &tampered_claims;
    let tampered = parts.join(".");
    for (name, token) in [
        ("alg none", none.as_str()),
        ("HS256", &hmac),
        ("RS512", &rs512),
        ("another key under a published id", &forged),
        ("changed claims", &tampered),
        ("not a token", "abc"),
        ("empty parts", ".."),
    ] {
        assert_eq!(with_token(&world, token).await, forbidden(), "{name}");
    }
    assert_eq!(with_token(&world, &good).await, accepted());
    // without an id every published key is tried
    let anonymous = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims(), &world.key.encoding()).unwrap();
    assert_eq!(with_token(&world, &anonymous).await, accepted());
}

#[tokio::test]
async fn headers_are_refused_with_gitlabs_own_texts() {
    let world = world().await;
    let token = world.key.sign(&claims());
    let post = || world.http.post(world.url("/v2/code/completions")).json(&json!({}));
    for (request, text) in [
        (post(), "No authorization header presented"),
        (post().header("authorization", "Basic abc"), "Invalid authorization header"),
        (post().bearer_auth(&token), "Invalid authentication token type - only OIDC is supported"),
        (
            post().bearer_auth(&token).header("x-gitlab-authentication-type", "OIDC"),
            "Invalid authentication token type - only OIDC is supported",
        ),
        (post().bearer_auth(&token).header("x-gitlab-authentication-type", "oidc"), "Header mismatch 'X-Gitlab-Realm'"),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 401, "{text}");
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "error": text }));
    }
    let lower = world.bare(Method::POST, "/v2/code/completions").header("authorization", format!("bearer {token}"));
    assert_eq!(lower.json(&world.completion()).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn trap_a_rotated_key_is_found_by_exactly_one_refresh() {
    let world = world().await;
    let fetched = world.issuer.fetches();
    let new = Key::number(1, "kid-1");
    world.issuer.publish(vec![world.key.clone(), new.clone()]);
    let token = new.sign(&claims());
    let tries = futures::future::join_all((0..20).map(|_| with_token(&world, &token))).await;
    assert!(tries.iter().all(|verdict| *verdict == accepted()), "{tries:?}");
    assert_eq!(world.issuer.fetches(), fetched + 1);
}

#[tokio::test]
async fn a_storm_of_invented_key_ids_costs_gitlab_one_fetch() {
    let world = world().await;
    let fetched = world.issuer.fetches();
    let storm = (0..50).map(|n| {
        let token = Key::number(2, &format!("invented-{n}")).sign(&claims());
        let world = &world;
        async move { with_token(world, &token).await }
    });
    let verdicts = futures::future::join_all(storm).await;
    assert!(verdicts.iter().all(|verdict| *verdict == forbidden()), "{verdicts:?}");
    assert_eq!(world.issuer.fetches(), fetched + 1);
}

#[tokio::test]
async fn keys_are_kept_while_gitlab_is_away_and_withdrawn_ones_end_cached_tokens() {
    let world = World::with(Script::Say("x".into()), |settings, _, _| {
        settings.key_refresh_pause = std::time::Duration::ZERO;
    })
    .await;
    ready(&world).await;
    let token = world.key.sign(&claims());
    assert_eq!(with_token(&world, &token).await, accepted());
    world.issuer.set_down(true);
    // an unknown id makes the gateway ask GitLab, in vain
    assert_eq!(with_token(&world, &Key::number(1, "kid-1").sign(&claims())).await, forbidden());
    assert_eq!(with_token(&world, &token).await, accepted());
    assert_eq!(with_token(&world, &world.key.sign(&changed(|c| c["jti"] = "new".into()))).await, accepted());

    world.issuer.set_down(false);
    world.issuer.publish(vec![Key::number(1, "kid-1")]);
    assert_eq!(with_token(&world, &Key::number(1, "kid-1").sign(&claims())).await, accepted());
    assert_eq!(with_token(&world, &token).await, forbidden(), "its key is no longer published");
}

#[tokio::test]
async fn trap_the_start_needs_no_gitlab_and_says_why_it_is_not_ready() {
    let issuer = Issuer::start(vec![Key::number(0, "kid-0")]).await;
    issuer.set_down(true);
    // behind a proxy with a password of its own
    let url = issuer.url.replace("http://", "http://proxy:URLSECRET@");
    let world = World::with(Script::Say("x".into()), move |settings, _, _| settings.gitlab_url = url).await;
    assert_eq!(world.http.get(world.url("/monitoring/healthz")).send().await.unwrap().status(), 200);
    let ready = world.http.get(world.url("/monitoring/ready")).send().await.unwrap();
    assert_eq!(ready.status(), 503);
    let why = ready.text().await.unwrap();
    assert!(why.contains("signing keys") && !why.contains("URLSECRET"), "{why}");
    let request = world.bare(Method::POST, "/v2/code/completions").bearer_auth(world.key.sign(&claims()));
    let answer = request.json(&world.completion()).send().await.unwrap();
    assert_eq!(answer.status(), 503, "no key could be fetched, which is not the caller's fault");
    assert!(answer.headers().contains_key("retry-after"));
    let why = answer.text().await.unwrap();
    assert!(!why.contains("URLSECRET") && !world.logs.text().contains("URLSECRET"), "{why}");

    issuer.set_down(false);
    self::ready(&world).await;
    assert_eq!(with_token(&world, &world.key.sign(&claims())).await, accepted());
}

#[tokio::test]
async fn a_pinned_instance_locks_other_tenants_out() {
    let config = format!("gitlab: {{url: $ISSUER, instanceId: {INSTANCE}}}\nundeclaredModels: Allow");
    let folder = std::sync::Mutex::new(None);
    let world = World::with(Script::Say("x".into()), |settings, issuer, upstream| {
        let made = crate::support::config_folder(&config, issuer, upstream, &[]);
        settings.config_file = Some(made.path().join("config.yaml"));
        *folder.lock().unwrap() = Some(made);
    })
    .await;
    ready(&world).await;
    assert_eq!(with_token(&world, &world.key.sign(&claims())).await, accepted());
    let other = world.key.sign(&changed(|c| c["sub"] = "other".into()));
    let request = world
        .http
        .post(world.url("/v2/code/completions"))
        .header("X-Gitlab-Authentication-Type", "oidc")
        .header("X-Gitlab-Instance-Id", "other")
        .header("X-Gitlab-Realm", "self-managed")
        .bearer_auth(other)
        .json(&world.completion());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"error": "Forbidden by auth provider"}));
}

#[tokio::test]
async fn bypass_lets_everybody_in() {
    let world = World::with(Script::Say("x".into()), |settings, _, _| settings.bypass.everyone = true).await;
    let answer = world.http.post(world.url("/v2/code/completions")).json(&world.completion()).send().await.unwrap();
    assert_eq!(answer.status(), 200);

    let world = World::with(Script::Say("x".into()), |settings, _, _| settings.bypass.with_header = true).await;
    let post = || world.http.post(world.url("/v2/code/completions")).json(&world.completion());
    assert_eq!(post().send().await.unwrap().status(), 401);
    assert_eq!(post().header("Bypass-Auth", "true").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn without_signatures_claims_still_decide() {
    let world = World::with(Script::Say("x".into()), |settings, _, _| {
        settings.bypass.signature = true;
        // nobody to fetch keys from
        settings.gitlab_url = "http://127.0.0.1:9".into();
    })
    .await;
    ready(&world).await;
    let stranger = Key::number(2, "nobody");
    assert_eq!(with_token(&world, &stranger.sign(&claims())).await, accepted());
    let hmac =
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(b"x")).unwrap();
    assert_eq!(with_token(&world, &hmac).await, accepted());
    for change in [json!({"exp": 1}), json!({"aud": "other"})] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(with_token(&world, &stranger.sign(&claims)).await, forbidden(), "{change}");
    }
    let other = stranger.sign(&changed(|c| c["sub"] = "other".into()));
    assert_eq!(with_token(&world, &other).await.1, "Header mismatch 'X-Gitlab-Instance-Id'");
    let powerless = stranger.sign(&changed(|c| c["scopes"] = json!([])));
    assert_eq!(with_token(&world, &powerless).await.0, 403);
    assert!(
        crate::support::world::TRACED.text().contains("AIGW_AUTH__BYPASS_JWT_SIGNATURE: signatures of tokens are not")
    );
}

#[tokio::test]
async fn a_token_costs_one_signature_check_whatever_comes_with_it() {
    let world = world().await;
    let checks = async || {
        let metrics = world.metrics().await;
        let count = metrics.lines().find_map(|line| line.strip_prefix("duo_gateway_token_checks_total ")).unwrap();
        count.parse::<u64>().unwrap()
    };
    let token = world.key.sign(&claims());
    for _ in 0..3 {
        let all = futures::future::join_all((0..10).map(|_| with_token(&world, &token))).await;
        assert!(all.iter().all(|verdict| *verdict == accepted()));
    }
    assert_eq!(checks().await, 1);
    assert_eq!(with_token(&world, &world.key.sign(&changed(|c| c["jti"] = "other".into()))).await, accepted());
    assert_eq!(checks().await, 2);

    // a rotation that all of them wait for
    let new = Key::number(1, "kid-1");
    world.issuer.publish(vec![world.key.clone(), new.clone()]);
    let token = new.sign(&claims());
    let all = futures::future::join_all((0..10).map(|_| with_token(&world, &token))).await;
    assert!(all.iter().all(|verdict| *verdict == accepted()));
    assert_eq!(with_token(&world, &token).await, accepted());
    assert_eq!(checks().await, 3);

    // what is refused before costs none
    for token in ["abc", "..", &format!("{token}{}", "x".repeat(20_000))] {
        assert_eq!(with_token(&world, token).await, forbidden());
    }
    assert_eq!(checks().await, 3);
}

#[tokio::test]
async fn a_header_that_stands_there_twice_is_not_believed() {
    let world = world().await;
    let token = world.key.sign(&claims());
    let good = || world.bare(Method::POST, "/v2/code/completions").bearer_auth(&token).json(&world.completion());
    for (name, value, text) in [
        ("authorization", format!("Bearer {token}"), "Invalid authorization header"),
        ("x-gitlab-authentication-type", "oidc".into(), "Invalid authentication token type - only OIDC is supported"),
        ("x-gitlab-instance-id", "other".into(), "Header mismatch 'X-Gitlab-Instance-Id'"),
        ("x-gitlab-realm", "saas".into(), "Header mismatch 'X-Gitlab-Realm'"),
    ] {
        let answer = good().header(name, value).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{name}");
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "error": text }));
    }
    assert_eq!(good().send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn refusals_are_logged_with_their_reason_and_counted() {
    let world = world().await;
    let old = changed(|c| c["exp"] = 1.into());
    assert_eq!(with_token(&world, &world.key.sign(&old)).await, forbidden());
    let lines = eventually("the refusal's line", || {
        let text = world.logs.text();
        let found: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|line| line["status_code"] == 401)
            .collect();
        (!found.is_empty()).then_some(found)
    })
    .await;
    assert!(lines[0]["auth_error_details"].as_str().unwrap().contains("expired"), "{}", lines[0]);
    assert!(world.metrics().await.contains("duo_gateway_auth_refusals_total 1"));
}

#[tokio::test]
async fn trap_a_customer_portal_behind_a_firewall_costs_nothing() {
    // takes connections and never answers; notices when one is given up
    let hole = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let portal = format!("http://{}", hole.local_addr().unwrap());
    let given_up = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = given_up.clone();
    let holding = tokio::spawn(async move {
        loop {
            let (mut stream, _) = hole.accept().await.unwrap();
            let counter = counter.clone();
            tokio::spawn(async move {
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            });
        }
    });
    let world = World::with(Script::Say("x".into()), move |settings, _, _| {
        settings.customer_portal_url = Some(portal);
    })
    .await;
    // the portal is still being waited for, by the first fetch and by the one for the rotated key
    ready(&world).await;
    assert_eq!(with_token(&world, &world.key.sign(&claims())).await, accepted());
    let new = Key::number(1, "kid-1");
    world.issuer.publish(vec![world.key.clone(), new.clone()]);
    assert_eq!(with_token(&world, &new.sign(&claims())).await, accepted());
    assert_eq!(given_up.load(std::sync::atomic::Ordering::SeqCst), 0, "answered before the portal's time-out");
    holding.abort();
}
