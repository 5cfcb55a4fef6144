#![no_main]

#[path = "../bodies/digest.rs"]
mod body;
#[path = "../bodies/clock.rs"]
mod clock;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
