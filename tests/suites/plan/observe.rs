//! `managementPolicy: Observe` keeps the plan in the status.

use std::time::Duration;

use duo_e2e::{Options, World};
use serde_json::{Value, json};

use crate::planner::{Planner, of};

fn plan_of(object: &Value) -> Vec<String> {
    let list = object["status"]["plan"].as_array().into_iter().flatten();
    list.map(|text| text.as_str().expect("a sentence").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn observe_keeps_the_plan_in_the_status_and_it_goes_when_nothing_differs() {
    let world = World::start("plan-observe", Options::default()).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    for (kind, name) in World::article_objects() {
        assert_eq!(
            world.get(kind, name).await["status"]["plan"],
            Value::Null,
            "{kind} {name} has a plan though nothing differs"
        );
    }
    world.patch("AIGateway", "duo", json!({"spec": {"managementPolicy": "Observe"}})).await.expect("a patch");
    world.until_ready("AIGateway", "duo").await;
    world.gitlab.edit(|state| {
        state.settings.ai_gateway_url = Some("http://by-hand.example".to_owned());
        let model = state.models.values_mut().find(|model| model.name == "Claude 3 Sonnet").expect("a model");
        model.identifier = "bedrock/other".to_owned();
        state.features.remove("code_completions");
    });
    let told = [
        ("AIGateway", "duo", "set gateway URL to"),
        ("SelfHostedModel", "claude-3-sonnet", "update model \"Claude 3 Sonnet\": identifier from \"bedrock/other\""),
        ("FeatureAssignment", "code-suggestions", "set feature code_completions to"),
    ];
    for (kind, name, words) in told {
        let object =
            world.until(kind, name, words, |object| plan_of(object).iter().any(|text| text.starts_with(words))).await;
        assert_eq!(plan_of(&object).len(), 1, "{object:#}");
    }
    // A plan that does not change is not written again.
    world.rests_for(Duration::from_secs(7)).await;

    // The program says the same, and that nothing would be written.
    let planner = Planner::new(&world).await;
    planner.file(
        "article.yaml",
        &planner.article().replace("  replicas: 2\n", "  replicas: 2\n  managementPolicy: Observe\n"),
    );
    let run = planner.plan(&["-o", "json"]).await;
    assert_eq!(run.code, 0, "{run:#?}");
    let plan = run.json();
    for (kind, name, words) in told {
        let left = of(&plan, kind, name)["leftAlone"].to_string().replace("\\\"", "\"");
        assert!(left.contains(words), "{kind} {name}: {left}");
    }

    world.patch("AIGateway", "duo", json!({"spec": {"managementPolicy": "Full"}})).await.expect("a patch");
    world.until_article_is_ready().await;
    for (kind, name, _) in told {
        world.until(kind, name, "no plan", |object| plan_of(object).is_empty()).await;
    }
}
