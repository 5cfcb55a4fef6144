//! The one shield, shared by the readers of datagrams, the acceptors of streams and the signalling task.
//!
//! It is locked for a microsecond at a time, once a second for the few milliseconds of a sweep; the kernel's socket
//! buffers hold much more than that. No shard and no tick ever comes near it.

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
