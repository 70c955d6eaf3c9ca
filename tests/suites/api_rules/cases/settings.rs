//! Cases of the settings that the gateway's behaviour depends on, of AIGateway and of SelfHostedModel, and what the
//! two have in common.

mod gateway;
mod model;

use serde_json::{Value, json};

pub use gateway::gateway;
pub use model::model;

use super::{Case, at, limit, long, overlay, rule};

/// Puts a value into a valid declaration.
type Wrap<'a> = &'a dyn Fn(Value) -> Value;

/// A limit of a field with whole patches.
fn case(kind: &'static str, path: &str, keyword: &str, bad: Value, good: Value) -> Case {
    let mut case = limit(kind, path, keyword, Value::Null, Value::Null);
    (case.bad, case.good) = (bad, good);
    case
}

/// Field, what is refused and what is admitted, each as keyword, bad and good value of the field.
fn field(kind: &'static str, path: &str, wrap: Wrap<'_>, limits: Vec<(&str, Value, Value)>) -> Vec<Case> {
    limits.into_iter().map(|(keyword, bad, good)| case(kind, path, keyword, wrap(bad), wrap(good))).collect()
}

fn number(kind: &'static str, path: &str, wrap: Wrap<'_>, least: i64, most: i64) -> Vec<Case> {
    let limits = vec![("minimum", json!(least - 1), json!(least)), ("maximum", json!(most + 1), json!(most))];
    field(kind, path, wrap, limits)
}

/// A text of 1 to `most` characters that begins with `head`.
fn text(kind: &'static str, path: &str, wrap: Wrap<'_>, head: &str, most: usize) -> Vec<Case> {
    let good = || long(head, head.len().max(1));
    field(
        kind,
        path,
        wrap,
        vec![("minLength", json!(""), good()), ("maxLength", long(head, most + 1), long(head, most))],
    )
}

/// Bounds of a duration: `below` and `above` are refused by the rule, `other_unit` by the pattern.
fn duration(
    kind: &'static str,
    path: &str,
    wrap: Wrap<'_>,
    name: &str,
    bounds: [&str; 4],
    other_unit: &str,
) -> Vec<Case> {
    let [below, least, most, above] = bounds;
    let message = format!("{name} must be between {least} and {most}");
    let mut cases = field(
        kind,
        path,
        wrap,
        vec![
            ("minLength", json!("s"), json!(most)),
            ("maxLength", json!("00000000000000005s"), json!("000000000000005s")),
            ("pattern", json!(other_unit), json!(least)),
        ],
    );
    cases.push(rule(kind, path, &message, wrap(json!(above)), wrap(json!(most))));
    if below != least {
        cases.push(rule(kind, path, &message, wrap(json!(below)), wrap(json!(least))));
    }
    cases
}

fn http_url(kind: &'static str, path: &str, wrap: Wrap<'_>, message: &str) -> Vec<Case> {
    ["collector:4318", "ftp://collector", "https:///x"]
        .map(|bad| rule(kind, path, message, wrap(json!(bad)), wrap(json!("https://collector.example:4318/x"))))
        .into()
}

fn proxy_url(kind: &'static str, path: &str, wrap: Wrap<'_>, name: &str) -> Vec<Case> {
    let message = format!(
        "{name} must be an http:// or https:// URL with a host and without user and password, for example \
         http://proxy.example.com:3128"
    );
    ["proxy:3128", "socks5://proxy:1080", "http://user:pass@proxy:3128"]
        .map(|bad| rule(kind, path, &message, wrap(json!(bad)), wrap(json!("http://proxy.example.com:3128"))))
        .into()
}

/// Name (and key) of a reference that is the value itself.
fn reference(kind: &'static str, path: &str, wrap: Wrap<'_>, has_key: bool) -> Vec<Case> {
    let name = |value: Value| wrap(json!({ "name": value }));
    let mut cases = text(kind, &format!("{path}.name"), &name, "", 253);
    cases.push(case(kind, &format!("{path}.name"), "required", wrap(json!({})), wrap(json!({"name": "a"}))));
    if has_key {
        let key = |value: Value| wrap(json!({"name": "a", "key": value}));
        cases.extend(text(kind, &format!("{path}.key"), &key, "", 253));
    }
    cases
}
