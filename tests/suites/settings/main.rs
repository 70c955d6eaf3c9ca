//! Each setting of the resources takes effect: users of the simulated GitLab ask, the real gateway answers.

#![allow(missing_docs, reason = "a test program has no API")]
#![allow(clippy::expect_used, clippy::panic, reason = "a suite ends where its world cannot go on")]

mod calls;
mod doors;
mod limits;
mod listener;
mod neighbours;
mod places;
mod providers;
mod scene;
mod seeing;
mod switching;
mod telling;
