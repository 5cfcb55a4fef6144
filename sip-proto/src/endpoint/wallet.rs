//! Challenges that were answered, so that the next request of the same dialog, or registration, carries credentials
//! at once and is not challenged again (RFC 3261 §22.1, RFC 7616 §3.4.5).
//!
//! Challenges are kept by Call-ID, one for each realm; the uses of a nonce are counted over all of them, for a server may
//! give the same one to several calls (RFC 7616 §3.4: no count comes twice). It is a cache: the oldest falls out, and then
//! a request is challenged once more.

use std::collections::{HashMap, VecDeque};

use super::limits::{MAX_CHALLENGES_PER_CALL, MAX_REMEMBERED_CALLS, MAX_REMEMBERED_NONCES};
use crate::digest::{Credentials, authorize_body};
use crate::headers::{Authorization, Challenge};
use crate::ids::IdSource;
use crate::message::{HeaderName, Headers, Method, Request};

/// The challenges by Call-ID.
#[derive(Debug, Default)]
pub(crate) struct Wallet {
    calls: HashMap<String, Vec<Answered>>,
    order: VecDeque<String>,
    uses: Uses,
}

#[derive(Debug)]
struct Answered {
    /// Where its answer goes: Authorization or Proxy-Authorization.
    header: HeaderName,
    challenge: Challenge,
}

/// How often each nonce was used, by realm and nonce.
#[derive(Debug, Default)]
struct Uses {
    counts: HashMap<(String, String), u32>,
    order: VecDeque<(String, String)>,
}

impl Wallet {
    /// Keeps a challenge in place of an older one of its realm.
    pub(crate) fn keep(&mut self, call_id: &str, header: HeaderName, challenge: Challenge) {
        if !self.calls.contains_key(call_id) {
            if self.order.len() >= MAX_REMEMBERED_CALLS
                && let Some(oldest) = self.order.pop_front()
            {
                self.calls.remove(&oldest);
            }
            self.order.push_back(call_id.to_owned());
        }
        let known = self.calls.entry(call_id.to_owned()).or_default();
        known.retain(|old| old.header != header || old.challenge.realm != challenge.realm);
        if known.len() >= MAX_CHALLENGES_PER_CALL {
            known.remove(0);
        }
        known.push(Answered { header, challenge });
    }

    /// Adds credentials to a request of a call that was challenged before; those that it carries from an earlier sending
    /// get a new count. ACK repeats those of its INVITE, and CANCEL cannot be challenged (§22.1).
    pub(crate) fn authorise(
        &mut self,
        request: &mut Request,
        credentials: &[Credentials],
        ids: &mut IdSource,
    ) {
        if matches!(request.method, Method::Ack | Method::Cancel) || self.calls.is_empty() {
            return;
        }
        let call_id = request.headers.get(&HeaderName::CallId).unwrap_or("");
        let Some(known) = self.calls.get(call_id) else {
            return;
        };
        for Answered { header, challenge } in known {
            let Some(own) = credentials.iter().find(|own| own.fits(&challenge.realm)) else {
                continue;
            };
            match carried(&request.headers, header, &challenge.realm) {
                // The application's own.
                Some(carried) if carried.nonce != challenge.nonce => continue,
                Some(_) => take_out(&mut request.headers, header, &challenge.realm),
                None => {}
            }
            let value = authorize_body(challenge, own, request, &ids.cnonce(), self.uses.next(challenge));
            request.headers.push(header.clone(), value);
        }
    }
}

impl Uses {
    /// Counts one more use of a challenge's nonce.
    fn next(&mut self, challenge: &Challenge) -> u32 {
        let key = (challenge.realm.clone(), challenge.nonce.clone());
        if let Some(count) = self.counts.get_mut(&key) {
            *count = count.saturating_add(1);
            return *count;
        }
        if self.order.len() >= MAX_REMEMBERED_NONCES
            && let Some(oldest) = self.order.pop_front()
        {
            self.counts.remove(&oldest);
        }
        self.order.push_back(key.clone());
        self.counts.insert(key, 1);
        1
    }
}

/// The credentials for a realm that are among these headers.
pub(super) fn carried(headers: &Headers, name: &HeaderName, realm: &str) -> Option<Authorization> {
    let all = headers.readable::<Authorization>(name);
    all.into_iter().find(|carried| carried.realm == realm)
}

/// Takes the credentials for a realm out of the headers; those for others stay.
pub(super) fn take_out(headers: &mut Headers, name: &HeaderName, realm: &str) {
    let others: Vec<String> = headers
        .get_all(name)
        .filter(|value| {
            let read = value.parse::<Authorization>();
            read.map_or(true, |carried| carried.realm != realm)
        })
        .map(str::to_owned)
        .collect();
    headers.remove(name);
    for other in others {
        headers.push(name.clone(), other);
    }
}
