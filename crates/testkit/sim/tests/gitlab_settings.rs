//! Duo settings, rights, licences, tokens, REST, OIDC.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]

mod gitlab_support;

use std::net::IpAddr;

use duo_sim::gitlab::state::*;
use duo_sim::gitlab::{Config, Handle, TokenOptions, Version, start};
use gitlab_support::*;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

async fn set(gitlab: &Handle, input: Value) -> Reply {
    admin(gitlab, SETTINGS, json!({"input": input})).await
}

async fn url_errors(gitlab: &Handle, url: &str) -> Value {
    set(gitlab, json!({"aiGatewayUrl": url})).await.data("/duoSettingsUpdate/errors").clone()
}

#[tokio::test]
async fn trap_a_gateway_url_needs_a_host_that_gitlab_resolves() {
    let gitlab = gitlab(NEW).await;
    let url = "http://duo.gitlab-duo.svc:5052";
    assert_eq!(url_errors(&gitlab, url).await, json!(["Ai gateway url Host cannot be resolved or invalid"]));
    assert_eq!(gitlab.state().settings.ai_gateway_url, None, "on an error the settings stay");
    gitlab.hosts().insert("duo.gitlab-duo.svc", "10.1.2.3".parse::<IpAddr>().unwrap());
    assert_eq!(url_errors(&gitlab, url).await, json!([]), "private networks are accepted on save");
}

#[tokio::test]
async fn gateway_urls_are_refused_in_gitlabs_words() {
    let gitlab = gitlab(NEW).await;
    gitlab.hosts().insert("loops.example.com", "127.0.0.1".parse().unwrap());
    let long = format!("http://10.0.0.1/{}", "x".repeat(2048));
    let cases = [
        ("ftp://10.0.0.1", "Ai gateway url Only allowed schemes are http, https"),
        ("no url", "Ai gateway url URI is invalid"),
        ("http://localhost:5052", "Ai gateway url Requests to localhost are not allowed"),
        ("http://127.0.0.1:5052", "Ai gateway url Requests to loopback addresses are not allowed"),
        ("http://[::1]:5052", "Ai gateway url Requests to loopback addresses are not allowed"),
        ("http://loops.example.com", "Ai gateway url Requests to loopback addresses are not allowed"),
        (&long, "Ai gateway url is too long (maximum is 2048 characters)"),
    ];
    for (url, expected) in cases {
        assert_eq!(url_errors(&gitlab, url).await, json!([expected]), "{url}");
    }
    gitlab.edit(|state| state.instance.outbound_allowlist = vec!["127.0.0.0/8".to_owned(), "localhost".to_owned()]);
    for url in ["http://127.0.0.1:5052", "http://localhost:5052", "http://loops.example.com"] {
        assert_eq!(url_errors(&gitlab, url).await, json!([]), "{url}");
    }
}

#[tokio::test]
async fn trap_a_trailing_slash_is_cut_and_blank_becomes_null() {
    let gitlab = gitlab(NEW).await;
    let reply = set(&gitlab, json!({"aiGatewayUrl": "http://10.0.0.1:5052/", "aiGatewayTimeoutSeconds": 90})).await;
    let stored = json!({"aiGatewayUrl": "http://10.0.0.1:5052", "aiGatewayTimeoutSeconds": 90});
    assert_eq!(reply.data("/duoSettingsUpdate/duoSettings"), &stored);
    let reply = set(&gitlab, json!({"aiGatewayUrl": " "})).await;
    let stored = json!({"aiGatewayUrl": null, "aiGatewayTimeoutSeconds": 90});
    assert_eq!(reply.data("/duoSettingsUpdate/duoSettings"), &stored, "what is left out stays");
}

