//! Instructions of the gateway per request and per chunk, as callgrind counts them. They do not depend on what else the
//! machine does, so that two versions can be compared on a busy one. The kernel's share is not in them.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::asks::{self, Endpoint, Pace, Wire};
use crate::load::{self, closed, streams};
use crate::stage::Stage;
use crate::{Fallible, say, upstream};

/// Requests that are counted, after as many that are not.
const REQUESTS: u64 = 200;
/// Streams that are counted, at a time.
const STREAMS: usize = 8;

/// Counts; the dumps (for `callgrind_annotate`) go to `folder`.
///
/// # Errors
/// There is no callgrind (package valgrind), or answers are not what they should be.
pub fn run(symbols: &Path, folder: &Path, only: &[String]) -> Fallible<()> {
    std::fs::create_dir_all(folder)?;
    let script = folder.join("under-callgrind.sh");
    let out = folder.join("callgrind.out");
    let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o755).open(&script)?;
    writeln!(
        file,
        "#!/bin/sh\nexec valgrind --quiet --tool=callgrind --callgrind-out-file={} {} \"$@\"",
        out.display(),
        std::fs::canonicalize(symbols)?.display()
    )?;
    drop(file);
    let stage = Stage::set(&script, 1)?;
    let kinds = [
        ("code/completions to OpenAI", Endpoint::Completion, Wire::OpenAi, Pace::Quick),
        ("code/completions to Bedrock", Endpoint::Completion, Wire::Bedrock, Pace::Quick),
        ("explain_code to OpenAI", Endpoint::Explain, Wire::OpenAi, Pace::Quick),
        ("v4 SSE from OpenAI", Endpoint::SuggestionStream, Wire::OpenAi, Pace::Paced),
        ("v4 SSE from Bedrock", Endpoint::SuggestionStream, Wire::Bedrock, Pace::Paced),
        ("v1 prompts from OpenAI", Endpoint::ExplainStream, Wire::OpenAi, Pace::Paced),
    ];
    for (name, what, wire, pace) in kinds {
        if !only.is_empty() && !only.iter().any(|only| name.contains(only.as_str())) {
            continue;
        }
        let requests: Vec<Vec<u8>> =
            stage.tokens.iter().map(|token| asks::request(what, wire, pace, token, stage.upstream)).collect();
        let ask = |requests: &[Vec<u8>]| -> Fallible<u64> {
            if pace == Pace::Quick {
                closed::some(stage.gateway.api, requests, REQUESTS)?;
                return Ok(REQUESTS);
            }
            let outcome = streams::run(stage.gateway.api, requests, STREAMS, Duration::from_millis(20), &[])?;
            if outcome.failures > 0 {
                return Err(format!("{name}: {} streams failed", outcome.failures).into());
            }
            Ok((STREAMS * upstream::pieces(pace)) as u64)
        };
        // tokens are checked, connections made, labels known
        load::probe(stage.gateway.api, &requests[0])?;
        let quick: Vec<Vec<u8>> =
            stage.tokens.iter().map(|token| asks::request(what, wire, Pace::Quick, token, stage.upstream)).collect();
        closed::some(stage.gateway.api, &quick, REQUESTS)?;
        control(&stage, "--zero")?;
        let count = ask(&requests)?;
        let dump = folder.join(format!("{}.callgrind", name.replace([' ', '/'], "-")));
        let total = dumped(&stage, &out, &dump)?;
        let unit = if pace == Pace::Quick { "request" } else { "chunk" };
        say(&format!("{name:32} {:9} instructions per {unit}   {}", total / count, dump.display()));
    }
    Ok(())
}

fn control(stage: &Stage, what: &str) -> Fallible<()> {
    let pid = stage.gateway.pids().first().copied().unwrap_or_default().to_string();
    let done = Command::new("callgrind_control").args([what, &pid]).output();
    match done {
        Ok(done) if done.status.success() => Ok(()),
        _ => Err("callgrind_control is missing or cannot reach the gateway: apt-get install valgrind".into()),
    }
}

/// Has the counters written out and gives their sum over all threads.
fn dumped(stage: &Stage, out: &Path, kept: &Path) -> Fallible<u64> {
    control(stage, "--dump")?;
    let (folder, name) = (out.parent().unwrap_or(out), out.file_name().unwrap_or_default().to_string_lossy());
    for entry in std::fs::read_dir(folder)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&format!("{name}.")) {
            let text = std::fs::read_to_string(entry.path())?;
            let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
            std::fs::rename(entry.path(), kept)?;
            return total.ok_or_else(|| "callgrind's dump names no total".into());
        }
    }
    Err("callgrind wrote nothing".into())
}
