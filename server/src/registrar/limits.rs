//! Bounds of the registrar.

use std::time::Duration;

/// Addresses-of-record with bindings. About 1 kB each: 10 MB.
pub const MAX_RECORDS: usize = 10_000;

/// Contacts of one address-of-record: a person's phones.
pub const MAX_CONTACTS: usize = 10;

/// Longest registration that is granted.
pub const MAX_EXPIRES: Duration = Duration::from_secs(7_200);

/// Granted where the request names no time (RFC 3261 §10.2 suggests an hour).
pub const DEFAULT_EXPIRES: Duration = Duration::from_secs(3_600);

/// Shorter wishes are answered 423: a phone that registers more often than once a minute costs
/// more than it gives. Phones behind a NAT should keep it open by other means.
pub const MIN_EXPIRES: Duration = Duration::from_secs(60);
