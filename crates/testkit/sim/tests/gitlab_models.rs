//! Self-hosted models: validation, lists, and the traps around them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails panics")]

mod gitlab_support;

use duo_sim::gitlab::state::{READ_API_TOKEN, USER_TOKEN};
use gitlab_support::*;
use serde_json::json;

const LIST: &str =
    "{ aiSelfHostedModels { nodes { id name identifier endpoint model releaseState hasApiToken apiToken } } }";

#[tokio::test]
async fn invalid_models_get_all_messages_in_one_string() {
    let gitlab = gitlab(NEW).await;
    create(&gitlab, custom("taken", "GPT")).await;
    let long = "x".repeat(256);
    let cases = [
        (
            json!({"name": "", "endpoint": ""}),
            "Name can't be blank, Endpoint can't be blank, Endpoint must be a valid URL",
        ),
        (json!({"name": "taken"}), "Name has already been taken"),
        (json!({"endpoint": "ftp://a/v1"}), "Endpoint is blocked: Only allowed schemes are http, https"),
        (
            json!({"endpoint": format!("http://a/{}", "x".repeat(2048))}),
            "Endpoint is too long (maximum is 2048 characters)",
        ),
        (json!({"identifier": long}), "Identifier is too long (maximum is 255 characters)"),
    ];
    for (change, expected) in cases {
        let mut input = custom("free", "GPT");
        for (key, value) in change.as_object().unwrap() {
            input[key] = value.clone();
        }
        let reply = admin(&gitlab, CREATE, json!({"input": input})).await;
        assert_eq!(reply.data("/aiSelfHostedModelCreate/errors"), &json!([expected]), "{change}");
        assert_eq!(reply.data("/aiSelfHostedModelCreate/selfHostedModel"), &json!(null));
    }
    assert_eq!(gitlab.state().models.len(), 1);
}

#[tokio::test]
async fn endpoints_may_be_private_and_need_no_name_resolution() {
    let gitlab = gitlab(NEW).await;
    for (name, endpoint) in
        [("a", "http://127.0.0.1:8000/v1"), ("b", "http://nowhere.invalid/v1"), ("c", "http://10.0.0.1/v1")]
    {
        let mut input = custom(name, "GPT");
        input["endpoint"] = json!(endpoint);
        create(&gitlab, input).await;
    }
}

#[tokio::test]
async fn trap_nothing_enforces_the_bedrock_prefix() {
    let gitlab = gitlab(NEW).await;
    let mut input = bedrock("a");
    input["identifier"] = json!("no-prefix-at-all");
    create(&gitlab, input).await;
}

#[tokio::test]
async fn trap_a_name_longer_than_255_is_http_500() {
    let gitlab = gitlab(NEW).await;
    let reply = admin(&gitlab, CREATE, json!({"input": custom(&"n".repeat(256), "GPT")})).await;
    assert_eq!((reply.status, reply.error()), (500, "Internal server error"));
    assert!(gitlab.state().models.is_empty());
}

#[tokio::test]
async fn unset_identifier_reads_as_empty_and_family_as_lower_case_key() {
    let gitlab = gitlab(NEW).await;
    create(&gitlab, json!({"name": "a", "model": "CLAUDE_3", "provider": "BEDROCK"})).await;
    let reply = admin(&gitlab, LIST, json!({})).await;
    let model = reply.data("/aiSelfHostedModels/nodes/0");
    assert_eq!(
        (&model["identifier"], &model["model"], &model["endpoint"]),
        (&json!(""), &json!("claude_3"), &json!(null))
    );
}

#[tokio::test]
async fn trap_the_api_token_is_readable_by_an_administrator() {
    let gitlab = gitlab(NEW).await;
    let mut input = custom("a", "GPT");
    input["apiToken"] = json!("model-key");
    create(&gitlab, input).await;
    let reply = admin(&gitlab, LIST, json!({})).await;
    assert_eq!(reply.data("/aiSelfHostedModels/nodes/0/apiToken"), "model-key");
}

#[tokio::test]
async fn trap_beta_families_are_hidden_from_the_list_until_terms_are_accepted() {
    let gitlab = gitlab(NEW).await;
    let id = create(&gitlab, custom("hidden", "LLAMA3")).await;
    assert_eq!(admin(&gitlab, LIST, json!({})).await.data("/aiSelfHostedModels/nodes"), &json!([]));
    let by_id = "query($id: AiSelfHostedModelID) { aiSelfHostedModels(id: $id) { nodes { name } } }";
    let reply = admin(&gitlab, by_id, json!({"id": id})).await;
    assert_eq!(reply.data("/aiSelfHostedModels/nodes/0/name"), "hidden");
    let again = admin(&gitlab, CREATE, json!({"input": custom("hidden", "LLAMA3")})).await;
    assert_eq!(again.data("/aiSelfHostedModelCreate/errors"), &json!(["Name has already been taken"]));
    gitlab.edit(|state| state.terms_accepted = true);
    let reply = admin(&gitlab, LIST, json!({})).await;
    assert_eq!(reply.data("/aiSelfHostedModels/nodes/0/releaseState"), "BETA");
}

