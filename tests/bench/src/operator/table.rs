//! The figures, with the limits that the product sets itself.

use std::fmt;

use serde::Serialize;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Table {
    /// Date and time, UTC.
    pub when: String,
    /// The machine, and what else it did.
    pub machine: String,
    /// As the source control names it.
    pub revision: String,
    /// Gateways, models, assignments.
    pub size: String,
    /// The figures in the order in which they were taken.
    pub rows: Vec<Row>,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// In what.
    pub unit: &'static str,
    /// The figure.
    pub figure: f64,
    /// It must not be above this.
    pub limit: Option<f64>,
}

impl Table {
    /// Nothing measured yet.
    pub fn new(size: String) -> Self {
        let when = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string();
        Self { when, machine: machine(), revision: revision(), size, rows: Vec::new() }
    }

    /// One more figure; it is also said at once.
    pub fn add(&mut self, name: impl Into<String>, unit: &'static str, figure: f64, limit: Option<f64>) {
        let row = Row { name: name.into(), unit, figure, limit };
        crate::say(&row.to_string());
        self.rows.push(row);
    }
}

impl Row {
    fn verdict(&self) -> &'static str {
        match self.limit {
            Some(limit) if self.figure > limit => "ABOVE",
            Some(_) => "within",
            None => "",
        }
    }
}

fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 || figure.fract() == 0.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit.map(short).unwrap_or_default();
        write!(f, "| {} | {} | {} | {limit} | {} |", self.name, self.unit, short(self.figure), self.verdict())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{} on {}, revision {}: {}\n", self.when, self.machine, self.revision, self.size)?;
        writeln!(f, "| figure | unit | operator | limit | |\n|---|---|---:|---:|---|")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or("0");
    let gib = total.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0 / 1024.0;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    let model = model.trim_start_matches([':', ' ', '\t']);
    format!("{cores} x {model}, {gib:.0} GiB, load {load} at its beginning")
}

fn revision() -> String {
    let out = std::process::Command::new("git").args(["describe", "--always", "--dirty"]).output();
    out.ok().map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
}
