//! The program `duo-operator`.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use duo_operator::cli::{Cli, Command};

/// glibc keeps for good what a cold start needed; this one gives it back (`.cargo/config.toml` says when).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap would end with 2, which means "something would change" for a plan.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Crds => match duo_operator::crds_yaml() {
            Ok(yaml) if std::io::stdout().write_all(yaml.as_bytes()).is_ok() => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        },
        Command::Plan(args) => {
            // A plan is read by people and pipelines; what goes on inside is told only when asked for.
            duo_runtime::telemetry::init("off");
            match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(duo_operator::dry_run::run(args)),
                Err(error) => {
                    let _ = writeln!(std::io::stderr(), "error: cannot start the async runtime: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        Command::Run(args) => {
            duo_runtime::telemetry::init("info");
            let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    tracing::error!(%error, "cannot start the async runtime");
                    return ExitCode::FAILURE;
                }
            };
            match runtime.block_on(duo_operator::run::run(args)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tracing::error!(%error, "the operator ended");
                    ExitCode::FAILURE
                }
            }
        }
    }
}
