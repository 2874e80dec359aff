//! Nylon.
fn main() {}
