//! How good a call is, estimated from what the receiver sees: loss in bursts and gaps, and the E-model.
//!
//! Two parts, both pure arithmetic: [`Bursts`] sorts the fate of each packet into bursts and gaps as RFC 3611 §4.7.2
//! defines them, [`estimate`] turns loss and delay into an R factor and mean opinion scores (ITU-T G.107). Neither needs
//! RTCP: a peer that sends no reports has an estimate too. [`crate::rtcp::xr`] carries the figures.
//!
//! Deliberately absent: listening to the signal itself (the workshop measures that with PESQ and STOI), echo and room
//! noise of the peer (unknown here, so G.107's defaults hold).

mod bursts;
mod emodel;
mod report;

pub use bursts::{BurstStats, Bursts};
pub use emodel::{CodecImpairment, Conditions, Estimate, estimate};
pub use report::Observation;
