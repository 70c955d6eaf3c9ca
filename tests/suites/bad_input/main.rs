//! What wrong input gets: a condition with a reason of its own, GitLab's words, and the others go on.

#![allow(missing_docs, reason = "a test program has no API")]
