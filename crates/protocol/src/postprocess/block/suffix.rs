//! Which blocks the code behind the cursor closes.

use super::indentation;

/// As many lines behind the cursor are looked at.
const MOST_LINES: usize = 500;

/// The lines behind the cursor that are indented less than all before them: those that can close a block around the
/// cursor.
#[derive(Debug)]
pub(super) struct Closers {
    /// The rest of the cursor's line.
    rest: String,
    /// Indentation and first characters.
    lines: Vec<(isize, String)>,
}

impl Closers {
    pub fn of(below: &str) -> Self {
        let mut lines = below.lines();
        let rest: String = lines.next().unwrap_or_default().trim_start().chars().take(8).collect();
        let mut least: Vec<(isize, String)> = Vec::new();
        for line in lines.take(MOST_LINES).filter(|line| !line.trim().is_empty()) {
            let Some((width, _)) = indentation(line) else { break };
            if least.last().is_none_or(|(known, _)| width < *known) {
                least.push((width, line.trim_start().chars().take(8).collect()));
            }
        }
        Closers { rest, lines: least }
    }

    /// Whether a block whose closing line has this indentation and begins with `closer` is closed already.
    pub fn close(&self, indent: isize, closer: &str) -> bool {
        let is = |line: &str| {
            let after = line.strip_prefix(closer);
            after.is_some_and(|rest| {
                !closer.ends_with(char::is_alphanumeric) || !rest.starts_with(char::is_alphanumeric)
            })
        };
        is(&self.rest)
            || self
                .lines
                .iter()
                .find(|(width, _)| *width <= indent)
                .is_some_and(|(width, line)| *width == indent && is(line))
    }
}
