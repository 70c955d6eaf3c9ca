//! Google's access tokens: who signs for them, how long they are kept, what is said when there is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use duo_protocol::model::UpstreamFailure;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use super::{Stand, complete, conversation};
use crate::support::Key;
use crate::support::recorder::{Recorder, Reply};

/// The JSON key file of a service account.
pub fn key_file(token_uri: &str) -> String {
    json!({
        "type": "service_account", "project_id": "p-1", "private_key_id": "kid-1",
        "private_key": Key::number(0, "kid-1").pem, "client_email": "duo@p-1.iam.gserviceaccount.com",
        "client_id": "1", "token_uri": token_uri,
    })
    .to_string()
}

const ANSWER: &str = include_str!("answers/anthropic.json");

fn config(url: &str, source: &str) -> String {
    format!(
        "providers: {{vertexAi: {{project: p-1, location: europe-west1, endpoint: '{url}'{source}}}}}\n\
         models: [{{name: m, family: claude_3, identifier: vertex_ai/claude-sonnet-4}}]"
    )
}

#[tokio::test]
async fn a_service_account_signs_for_its_token_once() {
    let server = Recorder::start(|noted| match noted.target.as_str() {
        "/token" => Reply::json(json!({"access_token": "ya29.abc", "expires_in": 3599})),
        _ => Reply::json(ANSWER),
    })
    .await;
    let uri = format!("{}/token", server.url);
    let file = key_file(&uri);
    let stand = Stand::new(&config(&server.url, ", credentialsFile: g.json"), &[("g.json", &file)]);
    for _ in 0..3 {
        complete(stand.place(), conversation()).await.unwrap();
    }
    let asked: Vec<_> = server.noted().into_iter().filter(|noted| noted.target == "/token").collect();
    assert_eq!(asked.len(), 1, "kept");
    let form = asked[0].form();
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let jwk: Jwk = serde_json::from_value(Key::number(0, "kid-1").jwk()).unwrap();
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&[&uri]);
    rules.set_issuer(&["duo@p-1.iam.gserviceaccount.com"]);
    let token =
        jsonwebtoken::decode::<Value>(&form["assertion"], &DecodingKey::from_jwk(&jwk).unwrap(), &rules).unwrap();
    assert_eq!(token.claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
    assert_eq!(token.header.kid.as_deref(), Some("kid-1"));
    assert_eq!(server.last().header("authorization"), "Bearer ya29.abc");

    // a reload that changes nothing keeps the token
    let again =
        Stand::after(&config(&server.url, ", credentialsFile: g.json"), &[("g.json", &file)], Some(&stand.active));
    complete(again.place(), conversation()).await.unwrap();
    assert_eq!(server.noted().iter().filter(|noted| noted.target == "/token").count(), 1);
}

#[tokio::test]
async fn the_metadata_servers_token_is_renewed_early_and_after_a_401() {
    let life = Arc::new(AtomicU64::new(200));
    let refusals = Arc::new(AtomicUsize::new(0));
    let (lives, refuse) = (life.clone(), refusals.clone());
    let server = Recorder::start(move |noted| {
        if noted.target.starts_with("/computeMetadata/v1/instance/service-accounts/default/token") {
            assert_eq!(noted.header("metadata-flavor"), "Google");
            return Reply::json(json!({"access_token": "t", "expires_in": lives.load(Ordering::SeqCst)}));
        }
        match refuse.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Reply::json(json!({"error": {"code": 401, "message": "expired", "status": "UNAUTHENTICATED"}}))
                .status(401),
            Err(_) => Reply::json(ANSWER),
        }
    })
    .await;
    let host = server.url.trim_start_matches("http://").to_owned();
    let stand = Stand::with(&config(&server.url, ""), &[], None, |settings| {
        settings.providers.gce_metadata_host = Some(host);
    });
    let tokens = || server.noted().iter().filter(|noted| noted.target.contains("/token")).count();
    complete(stand.place(), conversation()).await.unwrap();
    complete(stand.place(), conversation()).await.unwrap();
    assert_eq!(tokens(), 2, "one that ends within five minutes is not kept");
    life.store(3600, Ordering::SeqCst);
    complete(stand.place(), conversation()).await.unwrap();
    complete(stand.place(), conversation()).await.unwrap();
    assert_eq!(tokens(), 3);
    refusals.store(1, Ordering::SeqCst);
    let refused = complete(stand.place(), conversation()).await.unwrap_err();
    assert!(matches!(refused, UpstreamFailure::Status { code: 401, .. }), "{refused}");
    complete(stand.place(), conversation()).await.unwrap();
    assert_eq!(tokens(), 4);
}

#[tokio::test]
async fn a_refused_or_missing_token_is_told_without_the_key() {
    let server = Recorder::start(|noted| {
        assert_eq!(noted.target, "/token", "the model is not asked without a token");
        Reply::json(json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."})).status(400)
    })
    .await;
    let file = key_file(&format!("{}/token", server.url));
    let stand = Stand::new(&config(&server.url, ", credentialsFile: g.json"), &[("g.json", &file)]);
    let refused = complete(stand.place(), conversation()).await.unwrap_err().to_string();
    assert!(refused.starts_with("401: ") && refused.contains("Invalid JWT Signature"), "{refused}");
    assert!(!refused.contains("PRIVATE KEY"), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_no_service_accounts_key_is_refused_by_name_and_at_the_start_fails_its_own_models_only() {
    let other = json!({"type": "authorized_user", "refresh_token": "secret-thing"}).to_string();
    for (content, wanted) in [(other.as_str(), "authorized_user"), ("nonsense", "JSON key file")] {
        let server = Recorder::start(|_| Reply::json(include_str!("answers/openai.json"))).await;
        let second = format!(
            "{}\n         - {{name: v, family: general, identifier: custom_openai/x, endpoint: '{}/v1'}}",
            config("http://x", ", credentialsFile: g.json")
                .replace("models: [{", "models:\n         - {")
                .replace("}]", "}"),
            server.url
        );
        // Nothing could be kept: the other models are served.
        let stand = Stand::new(&second, &[("g.json", content)]);
        let error = complete(stand.place(), conversation()).await.unwrap_err().to_string();
        assert!(error.starts_with("401: ") && error.contains(wanted), "{error}");
        assert!(!error.contains("secret-thing"), "{error}");
        complete(&stand.places[1], conversation()).await.unwrap();

        let folder = crate::support::config_folder(
            &format!("gitlab: {{url: 'http://g'}}\n{}", config("http://x", ", credentialsFile: g.json")),
            "",
            "",
            &[("g.json", content)],
        );
        let (mounted, _) = duo_gateway::config_store::Mounted::load(&folder.path().join("config.yaml")).unwrap();
        let settings = crate::support::world::settings("http://g");
        let built = duo_gateway::active::Active::build(&settings, Some(&mounted), Some(&stand.active));
        let error = built.err().expect("what is in force is kept").to_string();
        assert!(error.contains("g.json") && error.contains(wanted), "{error}");
        assert!(!error.contains("secret-thing"), "{error}");
    }
}
