//! What the operator costs at size: hundreds of GitLab instances, each with its gateway, models and assignments.
//!
//! A real API server, simulated GitLabs at a delay, and the operator as it is shipped, as a program of its own. There
//! are no nodes: [`pods`] plays kubelet and gateway. `README.md` beside `Cargo.toml` says what is measured and how.

mod cluster;
mod gitlabs;
mod memory;
mod phases;
mod pods;
mod program;
mod served;
mod table;

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Any error, for a person to read.
type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How much, and where.
#[derive(Clone, Debug, Parser)]
#[command(about = "Measures duo-operator at size; `make bench-operator` calls it")]
struct Arguments {
    /// The operator as shipped.
    #[arg(long)]
    operator: PathBuf,
    /// Where the JSON goes.
    #[arg(long)]
    json: PathBuf,
    /// GitLab instances, each with one AIGateway.
    #[arg(long, default_value_t = 200)]
    gateways: usize,
    /// SelfHostedModels of each.
    #[arg(long, default_value_t = 10)]
    models: usize,
    /// FeatureAssignments of each, at most 25.
    #[arg(long, default_value_t = 25)]
    assignments: usize,
    /// Namespaces that they are spread over.
    #[arg(long, default_value_t = 20)]
    namespaces: usize,
    /// What each answer of a GitLab takes, milliseconds.
    #[arg(long, default_value_t = 20)]
    delay: u64,
    /// The operator's resync period, seconds.
    #[arg(long, default_value_t = 60)]
    resync: u64,
    /// Edits that are timed.
    #[arg(long, default_value_t = 300)]
    edits: usize,
    /// GitLabs that take connections and never answer for two periods, while the others are edited.
    #[arg(long, default_value_t = 10)]
    dead: usize,
    /// Only the first phases: start, rest, edits, takeover.
    #[arg(long, default_value = "takeover")]
    until: String,
    /// Log level of the operator.
    #[arg(long, default_value = "warn")]
    log: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    match runtime.block_on(phases::all(&arguments)) {
        Ok(table) => {
            say(&table.to_string());
            ExitCode::SUCCESS
        }
        Err(error) => fail(error.as_ref()),
    }
}

fn fail(error: &dyn Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "duo-bench-operator: {error}");
    ExitCode::FAILURE
}

/// A line on standard output; one that is closed is nobody's loss.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
