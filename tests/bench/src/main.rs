//! What the gateway costs: processor time, latency, memory, size and start, each beside no proxy at all, nginx and a
//! bare hyper proxy in the same run. `README.md` beside `Cargo.toml` says what is measured and how.
//!
//! Everything is on loopback. It knows the gateway from outside only: as a program, its mounted folder and its ports.

mod asks;
mod cores;
mod count;
mod gitlab;
mod http1;
mod load;
mod measure;
mod proc;
mod profile;
mod program;
mod proxy;
mod report;
mod soak;
mod stage;
mod upstream;

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Any error, for a person to read.
type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Parser)]
#[command(about = "Measures duo-gateway; `make bench` calls it")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The whole table.
    Run {
        /// The gateway as shipped.
        #[arg(long)]
        gateway: PathBuf,
        /// The same with symbols, for the profile; no profile without it.
        #[arg(long)]
        symbols: Option<PathBuf>,
        /// The gateway's OCI archive.
        #[arg(long)]
        image: Option<PathBuf>,
        /// Where the JSON goes.
        #[arg(long)]
        json: PathBuf,
        /// Divides all measuring times: a quick look, not figures to keep.
        #[arg(long, default_value_t = 1)]
        hurry: u32,
        /// Measures only what begins with one of these: cpu, streams, latency, memory, start, profile.
        #[arg(long)]
        only: Vec<String>,
    },
    /// Instructions per request and per chunk, by callgrind: a figure that a busy machine does not change.
    Count {
        /// The gateway with symbols.
        #[arg(long)]
        symbols: PathBuf,
        /// Where callgrind's dumps go.
        #[arg(long)]
        folder: PathBuf,
        /// Only kinds whose names hold one of these.
        #[arg(long)]
        only: Vec<String>,
    },
    /// Mixed load with faults, for a long time: nothing is lost, nothing hangs, nothing grows.
    Soak {
        /// The gateway as shipped.
        #[arg(long)]
        gateway: PathBuf,
        /// How long.
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// Where the JSON goes.
        #[arg(long)]
        json: PathBuf,
    },
    /// A model server that costs next to nothing (started by `run`).
    #[command(hide = true)]
    Upstream {
        /// The key set that its GitLab publishes.
        jwks: PathBuf,
        /// One call in three goes wrong.
        #[arg(long)]
        faulty: bool,
    },
    /// A bare hyper reverse proxy (started by `run`).
    #[command(hide = true)]
    Proxy {
        /// Where it forwards to.
        upstream: SocketAddr,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { gateway, symbols, image, json, hurry, only } => stage::Stage::set(&gateway, hurry.max(1))
            .and_then(|stage| {
                let plan = measure::Plan { only, symbols, image };
                let table = measure::all(stage, &plan)?;
                std::fs::write(&json, serde_json::to_string_pretty(&table)?)?;
                say(&table.to_string());
                say(&format!("written to {}", json.display()));
                Ok(())
            }),
        Command::Count { symbols, folder, only } => count::run(&symbols, &folder, &only),
        Command::Soak { gateway, seconds, json } => soak::run(&gateway, seconds, &json),
        Command::Upstream { jwks, faulty } => upstream::run(&jwks, faulty),
        Command::Proxy { upstream } => proxy::run(upstream),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "duo-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A line on standard output; one that is closed is nobody's loss.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
