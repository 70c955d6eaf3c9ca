//! The measurements, one after the other, and their limits.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::asks::{self, Endpoint, Pace, Wire};
use crate::load::open::{Lanes, Until, percentile};
use crate::load::{self, closed, streams};
use crate::report::{Row, Table};
use crate::stage::{Gateway, Stage, USERS};
use crate::{Fallible, proc, profile, say, upstream};

/// Connections that keep a target busy.
const CONNECTIONS: usize = 32;
/// Streams at a time while their cost is measured.
const STREAMS: usize = 64;
/// Streams at a time while memory is measured.
const MANY_STREAMS: usize = 2000;
/// Between two requests of the latency measurement: 50 a second.
const GAP: Duration = Duration::from_millis(20);
const MIB: f64 = 1024.0 * 1024.0;

/// What is to be measured.
pub struct Plan {
    /// Only groups that begin with one of these; all if empty.
    pub only: Vec<String>,
    /// The gateway with symbols.
    pub symbols: Option<PathBuf>,
    /// The gateway's image.
    pub image: Option<PathBuf>,
}

impl Plan {
    fn has(&self, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| group.starts_with(only.as_str()))
    }
}

/// All of the plan.
///
/// # Errors
/// Somebody's answers are not what they should be: figures of failures are no figures.
pub fn all(stage: Stage, plan: &Plan) -> Fallible<Table> {
    let began = Instant::now();
    let mut rows = Vec::new();
    let groups: [(&str, Group); 5] =
        [("cpu", cpu), ("streams", stream_cost), ("latency", latency), ("memory", memory), ("start", start)];
    for (name, group) in groups.into_iter().filter(|(name, _)| plan.has(name)) {
        say(&format!("{:4.0} s  {name}", began.elapsed().as_secs_f64()));
        group(&stage, &mut rows).map_err(|error| format!("{name}: {error}\n{}", stage.last_words()))?;
        stage.empty_logs();
    }
    sizes(plan, &mut rows)?;
    tokens(&stage, &mut rows)?;
    let mut profiles = std::collections::BTreeMap::new();
    if let (Some(symbols), true) = (&plan.symbols, plan.has("profile")) {
        say(&format!("{:4.0} s  profile", began.elapsed().as_secs_f64()));
        profiles = profile::all(&stage, symbols)?;
    }
    say(&format!("{:4.0} s  done\n", began.elapsed().as_secs_f64()));
    Ok(Table {
        when: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        machine: machine(&stage),
        revision: revision(),
        rows,
        profile: profiles,
    })
}

type Group = fn(&Stage, &mut Vec<Row>) -> Fallible<()>;

fn requests(stage: &Stage, what: Endpoint, wire: Wire, pace: Pace) -> Vec<Vec<u8>> {
    stage.tokens.iter().map(|token| asks::request(what, wire, pace, token, stage.upstream)).collect()
}

/// Asks once and looks at the answer, so that nobody is measured who gives the wrong one.
fn look(name: &str, address: SocketAddr, request: &[u8], expected: &str) -> Fallible<()> {
    let body = load::probe(address, request).map_err(|error| format!("{name}: {error}"))?;
    let text = String::from_utf8_lossy(&body);
    if text.contains(expected) {
        return Ok(());
    }
    Err(format!("{name} answered without `{expected}`: {text}").into())
}

fn no_failures(name: &str, failures: u64) -> Fallible<()> {
    if failures == 0 { Ok(()) } else { Err(format!("{name}: {failures} requests without a good answer").into()) }
}

