//! Bounds of the registrar.

use std::time::Duration;

/// Addresses-of-record with bindings. About 1 kB each: 200 MB at the very worst, and each belongs to an account
/// or, with `--lan`, to somebody on the local network.
pub const MAX_RECORDS: usize = 200_000;

/// Contacts of one address-of-record: a person's phones.
pub const MAX_CONTACTS: usize = 10;

/// Longest registration that is granted.
pub const MAX_EXPIRES: Duration = Duration::from_secs(7_200);

/// Granted where the request names no time (RFC 3261 §10.2 suggests an hour).
pub const DEFAULT_EXPIRES: Duration = Duration::from_secs(3_600);

/// Shorter wishes are answered 423: a phone that registers more often than once a minute costs
/// more than it gives. Phones behind a NAT should keep it open by other means.
pub const MIN_EXPIRES: Duration = Duration::from_secs(60);

/// Addresses-of-record of one user. Where no domains are configured any host in the request is ours, and without
/// this bound one account could fill the table with made-up hosts. A machine has few names and addresses.
pub const MAX_RECORDS_PER_USER: usize = 8;

/// Bytes of the Path to one contact: some ten proxies.
pub const MAX_PATH_BYTES: usize = 1_024;
