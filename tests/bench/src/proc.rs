//! What Linux says of a process: processor time, memory, file descriptors, threads.

use std::time::Duration;

/// Processor time of the processes so far, user and system, to the nanosecond.
pub fn cpu(pids: &[u32]) -> Duration {
    let nanos: u64 = pids.iter().flat_map(|pid| threads(*pid)).map(|path| on_cpu(&path).unwrap_or(0)).sum();
    Duration::from_nanos(nanos)
}

fn threads(pid: u32) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path().join("schedstat")).collect()
}

fn on_cpu(path: &std::path::Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

/// A process with its direct children (nginx has a master and a worker).
pub fn family(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut all = vec![pid];
    all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    all
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory {
    /// Resident.
    pub rss: u64,
    /// The same with shared pages counted in part.
    pub pss: u64,
}

/// Memory of the processes together.
pub fn memory(pids: &[u32]) -> Memory {
    pids.iter().fold(Memory::default(), |sum, pid| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        Memory { rss: sum.rss + kilobytes(&text, "Rss:"), pss: sum.pss + kilobytes(&text, "Pss:") }
    })
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Open file descriptors and threads of a process.
pub fn handles(pid: u32) -> (usize, usize) {
    let count = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count);
    (count("fd"), count("task"))
}
