//! What keeps a model usable while its servers are not: the rules by which calls are made again, made elsewhere, made
//! twice, held back or refused.
//!
//! Each file is one rule over data and a clock that is passed in; none of them calls anybody, waits, or knows HTTP,
//! prompts or GitLab. [`crate::inference`] asks them and acts. Their states live as long as the model they belong to:
//! a new configuration takes them over (see [`crate::upstream::Declared::new`]). All of it holds for one process: replicas of the gateway
//! share nothing.

mod allowance;
mod balance;
mod breaker;
mod bucket;
mod budget;
mod export;
mod gate;
mod latency;
mod pause;
mod policy;
mod state;
mod verdict;

pub use allowance::{Allowances, Caller, Charge, Refusal, Scope, Unit};
pub use balance::Load;
pub use breaker::{Admission, Breaker};
pub use export::ResilienceMetrics;
pub use gate::{Gate, Slot, Turned};
pub use pause::pause;
pub use policy::{BreakerRule, HedgeRule, Policy, QueueRule};
pub use state::{Attempt, Model, PlaceState};
pub use verdict::{Outcome, Verdict, retry_after, verdict};