#[tokio::test]
async fn the_timeout_is_60_to_600_and_an_error_leaves_everything_as_it_was() {
    let gitlab = gitlab(NEW).await;
    for (seconds, words) in [(59, "must be greater than or equal to 60"), (601, "must be less than or equal to 600")] {
        let reply = set(&gitlab, json!({"aiGatewayTimeoutSeconds": seconds, "aiGatewayUrl": "http://10.0.0.1"})).await;
        assert_eq!(reply.data("/duoSettingsUpdate/errors"), &json!([format!("Ai gateway timeout seconds {words}")]));
        assert_eq!(reply.data("/duoSettingsUpdate/duoSettings/aiGatewayUrl"), &json!(null));
    }
    assert_eq!(
        set(&gitlab, json!({"aiGatewayTimeoutSeconds": 600})).await.data("/duoSettingsUpdate/errors"),
        &json!([])
    );
}

#[tokio::test]
async fn the_agent_platform_url_is_stored_however_wrong() {
    let gitlab = gitlab(NEW).await;
    let reply = set(&gitlab, json!({"duoAgentPlatformServiceUrl": "https://not a host/"})).await;
    assert_eq!(reply.data("/duoSettingsUpdate/errors"), &json!([]));
    assert_eq!(gitlab.state().settings.duo_agent_platform_service_url.as_deref(), Some("https://not a host"));
}

#[tokio::test]
async fn one_forbidden_argument_fails_the_whole_mutation() {
    let gitlab = gitlab(NEW).await;
    let reply = as_token(&gitlab, USER_TOKEN, SETTINGS, json!({"input": {"aiGatewayTimeoutSeconds": 90}})).await;
    assert_eq!(reply.error(), "You don't have permission to update the setting ai_gateway_timeout_seconds.");
    gitlab.edit(|state| state.add_ons.clear());
    let reply = set(&gitlab, json!({"duoCoreFeaturesEnabled": true, "aiGatewayUrl": "http://10.0.0.1"})).await;
    assert_eq!(reply.error(), "You don't have permission to update the setting ai_gateway_url.");
    assert!(!gitlab.state().settings.duo_core_features_enabled);
    let reply = set(&gitlab, json!({"duoCoreFeaturesEnabled": null})).await;
    assert_eq!(reply.error(), "duoCoreFeaturesEnabled can't be null");
}

#[tokio::test]
async fn settings_read_as_null_without_the_right() {
    let gitlab = gitlab(NEW).await;
    gitlab.edit(|state| state.settings.ai_gateway_url = Some("http://10.0.0.1".to_owned()));
    let query = "{ duoSettings { aiGatewayUrl aiGatewayTimeoutSeconds updatedAt } }";
    let reply = as_token(&gitlab, USER_TOKEN, query, json!({})).await;
    assert_eq!(reply.data("/duoSettings/aiGatewayUrl"), &json!(null));
    assert_eq!(reply.data("/duoSettings/aiGatewayTimeoutSeconds"), &json!(null));
    assert!(reply.data("/duoSettings/updatedAt").is_string());
}

#[tokio::test]
async fn who_may_manage_models_depends_on_licence_add_ons_and_release() {
    // (release, licence, plan, add-ons, usage billing, terms) and whether the list is there
    let cases = [
        (NEW, "offline_cloud", "ultimate", "duo_enterprise", true, false, true),
        (NEW, "offline_cloud", "premium", "duo_enterprise", true, false, true),
        (NEW, "offline_cloud", "ultimate", "", true, false, false),
        (NEW, "offline_cloud", "ultimate", "duo_core", true, false, false),
        (NEW, "offline_cloud", "premium", "self_hosted_dap", true, false, true),
        (NEW, "offline_cloud", "starter", "duo_enterprise", true, false, false),
        (NEW, "online_cloud", "premium", "", true, false, true),
        (NEW, "none", "", "duo_enterprise", true, false, false),
        (OLD, "online_cloud", "premium", "", true, false, true),
        (OLD, "online_cloud", "premium", "", false, false, false),
        (OLD, "online_cloud", "premium", "duo_core", false, true, false),
        (OLD, "online_cloud", "premium", "duo_enterprise", false, false, true),
    ];
    for (version, license, plan, add_on, billing, terms, allowed) in cases {
        let gitlab = start(Config {
            license: license.to_owned(),
            plan: plan.to_owned(),
            add_ons: vec![add_on.to_owned()],
            terms_accepted: terms,
            ..config(version)
        })
        .await
        .unwrap();
        gitlab.edit(|state| state.instance.dap_per_request_billing = billing);
        let reply = admin(&gitlab, "{ aiSelfHostedModels { nodes { id } } }", json!({})).await;
        let there = !reply.data("/aiSelfHostedModels").is_null();
        assert_eq!(there, allowed, "{version} {license} {plan} {add_on:?} billing {billing} terms {terms}");
    }
}

