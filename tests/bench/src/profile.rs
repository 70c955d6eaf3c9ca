//! Where the gateway's processor time goes: `perf` samples a gateway with symbols under load; samples are put together
//! by what their functions belong to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::asks::{self, Endpoint, Pace, Wire};
use crate::load::{closed, streams};
use crate::stage::Stage;
use crate::{Fallible, load, say};

/// Functions and groups that are shown.
const SHOWN: usize = 25;

/// Profiles of the hot paths; empty where there is no `perf`.
///
/// # Errors
/// The gateway does not start, or `perf` says nothing that can be read.
pub fn all(stage: &Stage, symbols: &Path) -> Fallible<BTreeMap<String, Vec<(String, f64)>>> {
    let mut profiles = BTreeMap::new();
    if Command::new("perf").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        say("        no perf (package linux-perf): no profile");
        return Ok(profiles);
    }
    let gateway = stage.another(Some(symbols))?;
    let pid = gateway.pids().first().copied().unwrap_or_default();
    while !load::get(gateway.api, "/monitoring/ready").is_ok_and(|(status, _)| status == 200) {
        std::thread::sleep(Duration::from_millis(10));
    }
    for (name, what, wire, pace) in [
        ("1 code/completions to OpenAI", Endpoint::Completion, Wire::OpenAi, Pace::Quick),
        ("2 code/completions to Bedrock", Endpoint::Completion, Wire::Bedrock, Pace::Quick),
        ("3 v4 SSE from OpenAI", Endpoint::SuggestionStream, Wire::OpenAi, Pace::Paced),
        ("4 v4 SSE from Bedrock", Endpoint::SuggestionStream, Wire::Bedrock, Pace::Paced),
    ] {
        let requests: Vec<Vec<u8>> =
            stage.tokens.iter().map(|token| asks::request(what, wire, pace, token, stage.upstream)).collect();
        let samples = sample(stage, pid, gateway.api, &requests, pace)?;
        stage.empty_logs();
        profiles.insert(format!("{name}, by part"), shares(&samples, group));
        profiles.insert(format!("{name}, by function"), shares(&samples, |sample| short(&sample.symbol)));
    }
    Ok(profiles)
}

struct Sample {
    percent: f64,
    object: String,
    symbol: String,
}

fn sample(stage: &Stage, pid: u32, api: SocketAddr, requests: &[Vec<u8>], pace: Pace) -> Fallible<Vec<Sample>> {
    let data = tempfile::NamedTempFile::new()?;
    let file = data.path().display().to_string();
    let mut recorder = Command::new("perf")
        .args(["record", "--quiet", "--event", "cpu-clock", "--freq", "1999", "--output", &file, "--pid"])
        .arg(pid.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::sleep(Duration::from_millis(200));
    match pace {
        Pace::Quick => {
            closed::run(api, requests, 32, (Duration::ZERO, stage.time(3000)), &[])?;
        }
        _ => {
            streams::run(api, requests, 64, Duration::from_millis(1), &[])?;
        }
    }
    // SIGINT, upon which perf writes its file out
    Command::new("kill").args(["-INT", &recorder.id().to_string()]).status()?;
    recorder.wait()?;
    let report = Command::new("perf")
        .args([
            "report",
            "--stdio",
            "--no-children",
            "--sort",
            "dso,symbol",
            "--field-separator",
            "|",
            "--input",
            &file,
        ])
        .stderr(Stdio::null())
        .output()?;
    Ok(String::from_utf8_lossy(&report.stdout).lines().filter_map(parse).collect())
}

/// `12.3%|duo-gateway|[.] serde_json::ser::to_writer   |-  -`
fn parse(line: &str) -> Option<Sample> {
    // more columns may follow
    let mut parts = line.split('|').map(str::trim);
    let percent = parts.next()?.trim_end_matches('%').parse().ok()?;
    let object = parts.next()?.to_owned();
    let symbol = parts.next()?.trim_start_matches("[.]").trim_start_matches("[k]").trim();
    // without the hash that the compiler appends
    let symbol = symbol.rsplit_once("::h").map_or(symbol, |(name, hash)| if hash.len() == 16 { name } else { symbol });
    Some(Sample { percent, object, symbol: symbol.to_owned() })
}

/// Names of generic functions run over many lines.
fn short(symbol: &str) -> String {
    symbol.chars().take(100).collect()
}

/// What a function belongs to: the kernel, or the crate that its name begins with.
fn group(sample: &Sample) -> String {
    if sample.object.contains("kernel") || sample.object.contains("unknown") {
        return "the kernel".to_owned();
    }
    let symbol = sample.symbol.as_str();
    if [
        "malloc",
        "__malloc",
        "__libc_malloc",
        "_int_",
        "cfree",
        "realloc",
        "calloc",
        "free",
        "sysmalloc",
        "unlink_chunk",
        "arena",
        "mi_",
        "_mi_",
    ]
    .iter()
    .any(|name| symbol.starts_with(name))
        || symbol.contains("alloc::alloc")
    {
        return "memory allocation".to_owned();
    }
    if symbol.starts_with("__mem") || symbol.starts_with("mem") {
        return "copying and comparing memory".to_owned();
    }
    if symbol.contains("aws_lc") || symbol.contains("sha256") || symbol.contains("sha512") {
        return "aws-lc (hashes, HMAC, RSA)".to_owned();
    }
    // the crate that something generic was made for says more than the one that offers it
    let names = ["duo_protocol", "duo_gateway", "aws_", "reqwest", "hyper_util", "hyper", "serde_json", "tokio"];
    for name in names {
        if symbol.contains(&format!("{name}::")) || (name == "aws_" && symbol.contains("aws_")) {
            return name.trim_end_matches('_').to_owned();
        }
    }
    let start = symbol.trim_start_matches(['<', '&', ' ']);
    let name: String = start.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    if name.is_empty() { "others".to_owned() } else { name }
}

fn shares(samples: &[Sample], key: fn(&Sample) -> String) -> Vec<(String, f64)> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for sample in samples {
        *sums.entry(key(sample)).or_default() += sample.percent;
    }
    let mut sorted: Vec<(String, f64)> = sums.into_iter().collect();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
    sorted.truncate(SHOWN);
    sorted
}
