//! Lives of the article's resources with faults in them, several worlds at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use duo_e2e::{Options, World};

use crate::oracle;
use crate::points::{Baseline, Point};
use crate::scenario::{self, Phase};

/// Lives in one world; then it is thrown away, journals and logs with it.
const LIVES: u32 = 25;

/// What came out.
#[derive(Default)]
pub struct Report {
    /// Points whose call came, and was spoilt.
    pub met: usize,
    /// Points whose call did not come in that life.
    pub missed: Vec<Point>,
    /// Points not tried: time was up.
    pub left: usize,
    /// What did not hold afterwards.
    pub failures: Vec<String>,
}

/// A world for this suite.
pub async fn world() -> World {
    let options = Options { proxied: true, resync_seconds: oracle::PERIOD.as_secs(), ..Options::default() };
    let world = World::start("faults", options).await;
    world.add_what_is_foreign();
    world
}

/// One undisturbed life, and what was called in it until each stretch was as declared.
pub async fn baseline(world: &World, round: u32) -> Result<Baseline, String> {
    let mut baseline = Baseline::default();
    for phase in Phase::ALL {
        stretch(world, phase, round, &[], || baseline.note(world, phase)).await?;
    }
    Ok(baseline)
}

/// One stretch with faults; those that no call met are returned.
async fn stretch(
    world: &World,
    phase: Phase,
    round: u32,
    points: &[Point],
    reached: impl FnOnce(),
) -> Result<usize, String> {
    let proxies = world.proxies.as_ref().expect("proxies");
    for proxy in [&proxies.kubernetes, &proxies.gitlab] {
        proxy.begin();
        if phase == Phase::Apply {
            proxy.forget_answers();
        }
    }
    for point in points {
        point.arm(world);
    }
    let context = scenario::play(world, phase, round).await;
    oracle::holds(world, phase, &context, reached).await?;
    Ok(proxies.kubernetes.armed() + proxies.gitlab.armed())
}

/// One life per set of points; each set's points are played in their stretches.
pub async fn lives(sets: Vec<Vec<Point>>, worlds: usize, limit: Duration) -> Report {
    let queue = Arc::new(Mutex::new(VecDeque::from(sets)));
    let report = Arc::new(Mutex::new(Report::default()));
    let started = Instant::now();
    let workers = (0..worlds).map(|_| {
        let (queue, report) = (Arc::clone(&queue), Arc::clone(&report));
        tokio::spawn(async move {
            while started.elapsed() < limit {
                if locked(&queue).is_empty() {
                    return;
                }
                work(&queue, &report, started, limit).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.expect("a worker");
    }
    let mut report = std::mem::take(&mut *locked(&report));
    report.left = locked(&queue).iter().map(Vec::len).sum();
    report
}

/// Lives in one world until something fails in it.
async fn work(queue: &Arc<Mutex<VecDeque<Vec<Point>>>>, report: &Mutex<Report>, started: Instant, limit: Duration) {
    let world = Arc::new(world().await);
    for round in 1..=LIVES {
        if started.elapsed() > limit {
            return;
        }
        let Some(points) = locked(queue).pop_front() else { return };
        // a task of its own: what panics in it is a failure of these points and not the end of all
        let (life, played) = (Arc::clone(&world), points.clone());
        let result = tokio::spawn(async move { one_life(&life, round, &played).await }).await;
        let failed = match result {
            Ok(Ok(missed)) => {
                let mut report = locked(report);
                report.met += points.len() - missed.len();
                report.missed.extend(missed);
                continue;
            }
            Ok(Err(why)) => why,
            Err(panic) => match panic.try_into_panic() {
                Ok(text) => text.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned()),
                Err(error) => error.to_string(),
            },
        };
        let text = format!("{}\n  {failed}\n{}", listed(&points), tail(&world));
        println!("FAILED {text}");
        locked(report).failures.push(text);
        return;
    }
}

/// All stretches; those of the points that no call met.
async fn one_life(world: &World, round: u32, points: &[Point]) -> Result<Vec<Point>, String> {
    let mut missed = Vec::new();
    for phase in Phase::ALL {
        let here: Vec<Point> = points.iter().filter(|point| point.phase == phase).cloned().collect();
        let unmet = stretch(world, phase, round, &here, || ()).await.map_err(|why| format!("{phase}: {why}"))?;
        if unmet > 0 {
            let proxies = world.proxies.as_ref().expect("proxies");
            let met: Vec<_> =
                [&proxies.kubernetes, &proxies.gitlab].into_iter().flat_map(|proxy| proxy.calls()).collect();
            let is_met =
                |point: &Point| met.iter().any(|call| call.fault == Some(point.fault) && call.named.name == point.name);
            missed.extend(here.into_iter().filter(|point| !is_met(point)));
        }
    }
    Ok(missed)
}

fn listed(points: &[Point]) -> String {
    points.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn tail(world: &World) -> String {
    let log = world.operator_log();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
