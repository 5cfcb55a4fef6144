//! What a session description may cost before it is refused.
//!
//! The text is held once and every part of it at most twice, so the memory bound is a small multiple of
//! [`MAX_BYTES`]; the counts bound the work of the views, some of which look at every line for every format.

/// Largest description read. Chromium's offer of audio, video and twenty formats has 7 KiB; a SIP message over
/// UDP cannot carry more than 64 KiB.
pub const MAX_BYTES: usize = 64 * 1024;

/// Most lines in one description: eight times Chromium's largest offers.
pub const MAX_LINES: usize = 2_000;

/// Most `m=` lines: a room of 25 with audio and video by multi-stream forwarding needs 50.
pub const MAX_MEDIA: usize = 64;

/// Most formats in one `m=` line: RTP has 128 payload types.
pub const MAX_FORMATS: usize = 128;
