//! Secrets and settings that change take effect by themselves.

#![allow(missing_docs, reason = "a test program has no API")]
