//! The operator is killed at any point of the first apply: started again it converges, with no duplicate.

#![allow(missing_docs, clippy::expect_used, reason = "a test program has no API and ends where its world cannot go on")]

use std::time::{Duration, Instant};

use duo_e2e::operator::Operator;
use duo_e2e::wait::LIMIT;
use duo_e2e::{Options, World, hand};
use duo_sim::gitlab::{Action, Entry, Fault};
use serde_json::json;

/// Name of the fault at which the operator is killed.
const KILLED: &str = "killed";
/// The mutation that stores nothing.
const CHECK: &str = "aiSelfHostedModelConnectionCheck";

/// What has to hold in GitLab at every moment, also between two lives of the operator.
fn no_duplicate_and_nothing_foreign(world: &World) {
    world.foreign_is_untouched();
    let allowed = ["Claude 3 Sonnet", "Mixtral 8x7B", hand::FOREIGN_MODEL];
    let models = world.models_in_gitlab();
    assert!(models.iter().all(|name| allowed.contains(&name.as_str())) && models.len() <= 3, "{models:?}");
}

/// What has to hold in the end.
async fn converged(world: &World) {
    world.until_article_is_ready().await;
    world.users_are_served().await;
    assert_eq!(world.models_in_gitlab(), ["Claude 3 Sonnet", "Mixtral 8x7B", hand::FOREIGN_MODEL]);
    world.foreign_is_untouched();
    for (kind, name) in World::article_objects() {
        let annotations = world.get(kind, name).await["metadata"]["annotations"].clone();
        assert!(annotations["duo.selfhosted.dev/create-pending"].is_null(), "{kind} {name}: {annotations}");
    }
    world.no_secret_is_told(&[]).await;
}

async fn ready_conditions(world: &World) -> bool {
    for (kind, name) in World::article_objects() {
        if duo_e2e::wait::condition(&world.get(kind, name).await, "Ready").0 != "True" {
            return false;
        }
    }
    true
}

