//! `duo-gateway`: see the library. Exit codes: 0 stopped, 1 could not start, 2 a variable or the configuration is wrong.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use duo_gateway::settings::Settings;

/// AI gateway for GitLab Duo Self-Hosted. Takes the environment variables of GitLab's own gateway (AIGW_*, AWS_*).
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The mounted configuration; files that it names stand beside it. [env: DUO_GATEWAY_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings = match Settings::read(|name| std::env::var(name).ok(), arguments.config) {
        Ok(settings) => settings,
        Err(error) => return fail(2, &error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    match runtime.block_on(duo_gateway::run(settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(if error.is_configuration() { 2 } else { 1 }, &error),
    }
}

fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(one) = source {
        let more = one.to_string();
        // several errors already hold their source's text
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = one.source();
    }
    // logging may not be there yet; nothing is left to do when standard error is closed
    let _ = writeln!(std::io::stderr(), "duo-gateway: {text}");
    ExitCode::from(code)
}
