//! Generated edits of specs, each followed until the world is what a small model of the rules says.
//!
//! `DUO_EDIT_SEEDS=7,8` plays other seeds than the fixed ones, `DUO_EDITS=100` more edits of each.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test program has no API, ends where it cannot go on and says what it did"
)]

mod declared;
mod edit;

use std::time::{Duration, Instant};

use declared::{Declared, FEATURES};
use duo_e2e::{Options, World, hand, manifests, wait};
use edit::Edit;
use serde_json::{Value, json};

const PERIOD: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(600);

async fn play(world: &World, edit: &Edit) {
    match edit {
        Edit::Apply(kind, name, spec) => put(world, kind, name, spec).await,
        Edit::ApplyAndRevert(kind, name, there, back) => {
            put(world, kind, name, there).await;
            put(world, kind, name, back).await;
        }
        Edit::Delete(kind, name) => world.delete(kind, name).await,
        Edit::Refused(kind, name, spec) => {
            let refusal = world.patch(kind, name, json!({"spec": spec})).await.expect_err("the API server refuses");
            assert!(matches!(&refusal, kube::Error::Api(status) if status.code == 422), "{refusal}");
        }
    }
}

/// Changes a spec, or creates the object.
async fn put(world: &World, kind: &str, name: &str, spec: &Value) {
    if !world.get(kind, name).await.is_null() {
        world.patch(kind, name, json!({"spec": spec})).await.expect("a valid edit");
        return;
    }
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    // two objects of one second would be told apart by name and not by age
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let object = json!({
        "apiVersion": "duo.selfhosted.dev/v1alpha1", "kind": kind, "spec": spec,
        "metadata": {"name": name, "namespace": world.namespace},
    });
    world.apply(&object.to_string()).await;
}

/// How GitLab and the resources differ from what is declared; empty when they do not.
async fn differences(world: &World, declared: &Declared) -> Vec<String> {
    let mut out = Vec::new();
    let state = world.gitlab.state();
    let sorted = |mut list: Vec<(String, String)>| {
        list.sort();
        list
    };
    let foreign = |name: &str| name == hand::FOREIGN_MODEL;
    let found = state.models.values().filter(|model| !foreign(&model.name));
    let found = sorted(found.map(|model| (model.name.clone(), model.identifier.clone())).collect());
    let wanted = sorted(declared.models.values().filter_map(|model| model.held.clone()).collect());
    if found != wanted {
        out.push(format!("GitLab has models {found:?}, declared are {wanted:?}"));
    }
    for (feature, (_, key)) in FEATURES.iter().enumerate() {
        let (provider, on) = world.feature_in_gitlab(key);
        let (wanted, model) = declared.settings.get(&feature).cloned().unwrap_or(("unassigned", None));
        let model = model.and_then(|name| declared.models[&name].held.clone()).map(|held| held.0);
        let nothing = wanted == "unassigned" && provider == "none";
        if !nothing && (provider.as_str(), &on) != (wanted, &model) {
            out.push(format!("{key} is {provider} {on:?}, declared is {wanted} {model:?}"));
        }
    }
    let timeout = state.settings.ai_gateway_timeout_seconds as u64;
    if timeout != declared.timeout {
        out.push(format!("the timeout is {timeout} s, declared are {} s", declared.timeout));
    }
    let mut expected = vec![("AIGateway", "duo".to_owned(), true)];
    expected.extend(declared.models.iter().map(|(name, model)| ("SelfHostedModel", name.clone(), model.synced)));
    let assignments = declared.assignments.keys();
    expected.extend(assignments.map(|name| ("FeatureAssignment", name.clone(), declared.is_ready(name))));
    for (kind, name, ready) in expected {
        let object = world.get(kind, &name).await;
        let seen = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        // what is being deleted tells what it waits for, of the spec that it was deleted with
        let deleting = !object["metadata"]["deletionTimestamp"].is_null();
        if (!seen && !deleting) || (wait::condition(&object, "Ready").0 == "True") != ready {
            out.push(format!("{kind} {name}: Ready should be {ready} in {:#}", object["status"]["conditions"]));
        }
        if !object["metadata"]["annotations"]["duo.selfhosted.dev/create-pending"].is_null() {
            out.push(format!("{kind} {name} has create-pending"));
        }
    }
    for at in 0..8 {
        for (kind, name, there) in [
            ("SelfHostedModel", format!("m{at}"), declared.models.contains_key(&format!("m{at}"))),
            ("FeatureAssignment", format!("f{at}"), declared.assignments.contains_key(&format!("f{at}"))),
        ] {
            if world.get(kind, &name).await.is_null() == there {
                out.push(format!("{kind} {name} should {}exist", if there { "" } else { "not " }));
            }
        }
    }
    out
}

async fn becomes_as_declared(world: &World, declared: &Declared, history: &[String]) {
    let started = Instant::now();
    let told = |what: &str| format!("{what}\nafter:\n{}\n{declared:#?}\n{}", history.join("\n"), world.log_tail());
    loop {
        let mut found = differences(world, declared).await;
        if found.is_empty() {
            let rest = world.proxies.as_ref().expect("proxies").until_at_rest(PERIOD, LIMIT).await;
            rest.unwrap_or_else(|why| panic!("{}", told(&why)));
            found = differences(world, declared).await;
        }
        if found.is_empty() {
            break;
        }
        assert!(started.elapsed() < LIMIT, "{}", told(&found.join("\n")));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    world.foreign_is_untouched();
}

async fn edits(seed: u64, count: usize) {
    let options = Options { proxied: true, resync_seconds: PERIOD.as_secs(), ..Options::default() };
    let world = World::start("edits", options).await;
    world.add_what_is_foreign();
    // all features of the generator are offered only then
    world.gitlab.edit(|state| state.terms_accepted = true);
    let article = manifests::article(&world.namespace, &world.gitlab.url(), &world.bedrock.url());
    let gateway = article.split("---\n").next().expect("the gateway").replace("replicas: 2", "replicas: 1");
    world.apply(&gateway).await;
    world.until_ready("AIGateway", "duo").await;

    let mut rng = fastrand::Rng::with_seed(seed);
    let mut declared = Declared::new(60);
    let mut history = Vec::new();
    for step in 1..=count {
        let next = edit::next(&mut rng, &mut declared);
        println!("seed {seed}, edit {step}: {next:?}");
        history.push(format!("{step}: {next:?}"));
        play(&world, &next).await;
        becomes_as_declared(&world, &declared, &history).await;
    }
    world.no_secret_is_told(&[]).await;
    println!("seed {seed}: {count} edits, all as declared");
}

async fn fixed_or_given(fixed: u64) {
    let count = std::env::var("DUO_EDITS").ok().and_then(|text| text.parse().ok()).unwrap_or(16);
    let given = std::env::var("DUO_EDIT_SEEDS").unwrap_or_default();
    let seeds: Vec<u64> = given.split(',').filter_map(|seed| seed.trim().parse().ok()).collect();
    match seeds.as_slice() {
        [] => edits(fixed, count).await,
        // given seeds are shared out among the tests
        seeds => {
            for seed in seeds.iter().filter(|seed| *seed % 2 == fixed % 2) {
                edits(*seed, count).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_edits_end_in_what_is_declared() {
    fixed_or_given(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_edits_end_in_what_is_declared() {
    fixed_or_given(2).await;
}
