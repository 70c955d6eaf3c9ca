//! What wrong input gets: exit code 1 and an error that names the file, the line and the cure.

use duo_e2e::{Options, World};
use serde_json::{Value, json};

use crate::planner::Planner;

async fn world(prefix: &str) -> World {
    World::start(prefix, Options { operator: false, ..Options::default() }).await
}

/// A change of the article's text, and words that must stand in one line of the errors.
type Case<'a> = (&'a str, Box<dyn Fn(&str) -> String>, &'a [&'a str]);

fn replaced(from: &'static str, to: &'static str) -> Box<dyn Fn(&str) -> String> {
    Box::new(move |text| {
        assert!(text.contains(from), "{from} is not in the article");
        text.replacen(from, to, 1)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_in_the_files_names_its_line_and_the_cure() {
    let world = world("plan-wrong").await;
    let planner = Planner::new(&world).await;
    let cases: Vec<Case<'_>> = vec![
        ("broken YAML", replaced("  replicas: 2\n", "  replicas: [2\n"), &["article.yaml:", "this is not YAML"]),
        (
            "unknown field",
            replaced("  replicas: 2\n", "  replica: 2\n"),
            &["article.yaml:2: AIGateway", "unknown field", "spec.replica"],
        ),
        (
            "wrong type",
            replaced("  replicas: 2\n", "  replicas: two\n"),
            &["article.yaml:2: AIGateway", "spec.replicas", "integer"],
        ),
        (
            "refused by a rule",
            replaced("identifier: bedrock/mistral", "identifier: mistral"),
            &["SelfHostedModel", "/mixtral-8x7b", "must start with \"bedrock/\""],
        ),
        (
            "refused by two",
            replaced("requestTimeout: 60s", "requestTimeout: 5s"),
            &["requestTimeout must be between 60s and 600s"],
        ),
        (
            "another version",
            replaced("duo.selfhosted.dev/v1alpha1", "duo.selfhosted.dev/v1"),
            &["article.yaml:2: duo.selfhosted.dev/v1 AIGateway is no kind", "v1alpha1"],
        ),
        (
            "twice",
            Box::new(|text| format!("{text}---\n{text}")),
            &["AIGateway", "stands in", "article.yaml:2 already", "take one of the two out"],
        ),
        ("no name", replaced("  name: duo\n", "  nam: duo\n"), &["article.yaml:2: AIGateway has no metadata.name"]),
        (
            "a Secret that is nowhere",
            replaced("name: gitlab-admin", "name: nobody"),
            &["article.yaml:2: AIGateway", "SecretNotFound", "nobody", "create it"],
        ),
        (
            "a key that is nowhere",
            replaced("      key: token", "      key: tokne"),
            &["article.yaml:2: AIGateway", "SecretKeyMissing", "\"tokne\"", "add it"],
        ),
    ];
    for (what, change, words) in cases {
        planner.file("article.yaml", &change(&planner.article()));
        let run = planner.plan(&[]).await;
        assert_eq!(run.code, 1, "{what}: {run:#?}");
        let told =
            run.err.lines().any(|line| line.starts_with("error: ") && words.iter().all(|word| line.contains(word)));
        assert!(told, "{what}: {words:?} are not in one line of\n{}", run.err);
    }
    planner.changed_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_field_and_a_name_that_is_taken_are_refused() {
    let world = World::start("plan-refused", Options::default()).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    world.model_by_hand("Hand made", "mixtral", "bedrock/mistral.mixtral-8x7b-instruct-v0:1");
    let planner = Planner::new(&world).await;
    let model = |display: &str, gateway: &str, name: &str| {
        json!({
            "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": "SelfHostedModel", "metadata": {"name": name, "namespace": world.namespace},
            "spec": {"gatewayRef": {"name": gateway}, "displayName": display, "platform": "Bedrock", "family": "Mixtral",
                     "identifier": "bedrock/mistral.mixtral-8x7b-instruct-v0:1"},
        })
        .to_string()
    };
    for (manifest, words) in [
        (
            model("Mixtral 8x7B", "other", "mixtral-8x7b"),
            vec!["a.json:1: SelfHostedModel", "gatewayRef cannot be changed"],
        ),
        (model("Hand made", "duo", "new"), vec!["a.json:1: SelfHostedModel", "NameTaken", "adoptionPolicy: ByName"]),
        (model("Mixtral 8x7B", "duo", "new"), vec!["a.json:1: SelfHostedModel", "NameClaimed", "mixtral-8x7b"]),
    ] {
        planner.file("a.json", &manifest);
        let run = planner.plan(&[]).await;
        assert_eq!(run.code, 1, "{run:#?}");
        assert!(run.err.lines().any(|line| words.iter().all(|word| line.contains(word))), "{words:?}: {run:#?}");
    }
    // A model of a gateway that nobody declared yet waits, and that is no mistake.
    planner.file("a.json", &model("Later", "nobody", "later"));
    let run = planner.plan(&["-o", "json"]).await;
    assert_eq!(run.code, 2, "{run:#?}");
    assert_eq!(run.json()["resources"][0]["waits"]["reason"], "GatewayNotFound", "{run:#?}");
    planner.changed_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gitlab_that_is_away_or_refuses_the_token_makes_no_plan() {
    let world = world("plan-away").await;
    let planner = Planner::new(&world).await;
    let secrets = duo_e2e::manifests::secrets(&world.namespace)
        .replace(duo_e2e::manifests::ADMIN_TOKEN, "glpat-nobody-knows-this-one");
    planner.file("article.yaml", &planner.article());
    planner.file("secrets.yaml", &secrets);
    let run = planner.plan(&["-o", "json"]).await;
    assert_eq!(run.code, 1, "{run:#?}");
    assert!(run.err.contains("article.yaml:2: AIGateway") && run.err.contains("TokenInvalid"), "{}", run.err);
    assert!(!run.err.contains("glpat-nobody") && !run.out.contains("glpat-nobody"), "{run:#?}");
    assert!(!run.json()["errors"].as_array().expect("errors").is_empty());

    planner.file("secrets.yaml", "");
    planner.file("article.yaml", &planner.article().replace(&world.gitlab.url(), "http://127.0.0.1:1"));
    let run = planner.plan(&[]).await;
    assert_eq!(run.code, 1, "{run:#?}");
    assert!(run.err.contains("GitLab could not be asked") && run.err.contains("127.0.0.1:1"), "{}", run.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_rights_namespaces_clusters_and_files_are_told_with_their_cure() {
    let world = world("plan-rights").await;
    let planner = Planner::new(&world).await;
    planner.file("article.yaml", &planner.article());
    let path = planner.folder.join("article.yaml");
    let plan = |path: std::path::PathBuf, kubeconfig: Option<std::path::PathBuf>| {
        let planner = &planner;
        async move { planner.plan_with(path, &[], kubeconfig.as_deref()).await }
    };
    let nobody = world.control_plane.kubeconfig_for("nobody", &[]).expect("a kubeconfig");
    let admin = world.control_plane.kubeconfig_for("plan-admin", &["system:masters"]).expect("a kubeconfig");
    let empty = planner.folder.join("empty");
    std::fs::create_dir_all(&empty).expect("a folder");
    let elsewhere = planner.file("elsewhere/a.yaml", &planner.article().replace(&world.namespace, "no-such-namespace"));
    let cases = [
        (
            path.clone(),
            Some(nobody),
            vec!["aigateways.duo.selfhosted.dev is forbidden", "the right to get and list aigateways"],
        ),
        (path.clone(), None, vec!["no cluster to plan for", "set KUBECONFIG"]),
        (path.clone(), Some("/nowhere/config".into()), vec!["no cluster to plan for", "set KUBECONFIG"]),
        (
            elsewhere,
            Some(admin.clone()),
            vec!["namespace no-such-namespace does not exist", "kubectl create namespace"],
        ),
        (empty, Some(admin.clone()), vec!["holds no .yaml, .yml or .json file", "-R"]),
        ("/nowhere/a.yaml".into(), Some(admin), vec!["/nowhere/a.yaml: No such file"]),
    ];
    let mistyped = planner.plan(&["--outptu", "json"]).await;
    assert_eq!(mistyped.code, 1, "2 would mean that something changes: {mistyped:#?}");
    for (path, kubeconfig, words) in cases {
        let run = plan(path, kubeconfig).await;
        assert_eq!(run.code, 1, "{run:#?}");
        assert!(run.err.lines().any(|line| words.iter().all(|word| line.contains(word))), "{words:?}: {run:#?}");
        assert_eq!(run.out, "", "{run:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_rights_to_child_objects_do_and_are_noted() {
    let world = world("plan-readonly").await;
    let planner = Planner::new(&world).await;
    planner.file("sub/article.yaml", &planner.article());
    planner.file("other.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n");
    let run = planner.plan(&["-R", "-o", "json"]).await;
    assert_eq!(run.code, 2, "{run:#?}");
    let plan = run.json();
    let notes = plan["notes"].to_string();
    assert!(notes.contains("may not create") && notes.contains("deployments.apps"), "{notes}");
    assert!(notes.contains("Namespace x is left alone"), "{notes}");
    assert!(notes.contains("is GitLab 19.5.0"), "{notes}");
    assert_eq!(plan["errors"], Value::Null);
}
