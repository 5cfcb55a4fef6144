//! RTP in and out (stub).
fn main() {}
