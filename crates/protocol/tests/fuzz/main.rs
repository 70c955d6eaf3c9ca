//! Inputs that nobody would write by hand: what reads foreign bytes must not panic, must keep its promises and must
//! bound what it keeps.
//!
//! Each target has a corpus, `tests/corpus/<target>/`, which is run first, file by file. Then follow random inputs:
//! mutations of the corpus and bytes from nowhere, as many as `PROPTEST_CASES` says (256). An input that fails is
//! written to the corpus as `failed-…`; keep it there with the fix. For a long search:
//! `PROPTEST_CASES=100000 cargo test -p duo-protocol --test fuzz`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics to fail")]

mod bodies;
mod names;
mod postprocess;
mod runner;
mod streams;
mod turns;
