//! The pure middle of the gateway: what GitLab sends, what a model server is asked, and how its answer goes back.
//!
//! A request goes through it as data: [`contract`] reads the body, [`identifier`] and [`family`] say which model is
//! meant, [`build`] makes the neutral [`model::ModelRequest`] out of our [`prompts`], [`capability`] fits it to what
//! the model takes, [`openai`], [`anthropic`] and [`bedrock`] write and read the servers' wire formats ([`vertex`] serves both), [`react`] and
//! [`postprocess`] turn the answer into what GitLab reads, [`failure`] maps a failed call to an HTTP answer.
//!
//! It must not know a client, a runtime, a socket, an environment variable or the time: clocks and dates are passed in.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics to fail"))]

pub mod anthropic;
pub mod bedrock;
pub mod budget;
pub mod build;
pub mod cache;
pub mod capability;
pub mod contract;
pub mod embeddings;
pub mod failure;
pub mod families;
pub mod family;
pub mod fim;
pub mod identifier;
pub mod json;
pub mod language;
pub mod model;
mod number;
mod opaque;
pub mod openai;
pub mod postprocess;
pub mod prompts;
pub mod react;
pub mod vertex;
