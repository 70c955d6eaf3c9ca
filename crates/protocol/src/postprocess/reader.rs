//! Answers of the prompts that find out which resource a user means.
//!
//! GitLab's own prompts end in a prefill that begins the JSON block, so its gateway answers with the rest of the block
//! only; models that do not continue a prefill answer with the whole. Ours serves both ways of reading: the rest of the
//! block first, then the block as a whole. A reader that puts the beginning in front finds its block complete at the
//! first fence; one that looks for a fenced block finds the second.

use serde_json::{Map, Value, json};

/// The names of the two fields.
const FIELDS: [&str; 2] = ["ResourceIdentifierType", "ResourceIdentifier"];

/// The answer in the form above, when a resource can be found in it; else the answer as it is.
pub fn reader(text: &str) -> String {
    let Some([kind, name]) = find(text) else { return text.trim().to_owned() };
    let (first, second) = (json!(kind).to_string(), json!(name).to_string());
    let block = format!("{{\"{}\": {first}, \"{}\": {second}}}", FIELDS[0], FIELDS[1]);
    // without the quotation mark that the beginning ends in
    let rest = first.strip_prefix('"').unwrap_or(&first);
    format!("{rest}, \"{}\": {second}}}\n```\n```json\n{block}\n```", FIELDS[1])
}

fn find(text: &str) -> Option<[String; 2]> {
    let whole = text.match_indices('{').find_map(|(at, _)| fields(&text[at..]));
    // the model went on from a beginning that it was given, or that it imagines
    whole.or_else(|| fields(&format!("{{\"{}\": \"{}", FIELDS[0], text.trim_start())))
}

/// The two fields of the object that `text` begins with.
fn fields(text: &str) -> Option<[String; 2]> {
    let object: Map<String, Value> = serde_json::Deserializer::from_str(text).into_iter().next()?.ok()?;
    let field = |name: &str| match object.get(name)? {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    Some([field(FIELDS[0])?, field(FIELDS[1])?])
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURRENT: &str = r#"{"ResourceIdentifierType": "current", "ResourceIdentifier": "current"}"#;

    /// A reader that puts the beginning in front.
    fn continued(answer: &str) -> Option<Value> {
        let all = format!("```json\n{{\"ResourceIdentifierType\": \"{answer}");
        block(&all)
    }

    fn block(text: &str) -> Option<Value> {
        serde_json::from_str(text.split_once("```json")?.1.split("```").next()?).ok()
    }

    #[test]
    fn both_ways_of_reading_find_the_resource() {
        let table = [
            (CURRENT.to_owned(), json!(["current", "current"])),
            (format!("```json\n{CURRENT}\n```"), json!(["current", "current"])),
            (format!("Sure! {{here}} is it:\n{CURRENT} Bye"), json!(["current", "current"])),
            (CURRENT[CURRENT.find("cur").unwrap()..].to_owned(), json!(["current", "current"])),
            (r#"{"ResourceIdentifierType": "iid", "ResourceIdentifier": 12}"#.into(), json!(["iid", "12"])),
            (
                r#"{"ResourceIdentifierType": "reference", "ResourceIdentifier": "a\"b#1"}"#.into(),
                json!(["reference", "a\"b#1"]),
            ),
        ];
        for (text, wanted) in table {
            let answer = reader(&text);
            for found in [continued(&answer), block(&answer)] {
                let found = found.unwrap_or_else(|| panic!("{text}: {answer}"));
                assert_eq!(json!([found[FIELDS[0]], found[FIELDS[1]]]), wanted, "{text}");
            }
        }
    }

    #[test]
    fn what_names_no_resource_stays() {
        for text in ["I do not know", "{\"a\": 1}", "{{{{", "", r#"{"ResourceIdentifierType": null}"#] {
            assert_eq!(reader(text), text);
        }
    }
}