#[tokio::test]
async fn trap_unknown_ids_are_http_500_in_query_and_update_but_not_in_delete() {
    let gitlab = gitlab(NEW).await;
    let id = "gid://gitlab/Ai::SelfHostedModel/99";
    let by_id = "query($id: AiSelfHostedModelID) { aiSelfHostedModels(id: $id) { nodes { name } } }";
    assert_eq!(admin(&gitlab, by_id, json!({"id": id})).await.status, 500);
    let mut input = bedrock("a");
    input["id"] = json!(id);
    assert_eq!(admin(&gitlab, UPDATE, json!({"input": input})).await.status, 500);
    let reply = admin(&gitlab, DELETE, json!({"input": {"id": id}})).await;
    assert_eq!(reply.data("/aiSelfHostedModelDelete/errors"), &json!(["Self-hosted model not found"]));
}

#[tokio::test]
async fn an_update_without_a_token_keeps_it_and_an_empty_one_clears_it() {
    let gitlab = gitlab(NEW).await;
    let mut input = custom("a", "GPT");
    input["apiToken"] = json!("key");
    let id = create(&gitlab, input).await;
    let mut change = custom("b", "GPT");
    change["id"] = json!(id);
    let reply = admin(&gitlab, UPDATE, json!({"input": change})).await;
    assert_eq!(
        reply.data("/aiSelfHostedModelUpdate/selfHostedModel"),
        &json!({"id": id, "name": "b", "hasApiToken": true})
    );
    change["apiToken"] = json!("");
    let reply = admin(&gitlab, UPDATE, json!({"input": change})).await;
    assert_eq!(reply.data("/aiSelfHostedModelUpdate/selfHostedModel/hasApiToken"), &json!(false));
}

#[tokio::test]
async fn trap_sending_the_same_token_moves_updated_at_while_sending_nothing_new_does_not() {
    let gitlab = gitlab(NEW).await;
    let mut input = custom("a", "GPT");
    input["apiToken"] = json!("key");
    let id = create(&gitlab, input.clone()).await;
    let moment = |gitlab: &duo_sim::gitlab::Handle| gitlab.state().models[&1].updated_at;
    let created = moment(&gitlab);
    let mut same = custom("a", "GPT");
    same["id"] = json!(id);
    admin(&gitlab, UPDATE, json!({"input": same})).await;
    assert_eq!(moment(&gitlab), created);
    same["apiToken"] = json!("key");
    admin(&gitlab, UPDATE, json!({"input": same})).await;
    assert!(moment(&gitlab) > created);
}

#[tokio::test]
async fn trap_deleting_a_model_in_use_is_not_refused_and_its_feature_rows_vanish() {
    let gitlab = gitlab(NEW).await;
    let id = create(&gitlab, bedrock("a")).await;
    assign(&gitlab, "DUO_CHAT", &id).await;
    let reply = admin(&gitlab, DELETE, json!({"input": {"id": id}})).await;
    assert_eq!(reply.data("/aiSelfHostedModelDelete/errors"), &json!([]));
    assert!(gitlab.state().features.is_empty());
}

#[tokio::test]
async fn trap_pages_hold_100_at_most_newest_first_and_first_above_it_is_cut_silently() {
    let gitlab = gitlab(NEW).await;
    for number in 1..=120 {
        create(&gitlab, bedrock(&format!("m{number}"))).await;
    }
    let query = "query($after: String) { aiSelfHostedModels(first: 500, after: $after) \
                 { nodes { name } pageInfo { hasNextPage endCursor } } }";
    let first = admin(&gitlab, query, json!({})).await;
    let names = |reply: &Reply| reply.data("/aiSelfHostedModels/nodes").as_array().unwrap().clone();
    assert_eq!(names(&first).len(), 100);
    assert_eq!(names(&first)[0]["name"], "m120");
    assert_eq!(first.data("/aiSelfHostedModels/pageInfo/hasNextPage"), &json!(true));
    // a model that goes meanwhile does not shift the next page
    gitlab.edit(|state| state.destroy_model(21));
    let cursor = first.data("/aiSelfHostedModels/pageInfo/endCursor").clone();
    let second = admin(&gitlab, query, json!({"after": cursor})).await;
    assert_eq!((names(&second).len(), &names(&second)[0]["name"]), (20, &json!("m20")));
    assert_eq!(second.data("/aiSelfHostedModels/pageInfo/hasNextPage"), &json!(false));
}

#[tokio::test]
async fn without_the_right_the_list_is_null_without_an_error_and_mutations_get_the_access_error() {
    let gitlab = gitlab(NEW).await;
    let reply = as_token(&gitlab, USER_TOKEN, LIST, json!({})).await;
    assert_eq!(reply.data("/aiSelfHostedModels"), &json!(null));
    for token in [USER_TOKEN, READ_API_TOKEN] {
        let reply = as_token(&gitlab, token, CREATE, json!({"input": bedrock("a")})).await;
        assert_eq!((reply.status, reply.error()), (200, ACCESS_ERROR));
        assert_eq!(reply.body["data"]["aiSelfHostedModelCreate"], json!(null));
    }
    let reply = as_token(&gitlab, READ_API_TOKEN, LIST, json!({})).await;
    assert_eq!(reply.data("/aiSelfHostedModels/nodes"), &json!([]), "read_api is enough to read");
}

#[tokio::test]
async fn client_mutation_id_comes_back() {
    let gitlab = gitlab(NEW).await;
    let query = "mutation { aiSelfHostedModelDelete(input: {id: \"gid://gitlab/Ai::SelfHostedModel/1\", clientMutationId: \"x\"}) \
                 { clientMutationId errors } }";
    assert_eq!(admin(&gitlab, query, json!({})).await.data("/aiSelfHostedModelDelete/clientMutationId"), "x");
}
