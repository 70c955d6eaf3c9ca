//! The table: figures side by side, their limits, and the ratios that outlive the machine they were measured on.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Table {
    /// Date and time, UTC.
    pub when: String,
    /// The machine in a few words.
    pub machine: String,
    /// The version of the measured gateway, as the source control names it.
    pub revision: String,
    /// The figures.
    pub rows: Vec<Row>,
    /// Where the gateway's processor time goes: request kind, then share of each part in percent.
    pub profile: BTreeMap<String, Vec<(String, f64)>>,
}

/// One figure for each who was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// In what.
    pub unit: &'static str,
    /// By `direct`, `nginx`, `hyper`, `gateway`.
    pub figures: BTreeMap<&'static str, f64>,
    /// The gateway's figure must not be above it.
    pub limit: Option<f64>,
    /// Where it should get to.
    pub aim: Option<f64>,
}

impl Row {
    /// A row without figures.
    pub fn new(name: impl Into<String>, unit: &'static str) -> Self {
        Self { name: name.into(), unit, figures: BTreeMap::new(), limit: None, aim: None }
    }

    /// With limit and aim.
    pub fn within(mut self, limit: f64, aim: f64) -> Self {
        (self.limit, self.aim) = (Some(limit), Some(aim));
        self
    }

    /// With the gateway's figure.
    pub fn gateway(mut self, figure: f64) -> Self {
        self.figures.insert("gateway", figure);
        self
    }

    fn verdict(&self) -> &'static str {
        let Some(figure) = self.figures.get("gateway") else { return "" };
        match (self.limit, self.aim) {
            (Some(limit), _) if *figure > limit => "ABOVE",
            (_, Some(aim)) if *figure <= aim => "aim met",
            (Some(_), _) => "within",
            _ => "",
        }
    }
}

fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}, revision {}\n", self.when, self.machine, self.revision)?;
        writeln!(f, "| figure | unit | direct | nginx | hyper | gateway | to nginx | to hyper | limit | aim | |")?;
        writeln!(f, "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|")?;
        for row in &self.rows {
            let cell = |who| row.figures.get(who).copied().map(short).unwrap_or_default();
            let ratio = |who| match (row.figures.get("gateway"), row.figures.get(who)) {
                (Some(ours), Some(theirs)) if *theirs > 0.0 => format!("{:.2}", ours / theirs),
                _ => String::new(),
            };
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                row.name,
                row.unit,
                cell("direct"),
                cell("nginx"),
                cell("hyper"),
                cell("gateway"),
                ratio("nginx"),
                ratio("hyper"),
                row.limit.map(short).unwrap_or_default(),
                row.aim.map(short).unwrap_or_default(),
                row.verdict()
            )?;
        }
        for (kind, parts) in &self.profile {
            writeln!(f, "\nWhere the gateway's processor time goes, {kind}:\n")?;
            for (part, share) in parts {
                writeln!(f, "{share:6.1} %  {part}")?;
            }
        }
        Ok(())
    }
}
