//! The one shield, shared by the readers of datagrams, the acceptors of streams and the signalling task.
//!
//! All of them run on one thread, one after the other, so the lock is never waited for; it is there because tasks must
//! be able to move between threads.

use crate::shield::{Shield, ShieldSettings};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A handle; clones share the shield.
#[derive(Debug, Clone)]
pub struct SharedShield(Arc<Mutex<Shield>>);

impl SharedShield {
    /// A shield that knows nobody.
    pub fn new(settings: ShieldSettings, now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Shield::new(settings, now))))
    }

    /// Never held over an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, Shield> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
