//! The focus and its rooms by script: requests in, commands out, virtual time, no endpoint.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod admission;
mod api;
mod churn;
mod entrance;
mod house;
mod lifecycle;
mod load;
mod offers;
mod overload;
mod presence;
mod roster;
mod srtp;