/// Every mutation of the first apply never gets its answer, and the operator dies waiting for it: before the mutation
/// took effect, and in the next life after it.
async fn killed_at_every_mutation(gitlab: &'static str) {
    let world = World::start("crash", Options { gitlab, ..Options::default() }).await;
    world.add_what_is_foreign();
    let mut met: Vec<String> = Vec::new();
    let checks = |met: &[String]| met.iter().filter(|mutation| mutation.starts_with(CHECK)).count();
    let arm = |met: &[String]| {
        let faults = world.gitlab.faults();
        faults.clear();
        if checks(met) >= 2 {
            // a check changes nothing, so it would be made and killed for ever
            faults.add(Fault::new(Action::Delay { ms: 0 }).on(CHECK));
        }
        let hang = Fault { name: KILLED.to_owned(), mutations_only: true, ..Fault::new(Action::Hang) };
        if met.len() % 2 == 1 {
            faults.add(hang.clone().times(1).after_effect());
        }
        // no other mutation slips through while the operator waits for its end
        faults.add(hang);
        world.gitlab.journal().mark()
    };
    let mut mark = arm(&met);
    world.apply_article().await;
    let started = Instant::now();
    'lives: loop {
        assert!(started.elapsed() < 2 * LIMIT, "mutations do not end: {met:#?}");
        let entry = loop {
            let killed = |entry: &Entry| entry.fault.as_deref() == Some(KILLED);
            if let Some(entry) = world.gitlab.journal().since(mark).into_iter().find(killed) {
                break entry;
            }
            if ready_conditions(&world).await {
                break 'lives;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        // the effect of a mutation comes a moment after the journal shows that the fault is played
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.kill_operator();
        no_duplicate_and_nothing_foreign(&world);
        met.push(format!("{} {}", entry.fields.join(","), entry.variables));
        mark = arm(&met);
        world.start_operator_again();
    }
    world.gitlab.faults().clear();
    converged(&world).await;
    let killed_at = |field: &str| met.iter().filter(|mutation| mutation.starts_with(field)).count();
    for (field, least) in [("duoSettingsUpdate", 1), ("aiSelfHostedModelCreate", 2), ("aiFeatureSettingUpdate", 4)] {
        assert!(killed_at(field) >= least, "too few of {field} were met, the test proves little: {met:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_write_to_gitlab_before_and_after_its_effect() {
    killed_at_every_mutation("19.5.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_write_to_gitlab_18_9_before_and_after_its_effect() {
    killed_at_every_mutation("18.9.0").await;
}

/// The operator dies after its first writes to the API server, again and again, until all is Ready.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_writes_to_kubernetes() {
    let world = World::start("crash", Options::default()).await;
    world.add_what_is_foreign();
    world.apply_article().await;
    let mut lives = 0;
    let started = Instant::now();
    // Lives of one to five writes; a life that writes nothing more in two seconds has come to rest or waits.
    'lives: for life in (1..=5).cycle() {
        let mark = world.mark().await;
        let born = Instant::now();
        loop {
            if ready_conditions(&world).await || started.elapsed() > Duration::from_secs(75) {
                break 'lives;
            }
            let writes = world.writes_since(&mark).await;
            if writes.len() >= life || (!writes.is_empty() && born.elapsed() > Duration::from_secs(4)) {
                break;
            }
            assert!(born.elapsed() < LIMIT, "the operator writes nothing and nothing is Ready\n{}", world.log_tail());
        }
        world.kill_operator();
        no_duplicate_and_nothing_foreign(&world);
        lives += 1;
        world.start_operator_again();
    }
    assert!(lives >= 5, "only {lives} kills: the test proves little");
    converged(&world).await;
}

/// SIGTERM ends it with code 0, at rest and in the middle of the first apply; what it began is ended by the next life.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_with_code_0_at_any_time() {
    let world = World::start("term", Options::default()).await;
    world.add_what_is_foreign();
    world.gitlab.faults().add(Fault::new(Action::Delay { ms: 1500 }).on("aiSelfHostedModelCreate"));
    let mark = world.gitlab.journal().mark();
    world.apply_article().await;
    let creating = || {
        let entries = world.gitlab.journal().since(mark);
        entries.iter().any(|entry| entry.fields.iter().any(|field| field == "aiSelfHostedModelCreate"))
    };
    world.eventually("a model is being created", creating).await;
    let mut operator = world.take_operator().expect("an operator");
    assert!(operator.terminate().await, "{}", operator.log());
    // What was under way when the signal came has been written down.
    let creates = world.gitlab.journal().writes(mark).len();
    assert!(creates > 0);
    world.gitlab.faults().clear();
    operator.start_again();
    world.with_operator(|slot| *slot = Some(operator));
    converged(&world).await;
    let mut operator = world.take_operator().expect("an operator");
    assert!(operator.terminate().await, "{}", operator.log());
}

/// Two replicas: only one leads; when it is killed the other takes over, and when that one is told to end it hands over.
#[tokio::test(flavor = "multi_thread")]
async fn only_one_replica_leads_and_the_other_takes_over() {
    const ARGS: [&str; 3] = ["--leader-elect", "--leader-namespace", "duo-operator"];
    let world = World::start("lead", Options { operator: false, ..Options::default() }).await;
    world.add_what_is_foreign();
    let leads = |operator: &Operator| operator.log().contains("caches are filled");
    let mut one = Operator::start(world.control_plane, &world.namespace, 2, &ARGS).await;
    world.eventually("the first replica leads", || leads(&one)).await;
    let two = Operator::start(world.control_plane, &world.namespace, 2, &ARGS).await;
    world.apply_article().await;
    world.until_article_is_ready().await;
    assert!(!leads(&two), "two lead at once:\n{}", two.log());
    one.kill();

    world.feature_by_hand("duo_chat", "disabled", None);
    world.eventually("the second replica leads", || leads(&two)).await;
    world.eventually("drift is mended", || world.feature_in_gitlab("duo_chat").0 == "self_hosted").await;
    world.with_operator(|slot| *slot = Some(two));
    converged(&world).await;

    one.start_again();
    let mut two = world.take_operator().expect("an operator");
    assert!(two.terminate().await, "{}", two.log());
    world.patch("AIGateway", "duo", json!({"spec": {"requestTimeout": "90s"}})).await.expect("a patch");
    world.until_ready("AIGateway", "duo").await;
    assert_eq!(world.gitlab.state().settings.ai_gateway_timeout_seconds, 90);
}
