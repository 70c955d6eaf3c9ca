//! GitLab's connections: pages of at most 100, `first` above that cut without a word.

use base64::Engine as _;
use serde_json::{Map, Value, json};

const MAX_PAGE: usize = 100;

/// The connection object for a full list and a field's arguments.
pub fn page(list: Vec<Value>, args: &Map<String, Value>) -> Map<String, Value> {
    let keys: Vec<String> = list.iter().enumerate().map(|(index, item)| key(index, item)).collect();
    let position = |name: &str| args.get(name).and_then(Value::as_str).and_then(|cursor| find(&keys, cursor));
    let start = position("after").map_or(0, |(index, exact)| if exact { index + 1 } else { index });
    let end = position("before").map_or(list.len(), |(index, _)| index).max(start);
    let size = |name: &str| {
        args.get(name).and_then(Value::as_u64).map(|rows| usize::try_from(rows).unwrap_or(MAX_PAGE).min(MAX_PAGE))
    };
    let (from, to) = match (size("first"), size("last")) {
        (None, Some(last)) => (end - last.min(end - start), end),
        (first, _) => (start, end.min(start + first.unwrap_or(MAX_PAGE))),
    };
    let cursors: Vec<String> = keys[from..to].iter().map(|key| encode(key)).collect();
    let nodes: Vec<Value> = list[from..to].to_vec();
    let edges: Vec<Value> =
        nodes.iter().zip(&cursors).map(|(node, cursor)| json!({"node": node, "cursor": cursor})).collect();
    let mut connection = Map::new();
    connection.insert(
        "pageInfo".to_owned(),
        json!({"hasNextPage": to < list.len(), "hasPreviousPage": from > 0,
               "startCursor": cursors.first(), "endCursor": cursors.last()}),
    );
    connection.insert("nodes".to_owned(), Value::Array(nodes));
    connection.insert("edges".to_owned(), Value::Array(edges));
    connection
}

/// Models page by id (keyset), so a page stays right when models come or go meanwhile; other lists by position.
fn key(index: usize, item: &Value) -> String {
    item.get("$model").and_then(Value::as_u64).map_or_else(|| format!("@{index}"), |id| id.to_string())
}

/// Where a cursor points: the row itself, or the first row behind it when the row is gone.
fn find(keys: &[String], cursor: &str) -> Option<(usize, bool)> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(cursor).ok()?;
    let cursor: Value = serde_json::from_slice(&decoded).ok()?;
    let wanted = cursor.get("id")?.as_str()?;
    if let Some(index) = keys.iter().position(|key| key == wanted) {
        return Some((index, true));
    }
    let id: u64 = wanted.parse().ok()?;
    let behind = keys.iter().position(|key| key.parse::<u64>().is_ok_and(|other| other < id));
    Some((behind.unwrap_or(keys.len()), false))
}

fn encode(key: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(json!({"id": key}).to_string())
}
