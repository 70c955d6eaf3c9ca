//! A [`Report`] in words.

use std::fmt::Write as _;

use super::report::{Action, Field, Report, Resource};

/// Most fields of one object that are listed.
const MOST_FIELDS: usize = 40;

/// The plan as people read it. Errors are not in it: they go where errors go.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::new();
    for resource in report.resources.iter().filter(|resource| is_told(resource)) {
        one(resource, &mut out);
    }
    for note in &report.notes {
        line(&mut out, &format!("note: {note}"));
    }
    line(&mut out, &last(report));
    out
}

fn is_told(resource: &Resource) -> bool {
    resource.action != Action::None
        || !resource.gitlab.is_empty()
        || !resource.left_alone.is_empty()
        || !resource.cluster.is_empty()
        || resource.refused.is_some()
        || resource.waits.is_some()
        || !resource.warnings.is_empty()
        || (resource.suspended && resource.source.is_some())
}

fn one(resource: &Resource, out: &mut String) {
    let action = match resource.action {
        Action::Create => "new",
        Action::Update => "changed",
        Action::Delete => "deleted",
        Action::None => "unchanged",
    };
    let source = resource.source.as_deref().unwrap_or("in the cluster only");
    line(out, &format!("{} {}/{} ({action}; {source})", resource.kind, resource.namespace, resource.name));
    list(&resource.fields, "    ", out);
    if resource.suspended {
        line(out, "  suspended: the operator writes nothing");
    }
    for sentence in &resource.gitlab {
        line(out, &format!("  GitLab: {sentence}"));
    }
    for sentence in &resource.left_alone {
        line(out, &format!("  GitLab, left as it is: would {sentence}"));
    }
    for child in &resource.cluster {
        let verb = match child.action {
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::None => continue,
        };
        line(out, &format!("  cluster: {verb} {} {}", child.kind, child.name));
        list(&child.fields, "      ", out);
    }
    if let Some(refused) = &resource.refused {
        line(out, &format!("  refused: {}: {}", refused.reason, refused.message));
    }
    if let Some(waits) = &resource.waits {
        line(out, &format!("  waits: {}: {}", waits.reason, waits.message));
    }
    for warning in &resource.warnings {
        line(out, &format!("  warning: {}: {}", warning.reason, warning.message));
    }
    out.push('\n');
}

fn list(fields: &[Field], indent: &str, out: &mut String) {
    for field in fields.iter().take(MOST_FIELDS) {
        let text = match (&field.from, &field.to) {
            (Some(from), Some(to)) => format!("{}: {from} -> {to}", field.path),
            (None, Some(to)) => format!("{}: {to} (new)", field.path),
            (Some(from), None) => format!("{}: {from} (removed)", field.path),
            (None, None) => field.path.clone(),
        };
        line(out, &format!("{indent}{text}"));
    }
    if fields.len() > MOST_FIELDS {
        line(out, &format!("{indent}and {} more fields", fields.len() - MOST_FIELDS));
    }
}

fn last(report: &Report) -> String {
    let found = report.summary;
    let mut parts = Vec::new();
    let mut count = |number: usize, text: &str| {
        if number > 0 {
            parts.push(format!("{number} {text}"));
        }
    };
    count(found.create, "to create");
    count(found.update, "to change");
    count(found.delete, "to delete");
    count(found.gitlab, if found.gitlab == 1 { "write to GitLab" } else { "writes to GitLab" });
    if parts.is_empty() {
        parts.push("nothing to change".to_owned());
    }
    let mut count = |number: usize, text: &str| {
        if number > 0 {
            parts.push(format!("{number} {text}"));
        }
    };
    count(found.refused, "refused");
    count(found.waiting, "waiting");
    let errors = report.errors.len();
    count(errors, if errors == 1 { "error" } else { "errors" });
    format!("Plan: {}.", parts.join(", "))
}

