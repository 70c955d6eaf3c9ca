//! A circuit breaker: who does not answer is asked less and less, by one call at a time, until it answers again.
//!
//! ```text
//!            failures in a row, a call that hung,            the pause is over:
//!            or "come back later"                             one call tries
//!   Closed ------------------------------------> Open ---------------------------> Trying
//!      ^                                          ^ twice as long                     | |
//!      |                                          +-------------- it failed ----------+ |
//!      +------------------------------------------------------- it was answered --------+
//! ```
//!
//! Time and chance are given; it calls nobody.

use std::time::{Duration, Instant};

use crate::backoff::Curve;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Failures in a row that open it; a call that hung opens it by itself.
    pub failures: u32,
    /// Pauses: the first, and the longest.
    pub pause: Curve,
    /// A call that tries and is not heard of for so long is given up.
    pub patience: Duration,
}

/// How a call failed, as far as the breaker cares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failure {
    /// The other side asked not to be called for so long.
    pub asked: Option<Duration>,
    /// No answer came in time: each further call would take as long.
    pub hung: bool,
}

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Yes.
    Go,
    /// Yes, and all others wait for what becomes of it.
    Try,
    /// Not for so long.
    Wait(Duration),
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Breaker {
    rule: Rule,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, openings: u32 },
    Trying { since: Instant, openings: u32 },
}

impl Breaker {
    /// A closed one.
    pub fn new(rule: Rule) -> Self {
        Self { rule, state: State::Closed { failures: 0 } }
    }

    /// May a call be made now?
    pub fn ask(&mut self, now: Instant) -> Leave {
        match self.state {
            State::Closed { .. } => Leave::Go,
            State::Open { until, .. } if now < until => Leave::Wait(until - now),
            State::Trying { since, .. } if now < since + self.rule.patience => Leave::Wait(self.rule.pause.initial),
            State::Open { openings, .. } | State::Trying { openings, .. } => {
                self.state = State::Trying { since: now, openings };
                Leave::Try
            }
        }
    }

    /// A call was answered, whatever the answer. What was sent before a pause began does not end the pause.
    pub fn answered(&mut self, tried: bool) {
        if tried || !matches!(self.state, State::Open { .. }) {
            self.state = State::Closed { failures: 0 };
        }
    }

    /// A call failed. `random` in 0..1 shortens the pause by up to a fifth.
    pub fn failed(&mut self, tried: bool, failure: Failure, now: Instant, random: f64) {
        let pause = |openings| self.rule.pause.delay(openings, random).max(failure.asked.unwrap_or_default());
        self.state = match self.state {
            State::Closed { failures } if failure == Failure::default() && failures + 1 < self.rule.failures => {
                State::Closed { failures: failures + 1 }
            }
            State::Closed { .. } => State::Open { until: now + pause(1), openings: 1 },
            State::Trying { openings, .. } if tried => {
                let openings = openings.saturating_add(1);
                State::Open { until: now + pause(openings), openings }
            }
            // calls of before come back one by one; only what the other side asks for makes the pause longer
            State::Open { until, openings } => {
                State::Open { until: until.max(now + failure.asked.unwrap_or_default()), openings }
            }
            trying @ State::Trying { .. } => trying,
        };
    }

    /// The call that tried was dropped before it ended: the next may try.
    pub fn abandoned(&mut self, tried: bool, now: Instant) {
        if let (true, State::Trying { openings, .. }) = (tried, self.state) {
            self.state = State::Open { until: now, openings };
        }
    }