/// Processor time and requests a second, with all that one core can do.
fn cpu(stage: &Stage, rows: &mut Vec<Row>) -> Fallible<()> {
    for (what, path) in [(Endpoint::Completion, "code/completions"), (Endpoint::Explain, "explain_code")] {
        for (wire, to, limit, aim) in [(Wire::OpenAi, "OpenAI", 60.0, 41.0), (Wire::Bedrock, "Bedrock", 200.0, 100.0)] {
            let requests = requests(stage, what, wire, Pace::Quick);
            let mut cost = Row::new(format!("{path} to {to}: CPU"), "ms per 1,000").within(limit, aim);
            let mut rate = Row::new(format!("{path} to {to}: rate, one core"), "requests/s");
            let mut busy = Row::new(format!("{path} to {to}: core in use"), "%");
            for target in stage.targets() {
                look(target.name, target.address, &requests[0], "line.price * line.count")?;
                let times = (stage.time(700), stage.time(3000));
                let outcome = closed::run(target.address, &requests, CONNECTIONS, times, &target.pids)?;
                no_failures(target.name, outcome.failures)?;
                rate.figures.insert(target.name, outcome.rate());
                if !target.pids.is_empty() {
                    cost.figures.insert(target.name, outcome.cpu_per_thousand());
                    busy.figures.insert(target.name, outcome.busy() * 100.0);
                }
                stage.empty_logs();
            }
            rows.extend([cost, rate, busy]);
        }
    }
    Ok(())
}

/// Processor time of streams whose pieces come one by one.
fn stream_cost(stage: &Stage, rows: &mut Vec<Row>) -> Fallible<()> {
    let chunks = (STREAMS * upstream::pieces(Pace::Paced)) as f64;
    for (what, path) in [(Endpoint::SuggestionStream, "v4 SSE"), (Endpoint::ExplainStream, "v1 prompts")] {
        for (wire, from) in [(Wire::OpenAi, "OpenAI"), (Wire::Bedrock, "Bedrock")] {
            let requests = requests(stage, what, wire, Pace::Paced);
            let mut cost = Row::new(format!("{path} from {from}: CPU"), "ms per 1,000 chunks").within(30.0, 25.0);
            for target in stage.targets().iter().filter(|target| !target.pids.is_empty()) {
                let quick = asks::request(what, wire, Pace::Quick, &stage.tokens[0], stage.upstream);
                look(target.name, target.address, &quick, ".price")?;
                let outcome = streams::run(target.address, &requests, STREAMS, Duration::from_millis(1), &target.pids)?;
                no_failures(target.name, outcome.failures)?;
                cost.figures.insert(target.name, outcome.cpu.as_secs_f64() * 1e6 / chunks);
            }
            rows.push(cost);
        }
    }
    Ok(())
}

/// Time added at 50 requests a second. The targets take turns each second, so that what else the machine does meets
/// them alike.
fn latency(stage: &Stage, rows: &mut Vec<Row>) -> Fallible<()> {
    let kinds = [
        ("code/completions to OpenAI", Endpoint::Completion, Wire::OpenAi, Until::LastByte, 20_000),
        ("code/completions to Bedrock", Endpoint::Completion, Wire::Bedrock, Until::LastByte, 10_000),
        ("v4 SSE from OpenAI, first byte", Endpoint::SuggestionStream, Wire::OpenAi, Until::FirstByte, 12_000),
    ];
    for (name, what, wire, until, millis) in kinds {
        let requests = requests(stage, what, wire, Pace::Quick);
        let targets = stage.targets();
        let mut lanes: Vec<Lanes> = targets.iter().map(|target| Lanes::new(target.address)).collect();
        let turns = (stage.time(millis).as_millis() / 1000).max(2);
        for turn in 0..=turns {
            for lane in &mut lanes {
                lane.run(&requests, 50, GAP, until);
                if turn == 0 {
                    // connections are made, pages are touched
                    lane.times.clear();
                }
            }
        }
        let direct = lanes.first().map(|lane| lane.times.clone()).unwrap_or_default();
        for (share, label) in [(0.5, "p50"), (0.9, "p90"), (0.99, "p99")] {
            let mut row = Row::new(format!("{name}: {label} added (direct: all)"), "ms");
            row = match (until, wire, label) {
                (Until::LastByte, Wire::OpenAi, "p50") => row.within(0.2, 0.2),
                (Until::LastByte, Wire::OpenAi, "p99") => row.within(0.8, 0.8),
                (Until::FirstByte, _, "p50") => row.within(0.3, 0.3),
                _ => row,
            };
            let base = percentile(&direct, share).as_secs_f64() * 1e3;
            for (target, lane) in targets.iter().zip(&lanes) {
                let time = percentile(&lane.times, share).as_secs_f64() * 1e3;
                row.figures.insert(target.name, if target.name == "direct" { time } else { time - base });
            }
            rows.push(row);
        }
        for (target, lane) in targets.iter().zip(&lanes) {
            no_failures(target.name, lane.failures)?;
        }
    }
    Ok(())
}