fn line(out: &mut String, text: &str) {
    // writing to a String does not fail
    let _ = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dry_run::report::{Child, Obstacle, Summary};

    fn resource(kind: &str, action: Action) -> Resource {
        Resource {
            kind: kind.to_owned(),
            namespace: "ns".to_owned(),
            name: "x".to_owned(),
            source: Some("a.yaml:1".to_owned()),
            action,
            fields: Vec::new(),
            gitlab: Vec::new(),
            left_alone: Vec::new(),
            cluster: Vec::new(),
            refused: None,
            waits: None,
            conditions: Vec::new(),
            warnings: Vec::new(),
            suspended: false,
        }
    }

    fn field(path: &str, from: Option<&str>, to: Option<&str>) -> Field {
        Field { path: path.to_owned(), from: from.map(Into::into), to: to.map(Into::into) }
    }

    fn obstacle(reason: &str) -> Option<Obstacle> {
        Some(Obstacle { reason: reason.to_owned(), message: "why and the cure".to_owned() })
    }

    #[test]
    fn everything_that_a_plan_can_say() {
        let gateway = Resource {
            fields: vec![field("spec.replicas", Some("2"), Some("3")), field("spec.url", Some("u"), None)],
            gitlab: vec!["set gateway URL to u (found: no URL)".to_owned()],
            left_alone: vec!["set request timeout to 90 s (found: 60 s)".to_owned()],
            cluster: vec![
                Child { action: Action::Create, kind: "Service".into(), name: "x".into(), fields: vec![] },
                Child {
                    action: Action::Update,
                    kind: "Secret".into(),
                    name: "x".into(),
                    fields: vec![field("data.token", None, Some("(hidden)"))],
                },
                Child { action: Action::Delete, kind: "Ingress".into(), name: "x".into(), fields: vec![] },
            ],
            waits: obstacle("Waiting"),
            warnings: obstacle("Odd").into_iter().collect(),
            ..resource("AIGateway", Action::Update)
        };
        let report = Report {
            resources: vec![
                gateway,
                Resource { refused: obstacle("NameTaken"), source: None, ..resource("SelfHostedModel", Action::None) },
                Resource { suspended: true, ..resource("FeatureAssignment", Action::None) },
                resource("FeatureAssignment", Action::None),
            ],
            notes: vec!["b.yaml:1: Namespace n is left alone".to_owned()],
            errors: vec!["an error".to_owned()],
            summary: Summary { create: 1, update: 2, delete: 1, gitlab: 1, refused: 1, waiting: 1 },
        };
        let told = "\
AIGateway ns/x (changed; a.yaml:1)
    spec.replicas: 2 -> 3
    spec.url: u (removed)
  GitLab: set gateway URL to u (found: no URL)
  GitLab, left as it is: would set request timeout to 90 s (found: 60 s)
  cluster: create Service x
  cluster: update Secret x
      data.token: (hidden) (new)
  cluster: delete Ingress x
  waits: Waiting: why and the cure
  warning: Odd: why and the cure

SelfHostedModel ns/x (unchanged; in the cluster only)
  refused: NameTaken: why and the cure

FeatureAssignment ns/x (unchanged; a.yaml:1)
  suspended: the operator writes nothing

note: b.yaml:1: Namespace n is left alone
Plan: 1 to create, 2 to change, 1 to delete, 1 write to GitLab, 1 refused, 1 waiting, 1 error.
";
        assert_eq!(render(&report), told);
    }

    #[test]
    fn nothing_to_change_is_one_line_and_long_lists_are_cut() {
        let quiet = Report { resources: vec![resource("AIGateway", Action::None)], ..Report::default() };
        assert_eq!(render(&quiet), "Plan: nothing to change.\n");
        let fields = (0..MOST_FIELDS + 2).map(|number| field(&format!("spec.f{number}"), None, Some("1"))).collect();
        let long = Report { resources: vec![Resource { fields, ..resource("AIGateway", Action::Update) }], ..quiet };
        let text = render(&long);
        assert!(text.contains("spec.f39: 1 (new)\n    and 2 more fields\n") && !text.contains("spec.f40"), "{text}");
    }
}
