#![no_main]

#[path = "../bodies/transactions.rs"]
mod body;
#[path = "../bodies/clock.rs"]
mod clock;
#[path = "../bodies/script.rs"]
mod script;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
