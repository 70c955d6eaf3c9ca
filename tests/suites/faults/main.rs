//! Every call that the operator makes goes wrong in every way, and the world becomes what is declared all the same.
//!
//! The operator's calls go through proxies that count them by name and number within a stretch of the scenario (see
//! `scenario.rs`). A point is one call and one fault; after it, `oracle.rs` looks at both sides.
//!
//! - By default fifteen lives in which every kind of call meets every fault that fits it, many in one life.
//! - `DUO_FAULTS=single` (`make faults`): every call of an undisturbed life with every fault, one fault in a stretch.
//! - `DUO_FAULTS=packed`: the same points, many in a life; a fault may hide what another one did, but it takes minutes.
//! - `DUO_FAULTS_SECONDS` ends them earlier, `DUO_FAULTS_WORLDS` worlds run at a time.
//! - `DUO_FAULT_POINT='Apply|Kubernetes|patch aigateways/status duo|1|CutAfter'` plays that one (several: separated by `;`).

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test program has no API, ends where it cannot go on and says what it did"
)]

mod oracle;
mod points;
mod runner;
mod scenario;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use points::{Baseline, Point};
use runner::Report;
use scenario::Phase;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Sets of one point per stretch, so that one life tries five of them, each followed by the whole oracle.
fn one_in_each_stretch(points: Vec<Point>) -> Vec<Vec<Point>> {
    let mut by_phase: BTreeMap<Phase, Vec<Point>> = BTreeMap::new();
    for point in points {
        by_phase.entry(point.phase).or_default().push(point);
    }
    let longest = by_phase.values().map(Vec::len).max().unwrap_or_default();
    (0..longest).map(|at| by_phase.values().filter_map(|points| points.get(at).cloned()).collect()).collect()
}

async fn undisturbed() -> Baseline {
    let world = runner::world().await;
    let mut baseline = Baseline::default();
    // what runs beside each other has other numbers in another life
    for round in 101..=102 {
        baseline.merge(runner::baseline(&world, round).await.expect("an undisturbed life"));
    }
    baseline
}

fn told(report: &Report, baseline: &Baseline, started: Instant) {
    println!(
        "faults: {} calls and events in an undisturbed life; {} points met, {} not met, {} not tried, {} failures, {} s",
        baseline.calls(),
        report.met,
        report.missed.len(),
        report.left,
        report.failures.len(),
        started.elapsed().as_secs(),
    );
    for point in &report.missed {
        println!("not met: {point}");
    }
    assert!(
        report.failures.is_empty(),
        "{} of the points failed:\n{}",
        report.failures.len(),
        report.failures.join("\n\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_with_a_call_the_world_becomes_what_is_declared() {
    let started = Instant::now();
    let worlds = usize::try_from(number("DUO_FAULTS_WORLDS", 6)).unwrap_or(6);
    let limit = Duration::from_secs(number("DUO_FAULTS_SECONDS", 24 * 3600));
    if let Ok(text) = std::env::var("DUO_FAULT_POINT") {
        let points = text.split(';').map(|text| text.parse().expect("a point")).collect();
        let report = runner::lives(vec![points], 1, limit).await;
        told(&report, &Baseline::default(), started);
        assert!(report.missed.is_empty(), "a point was not met");
        return;
    }
    let baseline = undisturbed().await;
    let every = baseline.every_point();
    println!("faults: {} calls and events, {} points in all", baseline.calls(), every.len());
    let sets = match std::env::var("DUO_FAULTS").unwrap_or_default().as_str() {
        "single" => one_in_each_stretch(every),
        "packed" => baseline.packed(),
        "" => baseline.covering(),
        other => panic!("DUO_FAULTS={other:?} is neither single nor packed"),
    };
    let tried: usize = sets.iter().map(Vec::len).sum();
    let report = runner::lives(sets, worlds, limit).await;
    told(&report, &baseline, started);
    assert!(report.met * 10 > (tried - report.left) * 8, "too few points were met: the test proves little");
}
