//! Label selectors as `kubectl -l` takes them: `team=a,stage!=test,region in (eu, us),!legacy`.

use std::collections::BTreeMap;
use std::fmt;

/// All of its terms must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    key: String,
    /// `None`: any value will do.
    values: Option<Vec<String>>,
    /// It must not be so.
    not: bool,
}

impl Selector {
    /// Whether it takes an object with these labels.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.terms.iter().all(|term| {
            let holds = match (&term.values, labels.get(&term.key)) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(values), Some(value)) => values.contains(value),
            };
            // as in Kubernetes, `a != b` also takes objects without the label
            holds != term.not
        })
    }
}

impl std::str::FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let terms = split(text).map(term).collect::<Result<Vec<_>, _>>()?;
        if terms.is_empty() {
            return Err("a label selector needs at least one term, for example shard=a".to_owned());
        }
        Ok(Self { terms })
    }
}

/// At commas that are not within brackets.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut within = false;
    let parts = text.split(move |c| {
        within = (within || c == '(') && c != ')';
        c == ',' && !within
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

fn term(text: &str) -> Result<Term, String> {
    let one = |key: &str, value: &str, not| Ok(Term { key: name(key)?, values: Some(vec![label(value)?]), not });
    if let Some(key) = text.strip_prefix('!') {
        return Ok(Term { key: name(key)?, values: None, not: true });
    }
    if let Some((key, value)) = text.split_once("!=") {
        return one(key, value, true);
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return one(key, value, false);
    }
    if let Some((left, values)) = text.split_once('(') {
        let values = values.strip_suffix(')').ok_or_else(|| format!("`{text}`: the bracket is not closed"))?;
        let (key, word) = left.trim().rsplit_once(char::is_whitespace).unwrap_or((left, ""));
        let not = match word {
            "in" => false,
            "notin" => true,
            _ => return Err(format!("`{text}`: expected `in (…)` or `notin (…)`")),
        };
        let values = values.split(',').map(label).collect::<Result<Vec<_>, _>>()?;
        return Ok(Term { key: name(key)?, values: Some(values), not });
    }
    Ok(Term { key: name(text)?, values: None, not: false })
}

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    let good = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if text.is_empty() || !text.chars().all(good) {
        return Err(format!("`{text}` is no name of a label"));
    }
    Ok(text.to_owned())
}

fn label(text: &str) -> Result<String, String> {
    let text = text.trim();
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.len() > 63 || !text.chars().all(good) {
        return Err(format!("`{text}` is no value of a label"));
    }
    Ok(text.to_owned())
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Term { key, values, not }) in self.terms.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match (values.as_deref(), not) {
                (None, false) => write!(f, "{comma}{key}")?,
                (None, true) => write!(f, "{comma}!{key}")?,
                (Some([value]), false) => write!(f, "{comma}{key}={value}")?,
                (Some([value]), true) => write!(f, "{comma}{key}!={value}")?,
                (Some(values), false) => write!(f, "{comma}{key} in ({})", values.join(","))?,
                (Some(values), true) => write!(f, "{comma}{key} notin ({})", values.join(","))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_mean_what_they_mean_to_kubectl() {
        let labels: BTreeMap<String, String> =
            [("team", "a"), ("example.com/stage", "test"), ("empty", "")].map(|(k, v)| (k.into(), v.into())).into();
        for (text, expected) in [
            ("team=a", true),
            ("team==a", true),
            ("team=b", false),
            ("team!=b", true),
            ("team!=a", false),
            ("other!=a", true),
            ("team", true),
            ("other", false),
            ("!other", true),
            ("! team", false),
            ("team in (a, b)", true),
            ("team in (b)", false),
            ("other in (b)", false),
            ("team notin (b,c)", true),
            ("other notin (b)", true),
            ("team notin (a,c)", false),
            ("example.com/stage=test,team=a", true),
            ("example.com/stage in (live, test) , team notin (b)", true),
            ("team=a,other", false),
            ("empty=", true),
        ] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(selector.matches(&labels), expected, "{text}");
            assert_eq!(selector.to_string().parse::<Selector>().unwrap(), selector, "{text}");
        }
    }

    #[test]
    fn values_are_as_long_as_labels_may_be() {
        for (length, taken) in [(0, true), (63, true), (64, false), (200, false)] {
            assert_eq!(format!("a={}", "v".repeat(length)).parse::<Selector>().is_ok(), taken, "{length}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused_with_the_part_that_is_wrong() {
        for (text, word) in [
            ("", "at least one"),
            (" , ", "at least one"),
            ("a=b c", "b c"),
            ("a in b", "a in b"),
            ("a in (b", "not closed"),
            ("a of (b)", "expected `in"),
            ("=b", "no name"),
            ("a=ü", "ü"),
        ] {
            let error = text.parse::<Selector>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