#[tokio::test]
async fn an_expired_licence_takes_the_right_away() {
    let gitlab = gitlab(NEW).await;
    gitlab.edit(|state| state.license.as_mut().unwrap().expires_at = Some("2020-01-01".to_owned()));
    let reply = admin(&gitlab, CREATE, json!({"input": bedrock("a")})).await;
    assert_eq!(reply.error(), ACCESS_ERROR);
}

#[tokio::test]
async fn licence_and_add_ons_are_for_administrators() {
    let gitlab = gitlab(NEW).await;
    let query = "{ currentLicense { type plan expiresAt } addOnPurchases { name purchasedQuantity assignedQuantity } }";
    let reply = admin(&gitlab, query, json!({})).await;
    assert_eq!(reply.data("/currentLicense/type"), "offline_cloud");
    assert_eq!(reply.data("/addOnPurchases/0/name"), "DUO_ENTERPRISE");
    assert_eq!(reply.data("/addOnPurchases/0/assignedQuantity"), &json!(1));
    let reply = as_token(&gitlab, USER_TOKEN, "{ currentLicense { plan } }", json!({})).await;
    assert_eq!(reply.error(), ACCESS_ERROR);
    assert_eq!(reply.body["data"], json!({"currentLicense": null}));
}

#[tokio::test]
async fn a_read_only_instance_refuses_writes() {
    let gitlab = gitlab(NEW).await;
    gitlab.edit(|state| state.instance.read_only = true);
    let reply = set(&gitlab, json!({"aiGatewayTimeoutSeconds": 90})).await;
    assert_eq!(reply.error(), "You cannot perform write operations on a read-only instance");
}

#[tokio::test]
async fn tokens_are_refused_each_in_its_own_way() {
    let gitlab = gitlab(NEW).await;
    gitlab.edit(|state| {
        let mut token = state.tokens[0].clone();
        token.value = "no-scope".to_owned();
        token.scopes = vec!["read_user".to_owned()];
        state.tokens.push(token);
    });
    let cases = [
        ("unknown", 401, 401, "401 Unauthorized"),
        (EXPIRED_TOKEN, 401, 401, "Token is expired"),
        (REVOKED_TOKEN, 401, 401, "Token was revoked"),
        ("no-scope", 401, 403, "insufficient_scope"),
    ];
    for (token, graphql, rest, words) in cases {
        let reply = as_token(&gitlab, token, "{ metadata { version } }", json!({})).await;
        assert_eq!((reply.status, reply.error()), (graphql, "Invalid token"), "{token}");
        let url = format!("{}/api/v4/version", gitlab.url());
        let answer = reqwest::Client::new().get(url).header("PRIVATE-TOKEN", token).send().await.unwrap();
        assert_eq!(answer.status(), rest, "{token}");
        assert!(answer.text().await.unwrap().contains(words), "{token}");
    }
    gitlab.edit(|state| state.users[0].blocked = true);
    let reply = admin(&gitlab, "{ metadata { version } }", json!({})).await;
    assert_eq!((reply.status, reply.error()), (403, "API not accessible for user"));
    let anonymous = post(&gitlab, None, json!({"query": "{ metadata { version } }"})).await;
    assert_eq!(anonymous.data("/metadata"), &json!(null));
}

