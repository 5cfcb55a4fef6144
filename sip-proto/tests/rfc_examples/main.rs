//! The examples printed in RFCs, read at run time from the RFCs' own text: nothing of them is copied here.
//!
//! Runs where `MEET_CORPORA` names the corpora and the RFCs' texts lie beside them (`../rfc`). Messages and descriptions
//! of our own making for the same grammar are in `message_properties.rs`, `torture.rs` and the `sdp_…` tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs
)]

mod descriptions;
mod messages;
mod pages;
