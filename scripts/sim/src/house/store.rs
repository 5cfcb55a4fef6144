//! What the server keeps over a restart.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use meet_server::focus::record::{BindingRecord, StoreRecord};
use meet_server::registrar::Account;
use sip_proto::digest::{Algorithm, ha1};

/// The disk.
#[derive(Debug, Default)]
pub struct Store {
    bindings: BTreeMap<String, (Instant, Vec<BindingRecord>)>,
    accounts: BTreeMap<String, Account>,
    /// People written down as joined, less those written down as left.
    pub present: i64,
    /// Meetings written down as made, less those written down as ended.
    pub open: i64,
}

impl Store {
    /// Makes an account.
    pub fn add_account(&mut self, user: &str, password: &str) {
        let account = Account {
            user: user.to_owned(),
            display: None,
            secrets: vec![ha1(Algorithm::Sha256, user, "meet", password)],
        };
        self.accounts.insert(user.to_owned(), account);
    }

    /// Looks one up.
    pub fn account(&self, user: &str) -> Option<Account> {
        self.accounts.get(user).cloned()
    }

    /// Writes a record down.
    pub fn record(&mut self, record: StoreRecord, now: Instant) {
        match record {
            StoreRecord::Bindings { aor, bindings } if bindings.is_empty() => {
                self.bindings.remove(&aor);
            }
            StoreRecord::Bindings { aor, bindings } => {
                self.bindings.insert(aor, (now, bindings));
            }
            StoreRecord::PersonJoined { .. } => self.present += 1,
            StoreRecord::PersonLeft { .. } => self.present -= 1,
            StoreRecord::MeetingCreated { .. } => self.open += 1,
            StoreRecord::MeetingEnded { .. } => self.open -= 1,
            #[allow(unreachable_patterns, reason = "records that a later server writes")]
            _ => {}
        }
    }

    /// The bindings with the time that they have left.
    pub fn bindings(&self, now: Instant) -> Vec<(String, Vec<BindingRecord>)> {
        let left = |written: Instant, records: &[BindingRecord]| -> Vec<BindingRecord> {
            let age = now.saturating_duration_since(written);
            let fresh = |record: &BindingRecord| {
                let rest = Duration::from_secs(record.expires.into()).checked_sub(age)?;
                let expires = u32::try_from(rest.as_secs()).ok().filter(|left| *left > 0)?;
                Some(BindingRecord {
                    expires,
                    ..record.clone()
                })
            };
            records.iter().filter_map(fresh).collect()
        };
        self.bindings
            .iter()
            .map(|(aor, (written, records))| (aor.clone(), left(*written, records)))
            .collect()
    }

    /// The power failed: who was in is in no more, whatever was written.
    pub fn crashed(&mut self) {
        self.present = 0;
        self.open = 0;
    }
}
