//! `SIGNALS.md` lists what is exported: neither less nor more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::support::collector::Collector;
use crate::support::world::eventually;
use crate::support::{Script, World, config_folder};

const PAGE: &str = include_str!("../../SIGNALS.md");

/// The rows of the table whose head begins with `head`, cut into cells.
fn table(head: &str) -> Vec<Vec<String>> {
    let rows = PAGE.lines().skip_while(|line| !line.starts_with(&format!("| {head} |"))).skip(2);
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> = rows.take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(!rows.is_empty(), "there is a table `{head}`");
    rows
}

fn name(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

/// Kind and labels by name.
type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

fn documented() -> Metrics {
    let mut metrics = Metrics::new();
    for row in table("metric") {
        let labels: BTreeSet<String> = match row[2].strip_prefix("as ") {
            Some(other) => metrics[&name(other)].1.clone(),
            None => row[2].split_whitespace().map(name).collect(),
        };
        assert!(row[4].len() > 2, "{row:?} says what it means");
        metrics.insert(name(&row[0]), (row[1].clone(), labels));
    }
    metrics
}

fn exported(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            metrics.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let (sample, labels) = line.split_once(['{', ' ']).unwrap();
            let labels = if line.contains('{') { labels.split_once("} ").unwrap().0 } else { "" };
            let endings = ["", "_total", "_bucket", "_sum", "_count", "_info"];
            let mut stems = endings.iter().filter_map(|ending| sample.strip_suffix(ending));
            let stem = stems.find(|stem| metrics.contains_key(*stem)).unwrap_or_else(|| panic!("{line} has a type"));
            let Some(family) = metrics.get_mut(stem) else { unreachable!() };
            // label values of these tests hold neither commas nor equals signs
            let names = labels.split(',').filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
            family.1.extend(names.filter(|name| name != "le"));
        }
    }
    metrics
}

#[tokio::test]
async fn every_metric_is_on_the_page_with_its_kind_and_labels_and_nothing_else_is() {
    let collector = Collector::start().await;
    let config = "
gitlab: {url: $ISSUER}
limits: {perUser: {requestsPerMinute: 1000}}
models:
- name: vllm
  family: mistral
  identifier: custom_openai/the-model
  endpoint: $UPSTREAM
  price: {inputPerMillion: '3', outputPerMillion: '15'}
  fallbacks: [{identifier: custom_openai/other, endpoint: $UPSTREAM}]
";
    let slot = std::sync::Mutex::new(None);
    let world = World::with(Script::Say("a b".into()), |settings, issuer, upstream| {
        let folder = config_folder(config, issuer, upstream, &[]);
        settings.config_file = Some(folder.path().join("config.yaml"));
        settings.telemetry.url = Some(collector.url.clone());
        let limit = duo_gateway::settings::ModelLimit {
            engine: "bedrock".into(),
            model: "claude_3".into(),
            concurrent: Some(1),
            input_tokens: Some(1),
            output_tokens: Some(1),
            total_tokens: Some(1),
        };
        settings.model_limits = vec![limit];
        *slot.lock().unwrap() = Some(folder);
    })
    .await;
    let mut body = world.completion();
    for stream in [false, true] {
        body["stream"] = stream.into();
        assert_eq!(world.post("/v2/code/completions", &body).await.status(), 200);
    }
    world.access(2).await;
    let (documented, exported) = (documented(), exported(&world.metrics().await));
    for (name, (kind, labels)) in &exported {
        let Some((listed_kind, listed_labels)) = documented.get(name) else { panic!("{name} is not in SIGNALS.md") };
        assert_eq!(kind, listed_kind, "kind of {name}");
        // a series that nothing has happened to yet shows no labels
        assert!(labels.is_empty() || labels == listed_labels, "labels of {name}: {labels:?}, listed {listed_labels:?}");
    }
    let quiet = |name: &str| {
        // exported only once there is one
        matches!(name, "duo_gateway_limited_requests" | "duo_gateway_connections_cut")
    };
    for name in documented.keys().filter(|name| !quiet(name)) {
        assert!(exported.contains_key(name), "{name} is in SIGNALS.md and not exported");
    }
}

/// Texts between `before` and the next quote in all sources.
fn quoted_after(before: &str) -> BTreeSet<String> {
    fn read(folder: &Path, out: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, out);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                // without the modules' own tests, and without line breaks between a call and its argument
                out.push_str(&text.split("#[cfg(test)]").next().unwrap().split_whitespace().collect::<String>());
            }
        }
    }
    let mut text = String::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    text.split(before).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

/// Fields of every line.
const OF_EVERY_LINE: [&str; 6] = ["message", "logger", "level", "timestamp", "type", "stage"];

#[test]
fn every_field_and_attribute_of_the_sources_is_on_the_page_and_nothing_else_is() {
    let fields: BTreeSet<String> = table("field").iter().map(|row| name(&row[0])).collect();
    let mut written = BTreeSet::new();
    for call in [".note(\"", "fields.add(\"", "line.add(\"", "line.add_number(\"", "more.add(\"", "common.add(\""] {
        written.extend(quoted_after(call));
    }
    // given by name: the headers' fields, and the two that prompt lines hold
    written.extend(quoted_after("(\"gitlab_").iter().map(|rest| format!("gitlab_{rest}")));
    written
        .extend(["is_gitlab_team_member", "user_agent", "enabled_feature_flags", "prompt", "answer"].map(String::from));
    assert_eq!(written.difference(&fields).collect::<Vec<_>>(), Vec::<&String>::new(), "not in SIGNALS.md");
    assert_eq!(fields.difference(&written).collect::<Vec<_>>(), Vec::<&String>::new(), "only in SIGNALS.md");

    let attributes: BTreeSet<String> = table("attribute").iter().map(|row| name(&row[0])).collect();
    let mut written = BTreeSet::new();
    for kind in ["&'staticstr", "String", "u64", "f64", "bool"] {
        for span in ["span", "out"] {
            written.extend(quoted_after(&format!("{span}.add::<{kind}>(\"")));
        }
    }
    written.extend(quoted_after("attributes.push((\""));
    assert_eq!(written, attributes);
}

#[tokio::test]
async fn lines_of_requests_hold_listed_fields_only() {
    let world = World::new(Script::Say("a b".into())).await;
    let mut body = world.completion();
    for stream in [false, true] {
        body["stream"] = stream.into();
        world.post("/v2/code/completions", &body).await.bytes().await.unwrap();
    }
    world.upstream.script(Script::Status(400, vec![], "no".into()));
    world.post("/v2/code/completions", &body).await;
    world.post("/v2/code/completions", &Value::Null).await;
    world.bare(reqwest::Method::GET, "/nowhere").send().await.unwrap();
    world.access(5).await;
    let fields: BTreeSet<String> = table("field").iter().map(|row| name(&row[0])).collect();
    let types: BTreeSet<String> = table("`type`").iter().map(|row| name(&row[0])).collect();
    let lines = eventually("audit lines", || {
        let text = world.logs.text();
        (text.matches("\"type\":\"audit\"").count() >= 3).then_some(text)
    })
    .await;
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(types.contains(line["type"].as_str().unwrap()), "{line}");
        for field in OF_EVERY_LINE {
            assert!(line[field].is_string(), "{field} in {line}");
        }
        for field in line.as_object().unwrap().keys().filter(|field| !OF_EVERY_LINE.contains(&field.as_str())) {
            assert!(fields.contains(field), "{field} of {line} is not in SIGNALS.md");
        }
    }
}
