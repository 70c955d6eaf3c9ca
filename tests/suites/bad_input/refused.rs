//! Declarations that contradict each other or GitLab. All stand beside the article's, which does not suffer.

use duo_e2e::{Options, World};
use serde_json::json;

use crate::{Cure, Told, assignment, model, nothing_written};

fn told<'a>(
    kind: &'a str,
    name: &'a str,
    condition: (&'a str, &'a str, &'a str),
    words: &'a [&'a str],
    cure: Cure,
) -> Told<'a> {
    Told { object: (kind, name), condition, words, cure }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_that_cannot_be_are_refused_by_name_and_the_others_go_on() {
    const M: &str = "SelfHostedModel";
    let world = World::start("models", Options::default()).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    world.until_condition(M, "claude-3-sonnet", "ConnectionVerified", "True", "").await;
    world.model_by_hand("Taken", "gpt", "custom_openai/x");
    let (mark, models) = (world.gitlab.journal().mark(), world.models_in_gitlab());

    let vllm = |name: &str, display: &str, key: &str| {
        model(
            &world,
            name,
            json!({"displayName": display, "platform": "OpenAICompatible", "family": "Mistral",
                   "identifier": "custom_openai/mistral", "endpoint": "http://127.0.0.1:9/v1",
                   "apiKeySecretRef": {"name": key}}),
        )
    };
    let declared = [
        model(&world, "astray", json!({"gatewayRef": {"name": "nothing"}})),
        model(&world, "double", json!({"displayName": "Mixtral 8x7B"})),
        model(&world, "taken", json!({"displayName": "Taken"})),
        model(&world, "vertex", json!({"platform": "VertexAI", "family": "Gemini", "identifier": "vertex_ai/gemini"})),
        model(&world, "beta", json!({"family": "Llama3", "identifier": "bedrock/meta.llama3-70b-instruct-v1:0"})),
    ];
    world.apply(&declared.join("\n---\n")).await;
    let refusals = [
        told(M, "astray", ("Accepted", "Unknown", "GatewayNotFound"), &["\"nothing\"", "does not exist"], Cure::Time),
        told(M, "double", ("Accepted", "False", "NameClaimed"), &["spec.displayName", "mixtral-8x7b"], Cure::Person),
        told(M, "taken", ("Synced", "False", "NameTaken"), &["\"Taken\"", "adoptionPolicy: ByName"], Cure::Person),
        told(M, "vertex", ("Accepted", "False", "ProviderNotConfigured"), &["spec.platform", "VertexAI"], Cure::Person),
        told(
            M,
            "beta",
            ("Accepted", "False", "TestingTermsNotAccepted"),
            &["spec.family", "Llama3", "testing terms"],
            Cure::Person,
        ),
    ];
    for refusal in refusals {
        refusal.until(&world).await;
    }
    nothing_written(&world, mark);
    assert_eq!(world.models_in_gitlab(), models);
    world.until_article_is_ready().await;

    // One endpoint with two keys: GitLab's requests would not tell the two apart.
    world.apply(&vllm("first", "First", "vllm")).await;
    world.until_condition(M, "first", "Synced", "True", "").await;
    world.apply(&vllm("second", "Second", "aws-bedrock")).await;
    let unlike = &["first", "apiKeySecretRef"];
    told(M, "second", ("Accepted", "False", "Indistinguishable"), unlike, Cure::Person).until(&world).await;

    // Cured one by one: by a hand in GitLab, by another declaration, by the terms.
    world.gitlab.edit(|state| {
        state.models.values_mut().filter(|model| model.name == "Taken").for_each(|model| model.name = "Theirs".into());
        state.terms_accepted = true;
    });
    world.patch(M, "double", json!({"spec": {"displayName": "Mixtral again"}})).await.expect("a patch");
    for name in ["taken", "beta", "double"] {
        world.until_ready(M, name).await;
    }
    let gateway = model(&world, "second", json!({"displayName": "Second"}));
    world.delete(M, "second").await;
    world.until_gone(M, "second").await;
    world.apply(&gateway).await;
    world.until_ready(M, "second").await;
    assert!(world.models_in_gitlab().contains(&"Theirs".to_owned()), "a model of somebody else was touched");
    // Each check costs tokens: new neighbours are no reason to ask a verified model again.
    let asked = world.gitlab.journal().since(mark).into_iter().filter(|entry| {
        entry.fields.iter().any(|field| field == "aiSelfHostedModelConnectionCheck")
            && entry.variables.to_string().contains("anthropic.claude-3-sonnet")
    });
    assert_eq!(asked.count(), 0, "a verified model was checked again");
    world.until_article_is_ready().await;
    world.users_are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_that_a_feature_refuses_is_told_before_gitlab_is_asked_and_the_other_features_are_set() {
    const F: &str = "FeatureAssignment";
    let world = World::start("features", Options::default()).await;
    world.apply_article().await;
    world.until_article_is_ready().await;

    let codestral = json!({"family": "Codestral", "identifier": "bedrock/mistral.mistral-large-2402-v1:0"});
    world.apply(&model(&world, "codestral", codestral)).await;
    world.until_condition("SelfHostedModel", "codestral", "Synced", "True", "").await;
    let mark = world.gitlab.journal().mark();
    world.apply(&assignment(&world, "mixed", &["ReviewMergeRequest"], "codestral")).await;
    let words = &["Codestral cannot serve ReviewMergeRequest (takes mistral, mixtral", "name another model"];
    told(F, "mixed", ("Accepted", "False", "FamilyIncompatible"), words, Cure::Person).until(&world).await;
    nothing_written(&world, mark);

    // Three at once: one that does not take the family, one held by an older assignment, one fine.
    world.patch(F, "code-suggestions", json!({"spec": {"features": ["CodeCompletions"]}})).await.expect("a patch");
    world.until_ready(F, "code-suggestions").await;
    let three = json!({"spec": {"features": ["ReviewMergeRequest", "CodeCompletions", "CodeGenerations"]}});
    world.patch(F, "mixed", three).await.expect("a patch");
    let words = &["CodeCompletions", "code-suggestions"];
    told(F, "mixed", ("Accepted", "False", "FeatureClaimed"), words, Cure::Person).until(&world).await;
    world
        .eventually("the feature that is fine is set", || {
            world.feature_in_gitlab("code_generations") == ("self_hosted".to_owned(), Some("codestral".to_owned()))
        })
        .await;
    assert_eq!(world.feature_in_gitlab("code_completions").1.as_deref(), Some("Mixtral 8x7B"));

    // A model that is not declared yet: nothing is touched until it comes.
    let mark = world.gitlab.journal().mark();
    world.apply(&assignment(&world, "early", &["DuoChatRefactorCode"], "later")).await;
    told(F, "early", ("ModelResolved", "Unknown", "ModelNotFound"), &["\"later\""], Cure::Time).until(&world).await;
    let astray = assignment(&world, "astray", &["DuoChatWriteTests"], "later");
    world.apply(&astray.replace(r#""gatewayRef":{"name":"duo"}"#, r#""gatewayRef":{"name":"nothing"}"#)).await;
    told(F, "astray", ("Accepted", "Unknown", "GatewayNotFound"), &["\"nothing\""], Cure::Time).until(&world).await;
    let early = ["DUO_CHAT_REFACTOR_CODE", "DUO_CHAT_WRITE_TESTS"];
    let writes = world.mutations_since(mark);
    assert!(!writes.iter().any(|write| early.iter().any(|feature| write.contains(feature))), "{writes:#?}");
    world.apply(&model(&world, "later", json!({"displayName": "Later"}))).await;
    world.until_ready(F, "early").await;

    // Cured by a declaration that GitLab takes.
    world.patch(F, "mixed", json!({"spec": {"features": ["CodeGenerations"]}})).await.expect("a patch");
    world.until_ready(F, "mixed").await;
    world.users_are_served().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gitlab_is_not_switched_over_while_models_that_nobody_declared_are_in_use() {
    const OLD: &str = "http://old-gateway.example:5052";
    let world = World::start("undeclared", Options::default()).await;
    let id = world.model_by_hand("Made by hand", "gpt", "custom_openai/x");
    world.feature_by_hand("duo_chat_write_tests", "self_hosted", Some(id));
    world.gitlab.edit(|state| state.settings.ai_gateway_url = Some(OLD.to_owned()));
    world.apply_article().await;
    let condition = ("GatewayURLConfigured", "False", "UndeclaredModelsInUse");
    let words = &["Made by hand", "adoptionPolicy: ByName", "spec.undeclaredModels"];
    told("AIGateway", "duo", condition, words, Cure::Person).until(&world).await;
    assert_eq!(world.gitlab.state().settings.ai_gateway_url.as_deref(), Some(OLD));

    world.patch("AIGateway", "duo", json!({"spec": {"undeclaredModels": "Refuse"}})).await.expect("a patch");
    world.until_article_is_ready().await;
    world.users_are_served().await;
    assert_eq!(world.feature_in_gitlab("duo_chat_write_tests").1.as_deref(), Some("Made by hand"));
}
