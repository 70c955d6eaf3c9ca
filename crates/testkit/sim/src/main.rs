//! duo-sim
fn main() {}
