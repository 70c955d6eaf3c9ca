//! Deletion in many orders, and when its patience ends.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test program has no API and ends where its world cannot go on"
)]

mod orders;
mod patience;
