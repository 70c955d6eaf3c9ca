//! A long time with everything that goes wrong: the model server fails one call in three, clients go away, the
//! configuration changes. Each request gets an answer of the contract or an explicit failure in time, and afterwards
//! the gateway is as it was before.

mod client;
mod line;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::asks::{self, Wire};
use crate::cores::Cores;
use crate::gitlab::{INSTANCE, Keys};
use crate::program::Program;
use crate::stage::{Gateway, USERS, pin_this_process, start_gateway, wait_ready};
use crate::{Fallible, load, proc, say};
use client::{Client, Tally};
use line::Way;

/// Clients at work.
const CLIENTS: usize = 64;
/// The configuration is written anew this often.
const RELOAD: Duration = Duration::from_secs(5);
/// What the documentation that is searched says.
const DOCUMENT: &str = "Orders are summed up line by line.";
const MIB: f64 = 1024.0 * 1024.0;

/// Runs the soak and judges it.
///
/// # Errors
/// What did not hold.
pub fn run(gateway: &Path, seconds: u64, json: &Path) -> Fallible<()> {
    let cores = Cores::share();
    pin_this_process(cores.load)?;
    let folder = tempfile::Builder::new().prefix("duo-soak-").tempdir()?;
    let keys = Keys::generate()?;
    let jwks = folder.path().join("jwks.json");
    std::fs::write(&jwks, keys.jwks()?.to_string())?;
    let jwks_path = jwks.display().to_string();
    let log = folder.path().join("own.log");
    let (_server, upstream) = Program::own(cores.upstream, &["upstream", &jwks_path, "--faulty"], &log)?;
    let config = folder.path().join("config");
    std::fs::create_dir_all(&config)?;
    let (certificate, certificate_key) = line::certificate()?;
    for (name, text) in [
        ("tls.crt", certificate.as_str()),
        ("tls.key", certificate_key.as_str()),
        ("model-key", "sk-bench-0123456789"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("signing-key.pem", keys.pem()),
    ] {
        std::fs::write(config.join(name), text)?;
    }
    let docs = folder.path().join("docs");
    std::fs::create_dir_all(&docs)?;
    std::fs::write(docs.join("orders.md"), format!("# Orders\n\n{DOCUMENT}\n"))?;
    let index =
        duo_gateway::docs_index::index_folder(&docs, "https://docs.gitlab.com").map_err(|error| error.to_string())?;
    std::fs::write(config.join("docs.index"), index.bytes)?;
    write_config(&config, upstream, 0)?;
    let running = start_gateway(cores, gateway, folder.path())?;
    wait_ready(&running)?;
    std::thread::sleep(Duration::from_secs(2));
    let pid = running.pids().first().copied().unwrap_or_default();
    let before = proc::handles(pid);
    say(&format!("soak of {seconds} s: {CLIENTS} clients, {} descriptors and {} threads before", before.0, before.1));

    let tally = Rc::new(RefCell::new(Tally::default()));
    let tokens: Rc<[String]> = keys.tokens(USERS)?.into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let time = Duration::from_secs(seconds);
    let encrypted = Way::encrypted(running.api, &certificate)?;
    let samples = local.block_on(&runtime, async {
        let stop = Rc::new(std::cell::Cell::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                // the port takes both, as it does while TLS is switched on
                let way = if number % 2 == 0 { encrypted.clone() } else { Way::plain(running.api) };
                let client = Client::new(number, way, upstream, tokens.clone(), tally.clone());
                tokio::task::spawn_local(client.work(stop.clone()))
            })
            .collect();
        let samples = watch(&running, &config, folder.path(), upstream, time).await;
        stop.set(true);
        for client in clients {
            let _ = client.await;
        }
        samples
    })?;
    // kept connections to model servers are let go after some seconds
    std::thread::sleep(Duration::from_secs(10));
    let after = proc::handles(pid);
    let (_, metrics) = load::get(running.metrics, "/metrics")?;
    let in_flight: f64 = values(&metrics, "model_inferences_in_flight{").sum();
    let tally = tally.borrow();
    let (report, problems) = judge(&tally, &samples, (before, after), in_flight, seconds);
    std::fs::write(json, serde_json::to_string_pretty(&report)?)?;
    say(&serde_json::to_string_pretty(&report)?);
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ").into()) }
}

/// Memory each second; the configuration changes meanwhile, and the log is cut, or it would fill the disk.
async fn watch(
    gateway: &Gateway,
    config: &Path,
    folder: &Path,
    upstream: std::net::SocketAddr,
    time: Duration,
) -> Fallible<Vec<f64>> {
    let (began, pids) = (Instant::now(), gateway.pids());
    let (mut samples, mut reloads, mut said) = (Vec::new(), 0u32, Instant::now());
    while began.elapsed() < time {
        tokio::time::sleep(Duration::from_secs(1)).await;
        samples.push(proc::memory(&pids).rss as f64 / MIB);
        if began.elapsed() > RELOAD * (reloads + 1) {
            reloads += 1;
            write_config(config, upstream, reloads)?;
            if let Ok(log) = std::fs::OpenOptions::new().write(true).open(folder.join("gateway.log")) {
                let _ = log.set_len(0);
            }
        }
        if said.elapsed() > Duration::from_secs(60) {
            said = Instant::now();
            say(&format!("{:5.0} s  {:.1} MiB", began.elapsed().as_secs_f64(), samples.last().unwrap_or(&0.0)));
        }
    }
    Ok(samples)
}

