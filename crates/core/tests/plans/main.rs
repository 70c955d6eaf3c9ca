//! Properties of plans, with a GitLab in memory that does what the operations say: after a plan nothing is left to do, a
//! plan touches nothing foreign, and deletions in any order end with nothing of ours left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program ends where it finds a fault"
)]

mod deletions;
mod gitlab;
mod properties;
