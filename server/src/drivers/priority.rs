//! Whose turn it is on a busy machine: sound first, then the reader of the SIP port, then the rest.
//!
//! A media thread that waits for a processor is a gap that everybody hears; a reader that waits lets the kernel's buffer
//! overflow, whereby requests of calls are lost with those of a flood. Both need little time, but need it at once.
//! Raising a priority needs root or CAP_SYS_NICE (systemd: `LimitNICE=-10`); without it all threads are equal, as
//! before. Deliberately absent: real-time classes, with which a fault of ours could hang the machine.

/// Nice value of the media threads.
pub const MEDIA: i32 = -10;
/// Nice value of the reader of the SIP port.
pub const READER: i32 = -5;

/// Sets the nice value of the calling thread, if that is allowed.
pub fn set(nice: i32) {
    // On Linux "the process" of this call is the calling thread.
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::debug!(%error, nice, "the priority of this thread stays as it is");
    }
}
