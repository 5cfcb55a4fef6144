//! Criterion bench of the message scan and the writer.

fn main() {}
