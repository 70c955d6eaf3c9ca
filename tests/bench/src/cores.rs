//! Which processor core does what: what is measured has one for itself, load and model server have the rest.

/// Numbers of cores.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    /// For the program that is measured.
    pub measured: usize,
    /// For load (this process).
    pub load: usize,
    /// For the model server.
    pub upstream: usize,
    /// Of the machine.
    pub all: usize,
}

impl Cores {
    /// As many as there are. With two, load and model server share one.
    pub fn share() -> Self {
        let all = std::fs::read_to_string("/proc/cpuinfo")
            .map_or(1, |text| text.lines().filter(|line| line.starts_with("processor")).count().max(1));
        match all {
            1 => Self { measured: 0, load: 0, upstream: 0, all },
            2 => Self { measured: 0, load: 1, upstream: 1, all },
            _ => Self { measured: 0, load: 1, upstream: 2, all },
        }
    }
}
