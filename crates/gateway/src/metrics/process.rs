//! What the operating system knows of this process, under the names of Prometheus' own client libraries; GitLab's
//! gateway exports them too. Read at each scrape from `/proc`; where there is none, they are left out.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Ticks of a second in `/proc/self/stat`; 100 on every Linux that Rust runs on.
const TICKS: f64 = 100.0;
/// `/proc/self/stat` counts memory in pages of this size on the platforms that images are built for.
const PAGE: f64 = 4096.0;

/// Reads when it is asked.
#[derive(Debug)]
pub struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let Some(now) = Numbers::read() else { return Ok(()) };
        let cpu = ConstCounter::new(now.cpu_seconds);
        cpu.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "User and system CPU time in seconds",
            None,
            cpu.metric_type(),
        )?)?;
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory in bytes", now.resident_bytes),
            ("process_open_fds", "Open file descriptors", now.open_files),
            ("ai_gateway_threads_count", "Threads", now.threads),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

struct Numbers {
    cpu_seconds: f64,
    resident_bytes: f64,
    threads: f64,
    open_files: f64,
}

impl Numbers {
    fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/stat").ok()?, std::fs::read_dir("/proc/self/fd").ok()?.count())
    }

    /// `man 5 proc`: the fields after the program's name, which may hold anything but ends with the last `)`.
    fn parse(stat: &str, open_files: usize) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
        Some(Self {
            cpu_seconds: (number(11)? + number(12)?) / TICKS,
            threads: number(17)?,
            resident_bytes: number(21)? * PAGE,
            open_files: f64::from(u32::try_from(open_files).ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read_behind_the_programs_name() {
        let line = "7 (duo ) gateway) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0 5 0 99 1000 2560 18446744073709551615 1";
        let numbers = Numbers::parse(line, 9).unwrap();
        assert_eq!((numbers.cpu_seconds, numbers.threads, numbers.resident_bytes), (4.0, 5.0, 10_485_760.0));
        assert!(Numbers::parse("nothing", 1).is_none());
    }
}
