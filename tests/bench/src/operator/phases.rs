//! What is measured, one after the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use duo_api::{AIGateway, Feature, FeatureAssignment, SelfHostedModel};
use duo_sim::gitlab::{Action, Fault};
use duo_testkit::control_plane::{ControlPlane, Mark};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::cluster::{self, Names, Readiness};
use crate::gitlabs::{GitLabs, Marks};
use crate::pods::Pods;
use crate::program::Operator;
use crate::served::Served;
use crate::table::Table;
use crate::{Arguments, Fallible, memory, say};

const USER: &str = "system:serviceaccount:duo-operator:duo-operator";
/// Longer than that nothing takes; what does is a failure and no figure.
const LIMIT: Duration = Duration::from_secs(900);

struct Scene<'a> {
    arguments: &'a Arguments,
    control_plane: &'a ControlPlane,
    client: Client,
    gitlabs: &'a GitLabs,
    readiness: Readiness,
    objects: usize,
}

/// Sets the scene and measures all.
///
/// # Errors
/// Something cannot be started, or never becomes Ready.
pub async fn all(arguments: &Arguments) -> Fallible<Table> {
    let assignments = arguments.assignments.min(Feature::ALL.len());
    let (models, assignments) = (arguments.gateways * arguments.models, arguments.gateways * assignments);
    let mut table = Table::new(format!(
        "{} gateways, {models} models, {assignments} assignments, GitLab at {} ms, resync {} s",
        arguments.gateways, arguments.delay, arguments.resync
    ));
    let control_plane = cluster::start().await?;
    let client = control_plane.client()?;
    let gitlabs = GitLabs::start(arguments.gateways, Duration::from_millis(arguments.delay)).await?;
    let names = Names::new(arguments);
    let gateways = (0..arguments.gateways).map(|number| names.gateway(number)).collect();
    let _pods = Pods::start(control_plane.client_for("duo-bench-node", &["system:masters"])?, gateways).await?;
    cluster::declare(&client, arguments, &gitlabs).await?;
    say("everything is declared");
    let scene = Scene {
        arguments,
        control_plane: &control_plane,
        readiness: Readiness::watch(&client),
        client,
        gitlabs: &gitlabs,
        objects: arguments.gateways + models + assignments,
    };
    let measured = scene.measure(&mut table).await;
    std::fs::write(&arguments.json, serde_json::to_string_pretty(&table)?)?;
    measured.map(|()| table)
}

