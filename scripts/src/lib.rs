//! The workshop: what the demo, the tests and the benches share. Nothing here ships.
//!
//! Real programs are started here as peers (`meet-server`, `meet`, baresip, sipp, tshark), each behind
//! a guard that ends it by its own process id, also when a test fails. Absent on purpose: protocol code;
//! it lives in the crates, and the peers bring their own.

pub mod baresip;
pub mod bench;
pub mod caller;
pub mod checks;
pub mod demo;
pub mod fuzz;
pub mod load;
pub mod metrics;
pub mod namespace;
pub mod probe;
pub mod process;
pub mod quality;
pub mod scenario;
pub mod server;
pub mod sipp;
pub mod soak;
pub mod speech;
pub mod tone;
pub mod tshark;
