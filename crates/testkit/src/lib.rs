//! duo-testkit

pub mod images;