/// Swapped in as one file, as an administrator's editor does it. What changes is a time that nobody waits for.
fn write_config(folder: &Path, upstream: std::net::SocketAddr, turn: u32) -> Fallible<()> {
    let (family, identifier) = asks::model(Wire::OpenAi);
    let (bedrock_family, bedrock) = asks::model(Wire::Bedrock);
    let (vectors_family, vectors) = asks::VECTORS;
    let endpoint = asks::endpoint(Wire::OpenAi, upstream);
    let text = format!(
        "gitlab: {{url: \"http://{upstream}\", instanceId: {INSTANCE}}}\n\
         requestTimeoutSeconds: {overall}\n\
         signingKeyFile: signing-key.pem\n\
         docsIndexFile: docs.index\n\
         tls: {{certificate: {{certificateFile: tls.crt, keyFile: tls.key}}, acceptPlain: true}}\n\
         providers:\n  bedrock: {{region: us-east-1, endpoint: \"http://{upstream}\", credentials: true}}\n\
         limits: {{perUser: {{concurrentRequests: 8}}}}\n\
         models:\n\
         - name: codestral\n  family: {family}\n  identifier: \"{identifier}\"\n  endpoint: \"{endpoint}\"\n  \
         apiKeyFile: model-key\n  timeouts: {{firstByteSeconds: 4}}\n  \
         retries: {{attempts: 1, maxPauseMilliseconds: 500}}\n  circuitBreaker: {{consecutiveFailures: 8, openSeconds: 2}}\n  \
         hedging: {{percentile: 95, minDelayMilliseconds: 100}}\n  concurrency: {{maxRequests: 48, maxQueued: 16, queueSeconds: 2}}\n  \
         fallbacks:\n  - {{identifier: \"{bedrock}\", family: {bedrock_family}}}\n\
         - name: claude\n  family: {bedrock_family}\n  identifier: \"{bedrock}\"\n  timeouts: {{firstByteSeconds: 4}}\n\
         - name: bge\n  family: {vectors_family}\n  identifier: \"{vectors}\"\n  endpoint: \"{endpoint}\"\n  \
         timeouts: {{firstByteSeconds: 4}}\n",
        overall = 10 + turn % 2,
    );
    let next = folder.join(".next");
    std::fs::write(&next, text)?;
    std::fs::rename(next, folder.join("config.yaml"))?;
    Ok(())
}

fn values<'a>(metrics: &'a str, name: &'a str) -> impl Iterator<Item = f64> + 'a {
    let lines = metrics.lines().filter(move |line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok())
}

fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len().max(1) as f64
}

fn judge(
    tally: &Tally,
    samples: &[f64],
    (before, after): ((usize, usize), (usize, usize)),
    in_flight: f64,
    seconds: u64,
) -> (Value, Vec<String>) {
    // the first tenth fills caches and buffers
    let settled = samples.get(samples.len() / 10..).unwrap_or_default();
    let third = settled.len() / 3;
    let first = mean(settled.get(..third).unwrap_or_default());
    let last = mean(settled.get(settled.len() - third..).unwrap_or_default());
    let mut problems = Vec::new();
    let mut expect = |holds: bool, problem: String| {
        if !holds {
            problems.push(problem);
        }
    };
    expect(tally.wrong.is_empty(), format!("{} answers that the contract does not know", tally.wrong.len()));
    expect(tally.late == 0, format!("{} requests without an end in time", tally.late));
    expect(last <= first * 1.1 + 2.0, format!("memory grows: {first:.1} MiB at first, {last:.1} MiB at last"));
    expect(after.0 <= before.0 + 4, format!("descriptors: {} before, {} after", before.0, after.0));
    expect(after.1 <= before.1 + 2, format!("threads: {} before, {} after", before.1, after.1));
    expect(in_flight == 0.0, format!("{in_flight} model calls still count as under way"));
    let outcomes: BTreeMap<&str, u64> = tally.outcomes.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    let report = json!({
        "seconds": seconds, "requests": tally.requests, "outcomes": outcomes, "late": tally.late,
        "wrong": tally.wrong, "slowest_s": tally.slowest.as_secs_f64(),
        "memory_mib": {
            "first_third": first, "last_third": last, "most": samples.iter().copied().fold(0.0, f64::max),
        },
        "descriptors": {"before": before.0, "after": after.0}, "threads": {"before": before.1, "after": after.1},
        "in_flight_after": in_flight, "holds": problems.is_empty(),
    });
    (report, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_leaks_and_lost_requests_are_found() {
        let flat: Vec<f64> = vec![40.0; 90];
        let still = ((10, 4), (10, 4));
        let good = Tally { requests: 9, ..Tally::default() };
        assert_eq!(judge(&good, &flat, still, 0.0, 90).1, Vec::<String>::new());
        let growing: Vec<f64> = (0..90).map(|second| 40.0 + f64::from(second) * 0.2).collect();
        assert!(judge(&good, &growing, still, 0.0, 90).1[0].contains("memory grows"));
        assert!(judge(&good, &flat, ((10, 4), (90, 4)), 0.0, 90).1[0].contains("descriptors"));
        assert!(judge(&good, &flat, ((10, 4), (10, 40)), 0.0, 90).1[0].contains("threads"));
        assert!(judge(&good, &flat, still, 1.0, 90).1[0].contains("under way"));
        let late = Tally { late: 1, ..Tally::default() };
        assert!(judge(&late, &flat, still, 0.0, 90).1[0].contains("in time"));
        let wrong = Tally { wrong: vec!["500".into()], ..Tally::default() };
        assert!(judge(&wrong, &flat, still, 0.0, 90).1[0].contains("contract"));
    }
}