impl Scene<'_> {
    async fn measure(&self, table: &mut Table) -> Fallible<()> {
        let mut operator = self.cold_start(table).await?;
        if self.arguments.until == "start" {
            return Ok(());
        }
        self.rest(&mut operator, table).await?;
        if self.arguments.until == "rest" {
            return Ok(());
        }
        self.edits(&mut operator, table).await?;
        self.beside_dead_ones(&mut operator, table).await?;
        if self.arguments.until == "edits" {
            return Ok(());
        }
        self.takeover(operator, table).await
    }

    async fn cold_start(&self, table: &mut Table) -> Fallible<Operator> {
        let (marks, audit) = (self.gitlabs.mark(), self.control_plane.mark().await?);
        let served = Served::now(self.control_plane).await?;
        let mut operator = Operator::start(self.control_plane, self.arguments).await?;
        loop {
            let waited = self.readiness.until(self.objects, Duration::from_secs(10)).await;
            operator.check()?;
            if waited.is_ok() {
                break;
            }
            let seconds = operator.started.elapsed().as_secs();
            if operator.started.elapsed() > LIMIT {
                return Err(format!(
                    "{}\n{}",
                    waited.err().map(|e| e.to_string()).unwrap_or_default(),
                    operator.log_tail()
                )
                .into());
            }
            let kinds = ["AIGateway", "SelfHostedModel", "FeatureAssignment"].map(|kind| self.readiness.of_kind(kind));
            let memory = memory::of(operator.pid());
            let cpu = memory::cpu_seconds(operator.pid());
            say(&format!("{seconds:4} s: Ready {kinds:?}, operator {:.0} MiB, {cpu:.0} s of processor", memory.now));
        }
        table.add("cold start: all Ready", "s", operator.started.elapsed().as_secs_f64(), Some(120.0));
        // what follows from the last objects' becoming Ready belongs to the start
        tokio::time::sleep(Duration::from_secs(5)).await;
        let calls = self.gitlabs.calls(&marks);
        say(&format!("GitLab: {calls:?}"));
        let total: usize = calls.values().sum();
        let minimum = self.minimum();
        table.add("cold start: calls to GitLab", "", total as f64, None);
        table.add("cold start: fewest calls that the work needs", "", minimum as f64, None);
        table.add("cold start: calls / fewest", "", total as f64 / minimum.max(1) as f64, None);
        let writes = self.writes(audit).await?;
        let by_kind = summary(&writes);
        say(&format!("API server: {by_kind:?}"));
        say(&Served::now(self.control_plane).await?.since(&served));
        table.add(
            "cold start: writes to the API server per object",
            "",
            writes.len() as f64 / self.objects as f64,
            None,
        );
        table.add("cold start: processor time of the operator", "s", memory::cpu_seconds(operator.pid()), None);
        table.add("memory: most", "MiB", memory::of(operator.pid()).peak, Some(96.0));
        Ok(operator)
    }

    /// One look, health check and settings for each instance; a create and a check for each model; a write for each feature.
    fn minimum(&self) -> usize {
        let features = self.arguments.assignments.min(Feature::ALL.len());
        self.arguments.gateways * (3 + 2 * self.arguments.models + features)
    }

    async fn rest(&self, operator: &mut Operator, table: &mut Table) -> Fallible<()> {
        // the second period is the first in which nothing is left over from the start
        let period = Duration::from_secs(self.arguments.resync);
        tokio::time::sleep(period + period / 5).await;
        let (marks, audit): (Marks, Mark) = (self.gitlabs.mark(), self.control_plane.mark().await?);
        let cpu = memory::cpu_seconds(operator.pid());
        // a moment less than three periods: of an instance that is looked at on both edges the whole would count four
        let window = period * 3 - Duration::from_secs(1);
        tokio::time::sleep(window).await;
        operator.check()?;
        let writes = self.writes(audit).await?;
        if !writes.is_empty() {
            say(&format!("API server: {:?}", summary(&writes)));
        }
        let calls = self.gitlabs.calls(&marks);
        say(&format!("GitLab: {calls:?}"));
        let to_gitlab: usize = calls.iter().filter(|(name, _)| is_write(name)).map(|(_, count)| count).sum();
        table.add("converged: writes in three periods", "", (writes.len() + to_gitlab) as f64, Some(0.0));
        let looks = self.gitlabs.most(&marks, "DuoObserve") as f64 / 3.0;
        table.add("converged: most looks of an instance per period", "", looks, Some(1.0));
        let all: usize = calls.values().sum();
        let each = all as f64 / 3.0 / self.arguments.gateways as f64;
        table.add("converged: calls per instance and period", "", each, None);
        let busy = (memory::cpu_seconds(operator.pid()) - cpu) / window.as_secs_f64() * 100.0;
        table.add("converged: processor", "% of a core", busy, None);
        table.add("memory: at rest", "MiB", memory::of(operator.pid()).now, Some(64.0));
        Ok(())
    }

    async fn edits(&self, operator: &mut Operator, table: &mut Table) -> Fallible<()> {
        let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut lost = 0;
        for edit in 0..self.arguments.edits {
            let number = (edit * 7) % self.arguments.gateways;
            let (kind, took) = self.edit(number, edit).await?;
            match took {
                Some(took) => times.entry(kind).or_default().push(took),
                None => lost += 1,
            }
            operator.check()?;
        }
        // the pods take these over first, at once here: how long real ones take is measured on the node
        for edit in 0..self.arguments.edits / 3 {
            match self.rename((edit * 7) % self.arguments.gateways, edit).await? {
                Some(took) => times.entry("model's identifier").or_default().push(took),
                None => lost += 1,
            }
            operator.check()?;
        }
        let mut all: Vec<f64> = times.values().flatten().copied().collect();
        for (kind, times) in &mut times {
            table.add(format!("edit of a {kind} in GitLab: p50"), "s", percentile(times, 0.5), None);
        }
        table.add("edit in GitLab: p50", "s", percentile(&mut all, 0.5), None);
        table.add("edit in GitLab: p99", "s", percentile(&mut all, 0.99), Some(1.5));
        table.add("edits that never came", "", f64::from(lost), Some(0.0));
        self.readiness.until(self.objects, LIMIT).await?;
        table.add("memory: most, edits included", "MiB", memory::of(operator.pid()).peak, Some(96.0));
        Ok(())
    }

    /// Some GitLabs take connections and never answer; the others' users must not notice.
    async fn beside_dead_ones(&self, operator: &mut Operator, table: &mut Table) -> Fallible<()> {
        let dead = self.arguments.dead.min(self.arguments.gateways / 2);
        let living = self.arguments.gateways - dead;
        let faults = || (living..self.arguments.gateways).filter_map(|number| self.gitlabs.get(number));
        for gitlab in faults() {
            gitlab.faults().clear();
            gitlab.faults().add(Fault::new(Action::Hang));
        }
        let mut times = Vec::new();
        let until = Instant::now() + Duration::from_secs(self.arguments.resync) * 2;
        // a period in which each of them is asked, and one in which they are known
        for edit in 0.. {
            if dead == 0 || Instant::now() >= until {
                break;
            }
            let (_, took) = self.edit((edit * 7) % living, self.arguments.edits * 2 + edit).await?;
            times.push(took.unwrap_or(f64::INFINITY));
            operator.check()?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        for gitlab in faults() {
            gitlab.faults().clear();
        }
        if dead > 0 {
            let name = format!("edit in GitLab while {dead} other GitLabs hang: p99");
            table.add(name, "s", percentile(&mut times, 0.99), Some(1.5));
            self.readiness.until(self.objects, LIMIT).await?;
        }
        Ok(())
    }

    /// Edits one object; what it was, and after how many seconds GitLab got it.
    async fn edit(&self, number: usize, edit: usize) -> Fallible<(&'static str, Option<f64>)> {
        let (namespace, gateway) = Names::new(self.arguments).gateway(number);
        let mark = self.gitlabs.get(number).map_or(0, |gitlab| gitlab.journal().mark());
        let at = Instant::now();
        let (kind, text) = match edit % 3 {
            0 => {
                let name = format!("Model {} of edit {edit}", edit % self.arguments.models);
                let model = Names::model(number, edit % self.arguments.models);
                self.patch::<SelfHostedModel>(&namespace, &model, json!({"displayName": name})).await?;
                ("model", name)
            }
            1 => {
                let item = edit % self.arguments.assignments.min(Feature::ALL.len());
                let api: Api<FeatureAssignment> = Api::namespaced(self.client.clone(), &namespace);
                let name = Names::assignment(number, item);
                let now = api.get(&name).await?;
                let feature = now.spec.features.first().map(|feature| feature.graphql()).unwrap_or_default();
                let used = now.spec.model_ref.map(|reference| reference.name).unwrap_or_default();
                let other =
                    (0..self.arguments.models).map(|model| Names::model(number, model)).find(|model| *model != used);
                let other = other.ok_or("edits of assignments need two models")?;
                self.patch::<FeatureAssignment>(&namespace, &name, json!({"modelRef": {"name": other}})).await?;
                ("feature", feature.to_owned())
            }
            _ => {
                let seconds = 61 + edit % 500;
                self.patch::<AIGateway>(&namespace, &gateway, json!({"requestTimeout": format!("{seconds}s")})).await?;
                ("timeout", format!(":{seconds}"))
            }
        };
        Ok((kind, self.gitlabs.until_told(number, mark, &text, at, Duration::from_secs(30)).await))
    }

    /// Gives a model another identifier; after how many seconds GitLab got it.
    async fn rename(&self, number: usize, edit: usize) -> Fallible<Option<f64>> {
        let (namespace, _) = Names::new(self.arguments).gateway(number);
        let model = edit % self.arguments.models;
        let identifier = format!("custom_openai/model-{model}-renamed-{edit}.");
        let mark = self.gitlabs.get(number).map_or(0, |gitlab| gitlab.journal().mark());
        let at = Instant::now();
        let spec = json!({"identifier": identifier});
        self.patch::<SelfHostedModel>(&namespace, &Names::model(number, model), spec).await?;
        Ok(self.gitlabs.until_told(number, mark, &identifier, at, Duration::from_secs(30)).await)
    }

    async fn patch<K>(&self, namespace: &str, name: &str, spec: Value) -> Fallible<()>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + serde::de::DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        api.patch(name, &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await?;
        Ok(())
    }

    /// Another replica waits; the first goes, in two ways, and an edit tells when the other works.
    async fn takeover(&self, first: Operator, table: &mut Table) -> Fallible<()> {
        let mut leader = first;
        for (way, limit, name) in [
            ("term", 3.0, "takeover after SIGTERM: an edit is in GitLab"),
            ("kill", 15.0 + 5.0, "takeover after kill -9 (lease 15 s): an edit is in GitLab"),
        ] {
            let mut times = Vec::new();
            for round in 0..3 {
                let next = Operator::start(self.control_plane, self.arguments).await?;
                tokio::time::sleep(Duration::from_secs(15)).await;
                let (number, edit) =
                    (round, self.arguments.edits * 3 + 3 * (times.len() + if way == "kill" { 3 } else { 0 }));
                let gone = Instant::now();
                if way == "kill" {
                    leader.kill()
                } else {
                    leader.terminate()
                }
                let before = gone.elapsed().as_secs_f64();
                // what the old leader still did counts for nothing: the edit comes after its end
                leader.ended().await?;
                let ended = gone.elapsed().as_secs_f64();
                let (_, took) = self.edit(number, edit).await?;
                times.push(took.ok_or("an edit never came")? + ended - before);
                leader = next;
            }
            table.add(name, "s", times.iter().copied().fold(0.0, f64::max), Some(limit));
        }
        table.add(
            "memory: most, of a replica that waited and took over",
            "MiB",
            memory::of(leader.pid()).peak,
            Some(96.0),
        );
        Ok(())
    }

    /// Writes of the operator to the API server; its lease is none.
    async fn writes(&self, since: Mark) -> Fallible<Vec<duo_testkit::control_plane::Write>> {
        let mut writes = self.control_plane.writes_since(since, |user| user == USER).await?;
        writes.retain(|write| write.resource != "leases");
        Ok(writes)
    }
}

fn is_write(operation: &str) -> bool {
    ["Create", "Update", "Delete"].iter().any(|verb| operation.ends_with(verb))
}

fn summary(writes: &[duo_testkit::control_plane::Write]) -> BTreeMap<String, usize> {
    let mut by_kind = BTreeMap::new();
    for write in writes {
        *by_kind.entry(format!("{} {} {}", write.verb, write.resource, write.code)).or_default() += 1;
    }
    by_kind
}

fn percentile(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    let at = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
    times.get(at).copied().unwrap_or(f64::NAN)
}