    /// Whether calls are held back.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        failures: 3,
        pause: Curve { initial: Duration::from_secs(5), cap: Duration::from_secs(60) },
        patience: Duration::from_secs(30),
    };
    const REFUSED: Failure = Failure { asked: None, hung: false };
    const HUNG: Failure = Failure { asked: None, hung: true };

    fn asked(seconds: u64) -> Failure {
        Failure { asked: Some(Duration::from_secs(seconds)), hung: false }
    }

    /// What happens, and when (seconds).
    enum Step {
        /// A call is asked for: what the answer is, in seconds of waiting; 0 is Go, -1 is Try.
        Ask(i64),
        Answered(bool),
        Failed(bool, Failure),
        Abandoned,
    }
    use Step::{Abandoned, Answered, Ask, Failed};

    fn play(name: &str, steps: &[(u64, Step)]) {
        let start = Instant::now();
        let mut breaker = Breaker::new(RULE);
        for (at, (seconds, step)) in steps.iter().enumerate() {
            let now = start + Duration::from_secs(*seconds);
            match step {
                Ask(expected) => {
                    let leave = match breaker.ask(now) {
                        Leave::Go => 0,
                        Leave::Try => -1,
                        Leave::Wait(wait) => wait.as_secs() as i64,
                    };
                    assert_eq!(leave, *expected, "{name}, step {at} at {seconds} s");
                }
                Answered(tried) => breaker.answered(*tried),
                Failed(tried, failure) => breaker.failed(*tried, *failure, now, 0.0),
                Abandoned => breaker.abandoned(true, now),
            }
        }
    }

    #[test]
    fn the_whole_table() {
        play(
            "two failures are not three, and an answer forgets them",
            &[
                (0, Failed(false, REFUSED)),
                (0, Failed(false, REFUSED)),
                (0, Ask(0)),
                (0, Answered(false)),
                (0, Failed(false, REFUSED)),
                (0, Failed(false, REFUSED)),
                (0, Ask(0)),
                (0, Failed(false, REFUSED)),
                (0, Ask(5)),
            ],
        );
        play("one call that hung is enough", &[(0, Failed(false, HUNG)), (1, Ask(4))]);
        play(
            "after the pause one tries and the others wait",
            &[(0, Failed(false, HUNG)), (5, Ask(-1)), (5, Ask(5)), (6, Ask(5)), (6, Answered(true)), (6, Ask(0))],
        );
        play(
            "pauses double up to the cap and start anew after an answer",
            &[
                (0, Failed(false, HUNG)),
                (5, Ask(-1)),
                (5, Failed(true, REFUSED)),
                (5, Ask(10)),
                (15, Ask(-1)),
                (15, Failed(true, REFUSED)),
                (15, Ask(20)),
                (35, Ask(-1)),
                (35, Failed(true, REFUSED)),
                (35, Ask(40)),
                (75, Ask(-1)),
                (75, Failed(true, REFUSED)),
                (75, Ask(60)),
                (135, Ask(-1)),
                (135, Answered(true)),
                (136, Failed(false, HUNG)),
                (136, Ask(5)),
            ],
        );
        play(
            "what the other side asks for is kept, also beyond the cap",
            &[
                (0, Failed(false, asked(600))),
                (1, Ask(599)),
                (1, Failed(false, asked(5))),
                (1, Ask(599)),
                (1, Failed(false, asked(900))),
                (1, Ask(900)),
            ],
        );
        play(
            "answers and failures of calls that were sent before do not end a pause",
            &[
                (0, Failed(false, asked(60))),
                (1, Answered(false)),
                (1, Ask(59)),
                (2, Failed(false, HUNG)),
                (2, Ask(58)),
                (60, Ask(-1)),
                (61, Failed(false, HUNG)),
                (61, Ask(5)),
                (62, Answered(true)),
                (62, Ask(0)),
            ],
        );
        play(
            "a call that tries and is dropped or lost makes room for the next",
            &[(0, Failed(false, HUNG)), (5, Ask(-1)), (6, Abandoned), (6, Ask(-1)), (35, Ask(5)), (36, Ask(-1))],
        );
    }

    #[test]
    fn chance_only_shortens_a_pause() {
        let now = Instant::now();
        let mut breaker = Breaker::new(RULE);
        breaker.failed(false, HUNG, now, 1.0);
        assert_eq!(breaker.ask(now), Leave::Wait(Duration::from_secs(4)));
        assert!(breaker.is_open());
    }
}
