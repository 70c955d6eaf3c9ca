//! Feature settings: what is listed, what assigning does, and the traps around it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]

mod gitlab_support;

use duo_sim::gitlab::Version;
use duo_sim::gitlab::state::USER_TOKEN;
use gitlab_support::*;
use serde_json::{Value, json};

const LIST: &str = "{ aiFeatureSettings { nodes { feature provider title releaseState compatibleLlms \
                    selfHostedModel { id } } } }";

async fn listed(gitlab: &duo_sim::gitlab::Handle) -> Vec<String> {
    let reply = admin(gitlab, LIST, json!({})).await;
    let nodes = reply.data("/aiFeatureSettings/nodes").as_array().unwrap().clone();
    nodes.iter().map(|node| node["feature"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn one_entry_for_each_allowed_feature_also_without_a_row() {
    let gitlab = gitlab(OLD).await;
    let reply = admin(&gitlab, LIST, json!({})).await;
    let first = reply.data("/aiFeatureSettings/nodes/0");
    assert_eq!(first["provider"], "unassigned");
    assert_eq!(listed(&gitlab).await.len(), 10, "GA features of 18.9");
}

#[tokio::test]
async fn beta_features_are_listed_after_the_terms_and_two_never_on_premium() {
    let gitlab = gitlab(OLD).await;
    gitlab.edit(|state| state.terms_accepted = true);
    assert_eq!(listed(&gitlab).await.len(), 18);
    gitlab.edit(|state| state.license.as_mut().unwrap().plan = "premium".to_owned());
    let premium = listed(&gitlab).await;
    assert_eq!(premium.len(), 16);
    assert!(!premium.contains(&"resolve_vulnerability".to_owned()));
}

#[tokio::test]
async fn trap_the_mutation_takes_a_beta_feature_that_is_not_listed() {
    let gitlab = gitlab(NEW).await;
    let id = create(&gitlab, bedrock("a")).await;
    assign(&gitlab, "GENERATE_COMMIT_MESSAGE", &id).await;
    assert!(!listed(&gitlab).await.contains(&"generate_commit_message".to_owned()));
    let using = "query($id: AiSelfHostedModelID) { aiFeatureSettings(selfHostedModelId: $id) { nodes { feature } } }";
    let reply = admin(&gitlab, using, json!({"id": id})).await;
    assert_eq!(reply.data("/aiFeatureSettings/nodes"), &json!([{"feature": "generate_commit_message"}]));
}

#[tokio::test]
async fn a_model_of_another_family_is_refused_in_gitlabs_words() {
    let gitlab = gitlab(NEW).await;
    let cases = [
        ("CODEGEMMA", "DUO_CHAT", "Codegemma is incompatible with the General Chat feature"),
        ("CODESTRAL", "DUO_CHAT_TROUBLESHOOT_JOB", "Codestral is incompatible with the Root Cause Analysis feature"),
        ("LLAMA3", "DUO_AGENT_PLATFORM_AGENTIC_CHAT", "Llama3 is incompatible with the Agentic Chat feature"),
    ];
    for (family, feature, expected) in cases {
        let id = create(&gitlab, custom(family, family)).await;
        let input = json!({"features": [feature], "provider": "SELF_HOSTED", "aiSelfHostedModelId": id});
        let reply = admin(&gitlab, ASSIGN, json!({"input": input})).await;
        assert_eq!(reply.data("/aiFeatureSettingUpdate/errors"), &json!([expected]));
    }
    assert!(gitlab.state().features.is_empty());
}

#[tokio::test]
async fn trap_a_batch_is_not_atomic_and_errors_do_not_name_the_feature() {
    let gitlab = gitlab(NEW).await;
    let id = create(&gitlab, custom("a", "CODEGEMMA")).await;
    let input =
        json!({"features": ["CODE_COMPLETIONS", "DUO_CHAT"], "provider": "SELF_HOSTED", "aiSelfHostedModelId": id});
    let reply = admin(&gitlab, ASSIGN, json!({"input": input})).await;
    assert_eq!(reply.data("/aiFeatureSettingUpdate/aiFeatureSettings/0/feature"), "code_completions");
    assert_eq!(reply.data("/aiFeatureSettingUpdate/errors").as_array().unwrap().len(), 1);
    assert_eq!(gitlab.state().features.len(), 1);
}

#[tokio::test]
async fn no_features_and_no_model_are_payload_errors() {
    let gitlab = gitlab(NEW).await;
    let reply = admin(&gitlab, ASSIGN, json!({"input": {"features": [], "provider": "DISABLED"}})).await;
    assert_eq!(reply.data("/aiFeatureSettingUpdate/errors"), &json!(["At least one feature is required"]));
    let reply = admin(&gitlab, ASSIGN, json!({"input": {"features": ["DUO_CHAT"], "provider": "SELF_HOSTED"}})).await;
    assert_eq!(reply.data("/aiFeatureSettingUpdate/errors"), &json!(["Self hosted model can't be blank"]));
}

#[tokio::test]
async fn trap_disabled_and_unassigned_keep_the_model_unless_null_is_explicit() {
    let gitlab = gitlab(NEW).await;
    let id = create(&gitlab, bedrock("a")).await;
    for provider in ["DISABLED", "UNASSIGNED"] {
        assign(&gitlab, "DUO_CHAT", &id).await;
        let kept = json!({"features": ["DUO_CHAT"], "provider": provider});
        admin(&gitlab, ASSIGN, json!({"input": kept})).await;
        assert_eq!(gitlab.state().features["duo_chat"].model_id, Some(1), "{provider}");
        let cleared = json!({"features": ["DUO_CHAT"], "provider": provider, "aiSelfHostedModelId": null});
        admin(&gitlab, ASSIGN, json!({"input": cleared})).await;
        assert_eq!(gitlab.state().features["duo_chat"].model_id, None, "{provider}");
    }
    let in_use = "{ aiSelfHostedModels { nodes { featureSettings { nodes { feature } } } } }";
    let reply = admin(&gitlab, in_use, json!({})).await;
    assert_eq!(reply.data("/aiSelfHostedModels/nodes/0/featureSettings/nodes"), &json!([]));
}

#[tokio::test]
async fn trap_valid_models_are_filled_only_when_the_querys_text_has_the_word() {
    let gitlab = gitlab(NEW).await;
    create(&gitlab, bedrock("a")).await;
    create(&gitlab, custom("b", "CODEGEMMA")).await;
    let query = "{ aiFeatureSettings { nodes { feature validModels { nodes { name } } } } }";
    let reply = admin(&gitlab, query, json!({})).await;
    let nodes = reply.data("/aiFeatureSettings/nodes").as_array().unwrap().clone();
    let chat = nodes.iter().find(|node| node["feature"] == "duo_chat").unwrap();
    assert_eq!(chat["validModels"]["nodes"], json!([{"name": "a"}]), "codegemma does not serve chat");
    let reply = as_token(&gitlab, USER_TOKEN, query, json!({})).await;
    let emptied = reply.data("/aiFeatureSettings/nodes").as_array().unwrap().clone();
    assert!(
        emptied.iter().all(|node| node["validModels"]["nodes"] == json!([])),
        "the list is not authorised, this is"
    );
    assert!(!emptied.is_empty());
}

#[tokio::test]
async fn vendored_clears_the_model_and_needs_an_online_licence_for_a_reference() {
    let gitlab = gitlab(NEW).await;
    let id = create(&gitlab, bedrock("a")).await;
    assign(&gitlab, "DUO_CHAT", &id).await;
    let vendored =
        |reference: Value| json!({"features": ["DUO_CHAT"], "provider": "VENDORED", "offeredModelRef": reference});
    let reply = admin(&gitlab, ASSIGN, json!({"input": vendored(json!("gpt_simulated"))})).await;
    assert_eq!(reply.data("/aiFeatureSettingUpdate/errors"), &json!(["No model definition given for validation"]));
    gitlab.edit(|state| state.license.as_mut().unwrap().kind = "online_cloud".to_owned());
    gitlab.edit(|state| state.instance.cloud_reachable = false);
    let reply = admin(&gitlab, ASSIGN, json!({"input": vendored(json!(null))})).await;
    assert_eq!(reply.data("/aiFeatureSettingUpdate/errors"), &json!(["Failed to fetch model definitions"]));
    gitlab.edit(|state| state.instance.cloud_reachable = true);
    let reply = admin(&gitlab, ASSIGN, json!({"input": vendored(json!("gpt_simulated"))})).await;
    assert_eq!(reply.data("/aiFeatureSettingUpdate/aiFeatureSettings/0/selfHostedModel"), &json!(null));
}

#[tokio::test]
async fn callers_without_any_right_get_the_access_error_and_with_a_part_the_settings_name() {
    let gitlab = gitlab(NEW).await;
    let id = create(&gitlab, bedrock("a")).await;
    let input = json!({"features": ["DUO_CHAT"], "provider": "SELF_HOSTED", "aiSelfHostedModelId": id});
    let reply = as_token(&gitlab, USER_TOKEN, ASSIGN, json!({"input": input})).await;
    assert_eq!(reply.error(), ACCESS_ERROR);
    // online without Duo on 18.9 with usage billing off: GitLab-managed models only
    gitlab.edit(|state| {
        state.instance.version = Version::new(18, 9, 0);
        state.instance.dap_per_request_billing = false;
        state.license.as_mut().unwrap().kind = "online_cloud".to_owned();
        state.add_ons.clear();
    });
    let reply = admin(&gitlab, ASSIGN, json!({"input": input})).await;
    assert_eq!(reply.error(), "You don't have permission to update the setting ai_self_hosted_model_id.");
}

#[tokio::test]
async fn the_allow_list_is_for_online_licences_from_19_1() {
    let query = "mutation { aiFeatureSettingModelAllowlistUpdate(input: {allowlistEnabled: true, \
                 allowlistModelRefs: [\"gpt_simulated\"], feature: DUO_CHAT}) { errors allowList { enabled } } }";
    let gitlab = gitlab(NEW).await;
    assert_eq!(admin(&gitlab, query, json!({})).await.error(), ACCESS_ERROR);
    gitlab.edit(|state| state.license.as_mut().unwrap().kind = "online_cloud".to_owned());
    let reply = admin(&gitlab, query, json!({})).await;
    assert_eq!(reply.data("/aiFeatureSettingModelAllowlistUpdate/allowList/enabled"), &json!(true));
    gitlab.edit(|state| state.instance.version = Version::new(19, 0, 0));
    assert!(admin(&gitlab, query, json!({})).await.error().contains("doesn't exist on type 'Mutation'"));
}

#[tokio::test]
async fn trap_a_firewalled_online_instance_lists_features_slowly_once() {
    let gitlab = gitlab(NEW).await;
    gitlab.edit(|state| {
        state.license.as_mut().unwrap().kind = "online_cloud".to_owned();
        state.instance.cloud_reachable = false;
    });
    let started = std::time::Instant::now();
    listed(&gitlab).await;
    assert!(started.elapsed() >= std::time::Duration::from_secs(5));
    let again = std::time::Instant::now();
    listed(&gitlab).await;
    assert!(again.elapsed() < started.elapsed(), "cached");
}
