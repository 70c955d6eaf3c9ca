//! `duo-operator plan`: what it says is what the operator then does, and it changes nothing, proved from the journals of
//! API server and GitLab.

#![allow(missing_docs, reason = "a test program has no API")]
#![allow(clippy::expect_used, clippy::panic, reason = "a suite ends where its world cannot go on")]

mod changes;
mod mistakes;
mod observe;
mod planner;
