//! The gateway as GitLab sees it: the real server in this process, on loopback, with an issuer and model servers that
//! these tests control.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics to fail")]

mod auth;
mod bad_input;
mod bedrock;
mod chat;
mod chat_v1;
mod code;
mod conformance;
mod docs;
mod draining;
mod embeddings;
mod failures;
mod faults;
mod gitlab;
mod gone;
mod head;
mod listener_http2;
mod listener_limits;
mod listener_tls;
mod models;
mod process;
mod prompts;
mod providers;
mod reload;
mod resilience;
mod secrets;
mod seeing;
mod signals;
mod support;
mod tls;
mod tokens;
mod traces;
mod turned_away;
