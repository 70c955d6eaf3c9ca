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
