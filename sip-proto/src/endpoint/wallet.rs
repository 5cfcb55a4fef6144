//! Challenges that were answered, so that the next request of the same dialog, or registration, carries credentials
//! at once and is not challenged again (RFC 3261 §22.1, RFC 7616 §3.4.5).
//!
//! Kept by Call-ID and realm with the count of uses. It is a cache: the oldest Call-ID falls out, and then a request is
//! challenged once more.

use std::collections::{HashMap, VecDeque};

use super::limits::{MAX_CHALLENGES_PER_CALL, MAX_REMEMBERED_CALLS};
use crate::digest::{Credentials, authorize_body};
use crate::headers::{Authorization, Challenge};
use crate::ids::IdSource;
use crate::message::{HeaderName, Method, Request};

/// The challenges by Call-ID.
#[derive(Debug, Default)]
pub(crate) struct Wallet {
    calls: HashMap<String, Vec<Answered>>,
    order: VecDeque<String>,
}

#[derive(Debug)]
struct Answered {
    /// Where its answer goes: Authorization or Proxy-Authorization.
    header: HeaderName,
    challenge: Challenge,
    used: u32,
}

impl Wallet {
    /// Keeps a challenge in place of an older one of its realm. The first use of its nonce is counted.
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
        if known.len() < MAX_CHALLENGES_PER_CALL {
            known.push(Answered {
                header,
                challenge,
                used: 1,
            });
        }
    }

    /// Adds credentials to a request of a call that was challenged before. ACK repeats those of its INVITE, and CANCEL
    /// cannot be challenged (§22.1).
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
        let Some(known) = self.calls.get_mut(call_id) else {
            return;
        };
        for answered in known {
            let realm = &answered.challenge.realm;
            let Some(own) = credentials.iter().find(|own| own.fits(realm)) else {
                continue;
            };
            let carried = request.headers.readable::<Authorization>(&answered.header);
            if carried.iter().any(|carried| carried.realm == *realm) {
                continue;
            }
            answered.used = answered.used.saturating_add(1);
            let value = authorize_body(&answered.challenge, own, request, &ids.cnonce(), answered.used);
            request.headers.push(answered.header.clone(), value);
        }
    }
}
