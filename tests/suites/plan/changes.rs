//! Plans and what becomes of them.

use duo_e2e::operator::Operator;
use duo_e2e::{Options, World, manifests};
use serde_json::{Value, json};

use crate::planner::{Planner, children, of, sentences};

async fn quiet(prefix: &str) -> World {
    World::start(prefix, Options { operator: false, ..Options::default() }).await
}

async fn start_operator(world: &World) {
    let operator = Operator::start(world.control_plane, &world.namespace, 2, &[]).await;
    world.with_operator(|slot| *slot = Some(operator));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_installation_is_planned_whole_and_what_is_planned_is_what_is_done() {
    let world = quiet("plan-first").await;
    let planner = Planner::new(&world).await;
    planner.file("article.yaml", &planner.article());

    let run = planner.plan(&["-o", "json"]).await;
    assert_eq!(run.code, 2, "{run:#?}");
    let plan = run.json();
    let url = format!("http://duo.{}.svc:5052", world.namespace);
    let told = sentences(&plan);
    assert_eq!(
        told,
        [
            format!("set gateway URL to {url} (found: no URL)"),
            "create model \"Claude 3 Sonnet\"".to_owned(),
            "create model \"Mixtral 8x7B\"".to_owned(),
            "set feature duo_chat to model \"Claude 3 Sonnet\" (found: unassigned)".to_owned(),
            "set feature duo_chat_explain_code to model \"Claude 3 Sonnet\" (found: unassigned)".to_owned(),
            "set feature code_generations to model \"Mixtral 8x7B\" (found: unassigned)".to_owned(),
            "set feature code_completions to model \"Mixtral 8x7B\" (found: unassigned)".to_owned(),
        ],
        "{plan:#}"
    );
    for child in ["Deployment duo", "Service duo", "Secret duo-credentials", "ConfigMap duo-config"] {
        assert!(children(&plan).contains(&format!("create {child}")), "{child}: {plan:#}");
    }
    for (kind, name) in World::article_objects() {
        let resource = of(&plan, kind, name);
        assert_eq!(
            (&resource["action"], &resource["refused"], &resource["waits"]),
            (&json!("create"), &Value::Null, &Value::Null),
            "{plan:#}"
        );
        assert!(resource["source"].as_str().is_some_and(|source| source.contains("article.yaml:")), "{resource:#}");
    }
    planner.changed_nothing().await;
    planner.asked_gitlab_only_to_read();
    assert_eq!(world.get("AIGateway", "duo").await, Value::Null);

    // The words for people say the same.
    let text = planner.plan(&[]).await;
    assert_eq!(text.code, 2);
    for sentence in &told {
        assert!(text.out.contains(&format!("  GitLab: {sentence}\n")), "{}", text.out);
    }
    assert!(text.out.contains("7 writes to GitLab"), "{}", text.out);

    // Now for real: GitLab gets exactly these writes, and then there is nothing more to do.
    let mark = world.gitlab.journal().mark();
    start_operator(&world).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    assert_eq!(world.gitlab.journal().writes(mark).len(), told.len(), "{:#?}", world.mutations_since(mark));
    let again = planner.plan(&["-o", "json"]).await;
    assert_eq!(again.code, 0, "{again:#?}");
    assert_eq!(planner.plan(&[]).await.out.lines().last(), Some("Plan: nothing to change."));
    planner.changed_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_planned_field_by_field_and_done_as_planned() {
    let world = World::start("plan-edit", Options::default()).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    world.with_operator(|operator| operator.as_mut().expect("an operator").kill());
    let planner = Planner::admin(&world).await;
    let edited = planner
        .article()
        .replace("displayName: Mixtral 8x7B", "displayName: Mixtral")
        .replace("replicas: 2", "replicas: 3")
        .replace("  requestTimeout: 60s\n", "  requestTimeout: 90s\n")
        .replace("features: [DuoChat, DuoChatExplainCode]", "features: [DuoChat, DuoChatRefactorCode]");
    planner.file("article.yaml", &edited);

    let run = planner.plan(&["-o", "json"]).await;
    assert_eq!(run.code, 2, "{run:#?}");
    let plan = run.json();
    let fields = |resource: &Value| resource["fields"].as_array().cloned().unwrap_or_default();
    let gateway = of(&plan, "AIGateway", "duo");
    assert_eq!(gateway["action"], "update");
    assert_eq!(
        fields(gateway),
        [
            json!({"path": "spec.replicas", "from": "2", "to": "3"}),
            json!({"path": "spec.requestTimeout", "from": "60s", "to": "90s"})
        ]
    );
    let deployment = gateway["cluster"].as_array().into_iter().flatten().find(|child| child["kind"] == "Deployment");
    let deployment = deployment.unwrap_or_else(|| panic!("no Deployment in {plan:#}"));
    assert!(fields(deployment).contains(&json!({"path": "spec.replicas", "from": "2", "to": "3"})), "{deployment:#}");
    let config = gateway["cluster"].as_array().into_iter().flatten().find(|child| child["kind"] == "ConfigMap");
    assert!(
        config.is_some_and(|config| config.to_string().contains("request_timeout_seconds")
            || config.to_string().contains("requestTimeoutSeconds")),
        "{plan:#}"
    );
    let told = sentences(&plan);
    // Explaining code stays with Duo Chat's model, to which a released sub-feature returns: no write for it.
    assert_eq!(
        told,
        [
            "set request timeout to 90 s (found: 60 s)",
            "update model \"Mixtral\": name from \"Mixtral 8x7B\" to \"Mixtral\"",
            "set feature duo_chat_refactor_code to model \"Claude 3 Sonnet\" (found: unassigned)",
        ],
        "{plan:#}"
    );
    planner.changed_nothing().await;
    planner.asked_gitlab_only_to_read();

    let mark = world.gitlab.journal().mark();
    world.apply(&edited).await;
    world.start_operator_again();
    world.until_article_is_ready().await;
    world.eventually("the rename", || world.models_in_gitlab().contains(&"Mixtral".to_owned())).await;
    world.eventually("the feature", || world.feature_in_gitlab("duo_chat_refactor_code").0 == "self_hosted").await;
    assert_eq!(world.gitlab.journal().writes(mark).len(), told.len(), "{:#?}", world.mutations_since(mark));
    let again = planner.plan(&["-o", "json"]).await;
    assert_eq!(again.code, 0, "{again:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_prune_what_the_files_leave_out_is_taken_for_deleted_and_else_it_stays() {
    let world = World::start("plan-prune", Options::default()).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    let planner = Planner::new(&world).await;
    let article = planner.article();
    let documents: Vec<&str> = article
        .split("---\n")
        .filter(|text| !text.contains("name: chat") && !text.contains("Claude 3 Sonnet"))
        .collect();
    planner.file("rest.yaml", &documents.join("---\n"));

    let kept = planner.plan(&["-o", "json"]).await;
    assert_eq!(kept.code, 0, "{kept:#?}");

    let run = planner.plan(&["-o", "json", "--prune"]).await;
    assert_eq!(run.code, 2, "{run:#?}");
    let plan = run.json();
    for (kind, name) in [("SelfHostedModel", "claude-3-sonnet"), ("FeatureAssignment", "chat")] {
        assert_eq!(of(&plan, kind, name)["action"], "delete", "{plan:#}");
    }
    let told = sentences(&plan);
    assert!(told.contains(&"delete model \"Claude 3 Sonnet\"".to_owned()), "{told:?}");
    assert!(told.iter().any(|sentence| sentence.starts_with("set feature duo_chat to unassigned")), "{told:?}");
    assert_eq!(of(&plan, "SelfHostedModel", "mixtral-8x7b")["action"], "none");
    planner.changed_nothing().await;
    assert_eq!(world.models_in_gitlab(), ["Claude 3 Sonnet", "Mixtral 8x7B"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_the_files_stand_in_for_those_of_the_cluster_and_are_never_shown() {
    let world = World::start("plan-secret", Options::default()).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    let planner = Planner::new(&world).await;
    planner.file("article.yaml", &planner.article());
    let rotated =
        manifests::secrets(&world.namespace).replace(manifests::AWS_SECRET, "rotatedSecretAccessKey/0123456789abcdef");
    planner.file("secrets.yaml", &rotated);
    for output in ["json", "yaml", "text"] {
        let run = planner.plan(&["-o", output]).await;
        assert_eq!(run.code, 2, "{run:#?}");
        assert!(run.out.contains("AWS_SECRET_ACCESS_KEY") && run.out.contains("(hidden)"), "{}", run.out);
        assert!(!run.out.contains("rotatedSecretAccessKey"), "{}", run.out);
        assert!(!run.out.contains("cm90YXRlZFNlY3JldEFjY2Vzc0tleS"), "base64: {}", run.out);
    }
    planner.changed_nothing().await;
}