async fn get(gitlab: &Handle, token: &str, path: &str) -> (u16, Value) {
    let url = format!("{}/api/v4/{path}", gitlab.url());
    let answer = reqwest::Client::new().get(url).bearer_auth(token).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn rest_tells_version_token_and_licence() {
    let gitlab = gitlab(OLD).await;
    assert_eq!(get(&gitlab, READ_API_TOKEN, "version").await.1["version"], "18.9.0-ee");
    assert_eq!(get(&gitlab, READ_API_TOKEN, "metadata").await.1["enterprise"], true);
    let (_, own) = get(&gitlab, READ_API_TOKEN, "personal_access_tokens/self").await;
    assert_eq!((&own["scopes"], &own["active"], &own["user_id"]), (&json!(["read_api"]), &json!(true), &json!(1)));
    assert_eq!(get(&gitlab, ADMIN_TOKEN, "license").await.1["plan"], "ultimate");
    assert_eq!(get(&gitlab, USER_TOKEN, "license").await.0, 403);
}

#[tokio::test]
async fn trap_admin_mode_binds_rest_but_not_graphql() {
    let gitlab = gitlab(NEW).await;
    gitlab.edit(|state| state.instance.admin_mode = true);
    assert_eq!(get(&gitlab, ADMIN_TOKEN, "license").await.0, 403);
    create(&gitlab, bedrock("a")).await;
    gitlab.edit(|state| state.tokens[0].scopes.push("admin_mode".to_owned()));
    assert_eq!(get(&gitlab, ADMIN_TOKEN, "license").await.0, 200);
}

#[tokio::test]
async fn published_keys_verify_the_tokens_that_rails_issues() {
    let gitlab = gitlab(NEW).await;
    let client = reqwest::Client::new();
    let discovery: Value = client
        .get(format!("{}/.well-known/openid-configuration", gitlab.url()))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(discovery["issuer"], gitlab.url());
    let keys = || async {
        let answer = client.get(discovery["jwks_uri"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(answer.headers()["cache-control"], "max-age=86400, public");
        answer.json::<jsonwebtoken::jwk::JwkSet>().await.unwrap()
    };
    let token = gitlab.issue_token(&TokenOptions::default()).unwrap();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let set = keys().await;
    let key = set.find(header.kid.as_deref().unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&["gitlab-ai-gateway"]);
    validation.set_issuer(&[gitlab.url()]);
    let claims =
        jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap().claims;
    assert_eq!(claims["sub"], gitlab.state().instance.uuid);
    assert_eq!(claims["gitlab_realm"], "self-managed");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    let scopes = claims["scopes"].as_array().unwrap();
    assert!(scopes.contains(&json!("complete_code")) && scopes.contains(&json!("duo_classic_chat")));

    let kid = gitlab.rotate_keys(false).unwrap();
    let rotated = keys().await;
    assert!(rotated.find(&kid).is_some() && rotated.keys.len() == 1, "the old key is gone");
    gitlab.rotate_keys(true).unwrap();
    assert_eq!(keys().await.keys.len(), 2);
}

#[tokio::test]
async fn the_customers_portal_signs_with_a_key_of_its_own() {
    let gitlab = gitlab(Version::new(18, 9, 0)).await;
    let token = gitlab.issue_token(&TokenOptions { portal: true, ..TokenOptions::default() }).unwrap();
    let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
    let url = |prefix: &str| format!("{}{prefix}/oauth/discovery/keys", gitlab.url());
    let set =
        |url: String| async { reqwest::get(url).await.unwrap().json::<jsonwebtoken::jwk::JwkSet>().await.unwrap() };
    assert!(set(url("")).await.find(&kid).is_none());
    assert!(set(url("/_customers")).await.find(&kid).is_some());
}
