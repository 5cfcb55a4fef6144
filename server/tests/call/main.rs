//! Whole calls in memory: client endpoints, a server endpoint, the focus and its rooms, joined by
//! a wire of datagrams under virtual time. Nothing is scripted but what people do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod calls;
mod people;
mod town;
