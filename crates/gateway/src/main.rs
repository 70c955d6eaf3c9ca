//! `duo-gateway`: see the library. Exit codes: 0 stopped, 1 could not start, 2 a variable or the configuration is wrong.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use duo_gateway::docs_index;
use duo_gateway::settings::Settings;

/// AI gateway for GitLab Duo Self-Hosted. Takes the environment variables of GitLab's own gateway (AIGW_*, AWS_*).
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The mounted configuration; files that it names stand beside it. [env: DUO_GATEWAY_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the index that documentation is searched in, from a folder of Markdown such as `doc` of GitLab's source.
    IndexDocs {
        /// The folder; all *.md files below it are taken.
        folder: PathBuf,
        /// The file to write. Name it in `docsIndexFile` of the configuration or in DUO_GATEWAY_DOCS_INDEX.
        #[arg(long, value_name = "FILE", default_value = "gitlab-docs.index")]
        output: PathBuf,
        /// Where the documentation is published; results link there.
        #[arg(long, value_name = "URL", default_value = "https://docs.gitlab.com")]
        base_url: String,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::IndexDocs { folder, output, base_url }) = arguments.command {
        return index(&folder, &output, &base_url);
    }
    let settings = match Settings::read(|name| std::env::var(name).ok(), arguments.config) {
        Ok(settings) => settings,
        Err(error) => return fail(2, &error),
    };
    match duo_gateway::run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(if error.is_configuration() { 2 } else { 1 }, &error),
    }
}

fn index(folder: &Path, output: &Path, base_url: &str) -> ExitCode {
    let built = match docs_index::index_folder(folder, base_url) {
        Ok(built) => built,
        Err(error) => return fail(1, &error),
    };
    for skipped in &built.skipped {
        let _ = writeln!(std::io::stderr(), "duo-gateway: left out: {skipped}");
    }
    if let Err(error) = docs_index::write_whole(output, &built.bytes) {
        return fail(1, &std::io::Error::other(format!("{}: {error}", output.display())));
    }
    let (pages, sections, bytes) = (built.pages, built.sections, built.bytes.len());
    let _ = writeln!(std::io::stdout(), "{}: {pages} pages, {sections} sections, {bytes} bytes", output.display());
    ExitCode::SUCCESS
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