/// Memory at rest and with many streams.
fn memory(stage: &Stage, rows: &mut Vec<Row>) -> Fallible<()> {
    let fresh = started(stage)?;
    std::thread::sleep(stage.time(3000));
    let rest = proc::memory(&fresh.pids());
    let mib = |bytes: u64| bytes as f64 / MIB;
    rows.push(Row::new("at rest: resident", "MiB").within(15.0, 15.0).gateway(mib(rest.rss)));
    rows.push(Row::new("at rest: proportional", "MiB").gateway(mib(rest.pss)));

    let requests = requests(stage, Endpoint::SuggestionStream, Wire::OpenAi, Pace::Long);
    let count = MANY_STREAMS / stage.hurry as usize;
    let mut peak = Row::new(format!("{count} streams: most resident"), "MiB").within(150.0, 150.0);
    let mut after = Row::new("the same, 5 s later", "MiB");
    let (api, pids) = (fresh.api, fresh.pids());
    let others = stage.targets().into_iter().filter(|target| ["nginx", "hyper"].contains(&target.name));
    for (name, address, pids) in others.map(|one| (one.name, one.address, one.pids)).chain([("gateway", api, pids)]) {
        let outcome = streams::run(address, &requests, count, Duration::from_millis(2), &pids)?;
        no_failures(name, outcome.failures)?;
        peak.figures.insert(name, mib(outcome.peak.rss));
        std::thread::sleep(stage.time(5000));
        after.figures.insert(name, mib(proc::memory(&pids).rss));
    }
    rows.extend([peak, after]);
    Ok(())
}

/// A fresh gateway, once it is ready.
fn started(stage: &Stage) -> Fallible<Gateway> {
    let gateway = stage.another(None)?;
    until_answer(gateway.api, "/monitoring/ready")?;
    Ok(gateway)
}

fn until_answer(address: SocketAddr, path: &str) -> Fallible<()> {
    let until = Instant::now() + Duration::from_secs(20);
    while !load::get(address, path).is_ok_and(|(status, _)| status == 200) {
        if Instant::now() > until {
            return Err(format!("{path} of the gateway does not become 200").into());
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(())
}

/// From exec to the first good answer, the median of twenty.
fn start(stage: &Stage, rows: &mut Vec<Row>) -> Fallible<()> {
    let mut times = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        let gateway = stage.another(None)?;
        until_answer(gateway.api, "/monitoring/healthz")?;
        times.push(began.elapsed());
    }
    let median = percentile(&times, 0.5).as_secs_f64() * 1e3;
    rows.push(Row::new("exec to healthz 200, median of 20", "ms").within(100.0, 100.0).gateway(median));
    Ok(())
}

fn sizes(plan: &Plan, rows: &mut Vec<Row>) -> Fallible<()> {
    if let Some(image) = &plan.image {
        let size = std::fs::metadata(image).map_err(|error| format!("{}: {error}", image.display()))?.len();
        rows.push(Row::new("image (OCI archive)", "MiB").within(20.0, 20.0).gateway(size as f64 / MIB));
    }
    Ok(())
}

/// Signature checks for each token that was sent.
fn tokens(stage: &Stage, rows: &mut Vec<Row>) -> Fallible<()> {
    let (_, metrics) = load::get(stage.gateway.metrics, "/metrics")?;
    let checks = metrics.lines().find_map(|line| line.strip_prefix("duo_gateway_token_checks_total "));
    if let Some(checks) = checks.and_then(|count| count.trim().parse::<f64>().ok()) {
        let row = Row::new("RSA checks per token", "").within(1.0, 1.0);
        rows.push(row.gateway(checks / USERS as f64));
    }
    Ok(())
}

fn machine(stage: &Stage) -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or("0");
    let gib = total.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0 / 1024.0;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    format!("{} x {}, {gib:.0} GiB, load {load}", stage.cores.all, model.trim_start_matches([':', ' ', '\t']))
}

fn revision() -> String {
    let out = std::process::Command::new("git").args(["describe", "--always", "--dirty"]).output();
    out.ok().map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
}
