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
    pub mod digest;
    pub mod offer_answer;
    pub mod script;
    pub mod sdp;
    pub mod sip_message;
    pub mod sip_stream;
    pub mod transactions;
    pub mod uri;
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

targets!(
    digest,
    offer_answer,
    sdp,
    sip_message,
    sip_stream,
    transactions,
    uri
);
