//! GitLab's limits on one GraphQL request: size of the text, depth, complexity.

use apollo_compiler::ExecutableDocument;
use apollo_compiler::executable::{Operation, Selection, SelectionSet};

use crate::gitlab::rights::Caller;

/// Characters of a document; more is HTTP 422 `Query too large`.
pub const MAX_QUERY_CHARS: usize = 10_000;
const MAX_DEPTH: usize = 20;

/// What GitLab says when the operation is too deep or too complex for this caller.
///
/// The complexity is an approximation of GitLab's: 1 a field, a connection's children grow with the page size.
pub fn exceeded(document: &ExecutableDocument, operation: &Operation, caller: &Caller) -> Option<String> {
    let limit = match (&caller.user, caller.is_admin()) {
        (None, _) => 200,
        (Some(_), false) => 250,
        (Some(_), true) => 300,
    };
    let (depth, cost) = measure(document, &operation.selection_set);
    if depth > MAX_DEPTH {
        return Some(format!("Query has depth of {depth}, which exceeds max depth of {MAX_DEPTH}"));
    }
    let cost = cost.round() as u64;
    (cost > limit).then(|| format!("Query has complexity of {cost}, which exceeds max complexity of {limit}"))
}

fn measure(document: &ExecutableDocument, set: &SelectionSet) -> (usize, f64) {
    let mut depth = 0;
    let mut cost = 0.0;
    // cyclic fragments are refused by validation before this is asked
    for selection in &set.selections {
        let (inner_depth, inner_cost) = match selection {
            Selection::Field(field) => {
                let (below, children) = measure(document, &field.selection_set);
                let connection = field.definition.ty.inner_named_type().ends_with("Connection");
                let page = field
                    .argument_by_name("first")
                    .or_else(|_| field.argument_by_name("last"))
                    .ok()
                    .and_then(|value| value.to_i32())
                    .map_or(100.0, |rows| f64::from(rows.clamp(0, 100)));
                let factor = if connection { 1.0 + page * 0.01 } else { 1.0 };
                (below + 1, 1.0 + children * factor)
            }
            Selection::InlineFragment(fragment) => measure(document, &fragment.selection_set),
            Selection::FragmentSpread(spread) => document
                .fragments
                .get(&spread.fragment_name)
                .map_or((0, 0.0), |fragment| measure(document, &fragment.selection_set)),
        };
        depth = depth.max(inner_depth);
        cost += inner_cost;
    }
    (depth, cost)
}
