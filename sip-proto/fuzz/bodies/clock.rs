//! The start of virtual time.

/// Where virtual time begins.
#[expect(
    clippy::disallowed_methods,
    reason = "virtual time needs some starting instant; the clock is never read again"
)]
pub fn starting_instant() -> std::time::Instant {
    std::time::Instant::now()
}
