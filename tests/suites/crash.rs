//! The operator killed at any point of the first apply: it converges, without a duplicate.

#![allow(missing_docs, reason = "a test program has no API")]
