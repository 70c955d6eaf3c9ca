//! What a plan found, as data: what `-o json` and `-o yaml` print and [`text`](super::text) words.

use std::collections::{BTreeMap, BTreeSet};

use duo_api::annotations::GATEWAY_LABEL;
use duo_api::condition::{CONNECTION_VERIFIED, READY, RECONCILING, STALLED, TOKEN_VALID};
use duo_core::changes::{Change, changes};
use serde::Serialize;
use serde_json::Value;

use super::manifests::{Kind, Place};
use super::rehearse::Outcome;
use super::shadow::{Seen, Shadow, Warning};
use super::target::Target;

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    Create,
    Update,
    Delete,
    None,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Field {
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// A child object of an AIGateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Child {
    pub action: Action,
    pub kind: String,
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
}

/// A condition that would not be True.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Doubt {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    pub reason: String,
    pub message: String,
}

/// Why an object does not get where it is declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Obstacle {
    pub reason: String,
    pub message: String,
}

/// One of our objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// File and line; left out for an object that is in the cluster only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What applying the files does to the object itself.
    pub action: Action,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
    /// What would be written to GitLab.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gitlab: Vec<String>,
    /// What differs in GitLab and is left as it is: managementPolicy Observe.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_alone: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cluster: Vec<Child>,
    /// Only a person can cure it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Obstacle>,
    /// It passes by itself or by another object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<Obstacle>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Doubt>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Obstacle>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
}

/// Numbers for the last line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    pub create: usize,
    pub update: usize,
    pub delete: usize,
    pub gitlab: usize,
    pub refused: usize,
    pub waiting: usize,
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    pub summary: Summary,
    pub resources: Vec<Resource>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why the plan is not complete, or not what the files declare.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// Conditions that stop nothing although only a person ends them: what was asked for is what is there.
const AS_DECLARED: [&str; 2] = ["Drifted", "ScaledToZero"];

impl Report {
    /// Joins what the shadow and the controllers say about these objects.
    pub(super) fn new(
        objects: &[Target],
        places: &BTreeMap<Target, Place>,
        shadow: &Shadow,
        outcome: &Outcome,
        mut notes: Vec<String>,
    ) -> Self {
        let seen = shadow.seen();
        let warnings = shadow.warnings();
        let mut report = Self::default();
        for target in objects {
            let resource = resource(target, places.get(target), &seen, &warnings, outcome);
            report.errors.extend(error(target, &resource, outcome));
            report.resources.push(resource);
        }
        let gone = |resource: &&Resource| resource.kind == Kind::AIGateway.name() && resource.action == Action::Delete;
        for gateway in report.resources.iter().filter(gone) {
            notes.push(format!("child objects of AIGateway {}/{} go with it", gateway.namespace, gateway.name));
        }
        let unjudged = shadow.unjudged();
        if !unjudged.is_empty() {
            let list = unjudged.iter().cloned().collect::<Vec<_>>().join(", ");
            notes.push(format!(
                "compared here and not by the API server, because this user may not {list}: defaults and admission are not in it"
            ));
        }
        report.notes = notes;
        report.summary = report.count();
        report
    }

    fn count(&self) -> Summary {
        let actions = self.resources.iter().flat_map(|resource| {
            std::iter::once(resource.action).chain(resource.cluster.iter().map(|child| child.action))
        });
        let actions: Vec<Action> = actions.collect();
        let number = |action| actions.iter().filter(|found| **found == action).count();
        Summary {
            create: number(Action::Create),
            update: number(Action::Update),
            delete: number(Action::Delete),
            gitlab: self.resources.iter().map(|resource| resource.gitlab.len()).sum(),
            refused: self.resources.iter().filter(|resource| resource.refused.is_some()).count(),
            waiting: self.resources.iter().filter(|resource| resource.waits.is_some()).count(),
        }
    }

    /// Whether anything would be written.
    pub(super) fn has_changes(&self) -> bool {
        let Summary { create, update, delete, gitlab, .. } = self.summary;
        create + update + delete + gitlab > 0
    }
}

fn resource(
    target: &Target,
    place: Option<&Place>,
    seen: &BTreeMap<Target, Seen>,
    warnings: &[Warning],
    outcome: &Outcome,
) -> Resource {
    let kind = Kind::OURS.into_iter().find(|kind| kind.plural() == target.plural).map_or("", Kind::name);
    let found = seen.get(target).cloned().unwrap_or_default();
    let now = found.now.clone().unwrap_or_default();
    let (action, fields) = own_change(&found, place.is_some());
    let conditions: Vec<Doubt> = doubts(&now);
    let suspended = now["spec"]["suspend"] == true;
    // A status that nobody computed here is the cluster's and says nothing of the files.
    let (refused, waits) = if suspended { (None, None) } else { obstacles(&now) };
    let left_alone = now["status"]["plan"].as_array();
    Resource {
        kind: kind.to_owned(),
        namespace: target.namespace.clone(),
        name: target.name.clone(),
        source: place.map(ToString::to_string),
        action,
        fields,
        gitlab: outcome.operations.get(target).cloned().unwrap_or_default(),
        left_alone: left_alone.into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect(),
        cluster: if target.plural == Kind::AIGateway.plural() { children(target, seen) } else { Vec::new() },
        refused,
        waits,
        conditions: if suspended { Vec::new() } else { conditions },
        warnings: warnings
            .iter()
            .filter(|warning| {
                warning.kind == kind && warning.namespace == target.namespace && warning.name == target.name
            })
            // conditions are told as such
            .filter(|warning| !now["status"]["conditions"].to_string().contains(&format!("\"{}\"", warning.reason)))
            .map(|warning| Obstacle { reason: warning.reason.clone(), message: warning.message.clone() })
            .collect(),
        suspended,
    }
}

