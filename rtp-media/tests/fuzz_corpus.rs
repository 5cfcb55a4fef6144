//! The fuzz targets' bodies over the committed corpus: what the fuzzer ever found stays found (DESIGN §8). New inputs
//! come from `cargo xtask fuzz`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

#[path = "../fuzz/bodies"]
mod bodies {
    pub mod clock;
    pub mod jitter;
    pub mod rtcp;
    pub mod rtp;
    pub mod script;
}

#[path = "../../scripts/fuzz/replay.rs"]
mod replay;

macro_rules! targets {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            replay::replay(stringify!($name), bodies::$name::run);
        }
    )*};
}

targets!(jitter, rtcp, rtp);
