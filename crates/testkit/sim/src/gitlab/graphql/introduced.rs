//! `@gl_introduced(version:)`: a field marked newer than the instance is dropped and reads as null.
//!
//! Works on the text of a document, before it meets the schema.

use apollo_compiler::ast::{Definition, Document, Selection, Value};
use apollo_compiler::{Name, Node};

use super::schema::ABSENT;
use crate::gitlab::version::Version;

/// A document after the filter.
pub struct Filtered {
    /// To execute: dropped fields are replaced by one that reads as null.
    pub executed: String,
    /// To record: dropped fields are replaced by `__typename`, the directive is gone. Valid against the plain SDL.
    pub recorded: String,
}

/// Applies the directive; `None` when the document does not use it (or does not parse, which validation will say).
pub fn filter(query: &str, version: Version) -> Option<Filtered> {
    if !query.contains("gl_introduced") {
        return None;
    }
    let document = Document::parse(query, "query.graphql").ok()?;
    let with = |replacement: &str| {
        let mut document = document.clone();
        for definition in &mut document.definitions {
            match definition {
                Definition::OperationDefinition(operation) => {
                    walk(&mut operation.make_mut().selection_set, version, replacement);
                }
                Definition::FragmentDefinition(fragment) => {
                    walk(&mut fragment.make_mut().selection_set, version, replacement);
                }
                _ => {}
            }
        }
        document.to_string()
    };
    Some(Filtered { executed: with(ABSENT), recorded: with("__typename") })
}

fn walk(selections: &mut [Selection], version: Version, replacement: &str) {
    for selection in selections {
        match selection {
            Selection::Field(field) => {
                let newer = field
                    .directives
                    .get("gl_introduced")
                    .and_then(|directive| directive.specified_argument_by_name("version"))
                    .and_then(|value| match value.as_ref() {
                        Value::String(text) => text.parse::<Version>().ok(),
                        _ => None,
                    })
                    .is_some_and(|since| since > version);
                let field = Node::make_mut(field);
                if newer && let Ok(name) = Name::new(replacement) {
                    field.alias.get_or_insert_with(|| field.name.clone());
                    field.name = name;
                    field.arguments.clear();
                    field.directives.0.clear();
                    field.selection_set.clear();
                } else {
                    field.directives.0.retain(|directive| directive.name != "gl_introduced");
                    walk(&mut field.selection_set, version, replacement);
                }
            }
            Selection::InlineFragment(fragment) => walk(&mut fragment.make_mut().selection_set, version, replacement),
            Selection::FragmentSpread(_) => {}
        }
    }
}