/// What applying the files does to the object itself; finalizers, annotations and status are the operator's.
fn own_change(found: &Seen, in_files: bool) -> (Action, Vec<Field>) {
    match (&found.before, &found.now) {
        (None, Some(_)) => (Action::Create, Vec::new()),
        (Some(_), None) => (Action::Delete, Vec::new()),
        (Some(before), Some(now)) if in_files => {
            let operators = |field: &Field| {
                field.path.starts_with("metadata.finalizers")
                    || field.path.starts_with(&format!("metadata.annotations[\"{}/", duo_api::GROUP))
            };
            let mut fields = fields(changes(before, now));
            fields.retain(|field| !operators(field));
            (if fields.is_empty() { Action::None } else { Action::Update }, fields)
        }
        (Some(_), Some(now)) if now["metadata"]["deletionTimestamp"].is_string() => (Action::Delete, Vec::new()),
        _ => (Action::None, Vec::new()),
    }
}

fn fields(changes: Vec<Change>) -> Vec<Field> {
    changes.into_iter().map(|Change { path, from, to }| Field { path, from, to }).collect()
}

/// Objects that carry the gateway's label and differ from what the cluster has.
fn children(gateway: &Target, seen: &BTreeMap<Target, Seen>) -> Vec<Child> {
    let ours = |object: &Value| object["metadata"]["labels"][GATEWAY_LABEL] == gateway.name.as_str();
    let mut found = Vec::new();
    for (target, Seen { before, now }) in seen {
        let about = now.as_ref().or(before.as_ref()).filter(|object| ours(object));
        let Some(about) = about.filter(|_| !target.is_ours() && target.namespace == gateway.namespace) else {
            continue;
        };
        let (action, fields) = match (before, now) {
            (None, Some(_)) => (Action::Create, Vec::new()),
            (Some(_), None) => (Action::Delete, Vec::new()),
            (Some(before), Some(now)) => {
                let fields = fields(changes(before, now));
                (if fields.is_empty() { Action::None } else { Action::Update }, fields)
            }
            (None, None) => continue,
        };
        if action != Action::None {
            let kind = about["kind"].as_str().unwrap_or(&target.plural).to_owned();
            found.push(Child { action, kind, name: target.name.clone(), fields });
        }
    }
    found
}

/// Conditions that would not be True. The summary repeats others, and what only a mutation can find out stays open here.
fn doubts(object: &Value) -> Vec<Doubt> {
    let text = |condition: &Value, key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let doubts = conditions.map(|condition| Doubt {
        type_: text(condition, "type"),
        status: text(condition, "status"),
        reason: text(condition, "reason"),
        message: text(condition, "message"),
    });
    doubts
        .filter(|doubt| doubt.status != "True" && ![READY, RECONCILING, STALLED].contains(&doubt.type_.as_str()))
        .filter(|doubt| doubt.type_ != CONNECTION_VERIFIED || doubt.status == "False")
        .collect()
}

fn condition(object: &Value, type_: &str) -> Option<(String, Obstacle)> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == type_)?;
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Some((text("status"), Obstacle { reason: text("reason"), message: text("message") }))
}

fn obstacles(object: &Value) -> (Option<Obstacle>, Option<Obstacle>) {
    if let Some((_, stalled)) = condition(object, STALLED) {
        return if AS_DECLARED.contains(&stalled.reason.as_str()) { (None, None) } else { (Some(stalled), None) };
    }
    let ready = condition(object, READY).filter(|(status, _)| status != "True");
    (None, ready.map(|(_, obstacle)| obstacle))
}

/// What makes the plan one that is not complete or not what the files declare.
fn error(target: &Target, resource: &Resource, outcome: &Outcome) -> Option<String> {
    let place = resource.source.clone().unwrap_or_else(|| "in the cluster".to_owned());
    let at = format!("{place}: {} {}/{}", resource.kind, resource.namespace, resource.name);
    if let Some(why) = outcome.failures.get(target) {
        return Some(format!("{at}: {why}"));
    }
    if let Some(refused) = resource.refused.as_ref().filter(|_| resource.source.is_some()) {
        return Some(format!("{at}: {}: {}", refused.reason, refused.message));
    }
    let unasked =
        resource.conditions.iter().find(|doubt| doubt.type_ == TOKEN_VALID && doubt.reason != "NotObserved")?;
    Some(format!("{at}: GitLab could not be asked: {}: {}", unasked.reason, unasked.message))
}

/// Objects that the report is about: those of the files, and what is served by the same gateways.
pub(super) fn ordered(objects: BTreeSet<Target>) -> Vec<Target> {
    let rank = |target: &Target| Kind::OURS.iter().position(|kind| kind.plural() == target.plural);
    let mut objects: Vec<Target> = objects.into_iter().collect();
    objects.sort_by_key(|target| (rank(target), target.namespace.clone(), target.name.clone()));
    objects
}
