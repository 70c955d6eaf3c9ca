//! Deletion in every order; what is not ours stays.

#![allow(missing_docs, reason = "a test program has no API")]
