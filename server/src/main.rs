//! Soon: the server.
fn main() {}
