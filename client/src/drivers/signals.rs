//! The signals that end a conversation.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::MeetError;

/// Ctrl-C, SIGTERM and a closed terminal.
pub(super) struct Signals([Signal; 3]);

impl Signals {
    pub(super) fn new() -> Result<Self, MeetError> {
        let hear = |kind| {
            signal(kind).map_err(|source| MeetError::System {
                what: "no signals",
                source,
            })
        };
        Ok(Self([
            hear(SignalKind::interrupt())?,
            hear(SignalKind::terminate())?,
            hear(SignalKind::hangup())?,
        ]))
    }

    pub(super) async fn recv(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
