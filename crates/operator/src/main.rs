//! duo-operator
fn main() {}
