//! duo-gateway
fn main() {}
