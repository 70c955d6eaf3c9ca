//! What the API server itself refuses: one test for each rule of the CRDs.

#![allow(missing_docs, reason = "a test program has no API")]
