//! Sans-IO media cores: RTP, RTCP, the jitter buffer and the audio codecs.
//!
//! Bytes and an [`Instant`](std::time::Instant) go in; events, samples and bytes come out. Nothing in here opens a
//! socket, reads a clock or asks the system for randomness: time, wall clock and seed are arguments, so that every
//! behaviour can be replayed in a test. What is called once per packet or per tick does not allocate after its
//! object was constructed.
//!
//! The path of a received packet: [`demux`] says what the datagram is, [`rtp`] parses it, [`latch`] decides whether
//! its source may be believed, [`session`] validates and counts it, [`jitter`] orders it in time, [`codec`] decodes it.
//! Where keys were agreed on, [`srtp`] opens it before all that.
//!
//! Deliberately absent: sockets, threads, DTLS and ICE (their own modules come later), mixing (crate `mixer`) and
//! anything of SIP or SDP.

pub mod codec;
pub mod comfort_noise;
pub mod demux;
pub mod error;
pub mod jitter;
pub mod latch;
pub mod limits;
pub mod pcap;
pub mod quality;
pub mod rtcp;
pub mod rtp;
pub mod session;
pub mod srtp;
pub mod telephone_event;
pub mod units;
