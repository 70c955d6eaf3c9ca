//! Suites that need a cluster or several programs.
