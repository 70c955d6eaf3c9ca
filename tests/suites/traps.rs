//! Each trap of GitLab's API that touches the operator's flows, by name.

#![allow(missing_docs, reason = "a test program has no API")]
