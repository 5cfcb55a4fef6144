//! Who is to blame when something fails.
//!
//! Every module has its own error type beside the code that raises it; all of them answer `fault()`, and the fault
//! decides what a caller does: drop and count (peer), refuse or shed (limit), repair the calling code (misuse).
//! Deliberately absent: one error type for the whole crate, which would say nothing.

/// The party whose doing an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The remote side sent something that the standard does not allow.
    Peer,
    /// One of our own bounds was reached (see [`crate::limits`]).
    Limit,
    /// Our own code called with arguments that make no sense.
    Misuse,
    /// The system below refused (disk full, closed pipe).
    System,
}
