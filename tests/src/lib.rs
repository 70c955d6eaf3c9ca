//! Suites that need a cluster or several programs: a world with a real API server, the real operator and gateway
//! programs, and simulated neighbours.
//!
//! A suite builds a [`World`], applies manifests, waits for what a user of the cluster would see, lets a user of the
//! simulated GitLab ask, and looks into the journals of API server and GitLab.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a suite ends where its world cannot go on")]

pub mod hand;
pub mod manifests;
pub mod operator;
pub mod programs;
pub mod proxies;
pub mod secrets;
pub mod statuses;
pub mod wait;
pub mod world;

pub use world::{Options, World};
