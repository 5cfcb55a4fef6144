#![no_main]

#[path = "../bodies/rtcp.rs"]
mod body;
#[path = "../bodies/clock.rs"]
mod clock;
#[path = "../bodies/script.rs"]
#[allow(dead_code, reason = "not every script uses every word")]
mod script;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
