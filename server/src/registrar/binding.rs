//! One binding of a contact, and the order of the requests that change it.

use std::time::{Duration, Instant};

use sip_proto::headers::NameAddr;
use sip_proto::ids::CallId;
use sip_proto::message::StatusCode;

use crate::focus::record::BindingRecord;

/// A contact that is registered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Binding {
    /// As registered, without `expires`.
    pub(super) contact: NameAddr,
    pub(super) until: Instant,
    /// RFC 3327: the proxies on the way to it, as they came in the Path of the REGISTER.
    pub(super) path: String,
    call_id: CallId,
    cseq: u32,
}

/// Where a request stands in the order of its sender's requests.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) call_id: CallId,
    pub(super) cseq: u32,
    pub(super) path: String,
}

/// Why a REGISTER fails as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("malformed, or `*` with more than Expires: 0")]
    BadRequest,
    #[error("the address-of-record is not of this domain")]
    NotFound,
    #[error("the interval is too brief")]
    TooBrief,
    #[error("CSeq is not newer than the binding's")]
    OutOfOrder,
    #[error("too many contacts")]
    TooManyContacts,
    #[error("no room for another address-of-record")]
    Full,
}

impl Refusal {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::TooBrief => StatusCode::INTERVAL_TOO_BRIEF,
            // RFC 3261 §10.3 step 7: a failed update is a 500.
            Self::OutOfOrder => StatusCode::SERVER_INTERNAL_ERROR,
            Self::TooManyContacts => StatusCode::FORBIDDEN,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Binding {
    /// RFC 3261 §10.3: within one Call-ID only a higher CSeq may change the binding.
    pub(super) fn check_order(&self, wish: &Wish) -> Result<(), Refusal> {
        if self.call_id == wish.call_id && wish.cseq <= self.cseq {
            Err(Refusal::OutOfOrder)
        } else {
            Ok(())
        }
    }

    /// The Contact of a 200: with the seconds that are left.
    pub(super) fn contact_with_expires(&self, now: Instant) -> NameAddr {
        let mut contact = self.contact.clone();
        contact
            .params
            .set("expires", seconds_left(self.until, now).to_string());
        contact
    }

    pub(super) fn to_record(&self, now: Instant) -> BindingRecord {
        BindingRecord {
            contact: self.contact.to_string(),
            expires: seconds_left(self.until, now),
            call_id: self.call_id.as_str().to_owned(),
            cseq: self.cseq,
            path: self.path.clone(),
        }
    }

    /// `None` for what cannot be read or has ended.
    pub(super) fn from_record(record: &BindingRecord, now: Instant) -> Option<Self> {
        (record.expires > 0).then_some(())?;
        Some(Self {
            contact: record.contact.parse().ok()?,
            until: now + Duration::from_secs(u64::from(record.expires)),
            call_id: CallId::new(record.call_id.clone()),
            cseq: record.cseq,
            path: record.path.clone(),
        })
    }
}

/// Adds, changes or (with no time granted) removes one contact among the bindings.
pub(super) fn put(
    bindings: &mut Vec<Binding>,
    contact: &NameAddr,
    granted: Duration,
    wish: &Wish,
    now: Instant,
) -> Result<(), Refusal> {
    let place = bindings
        .iter()
        .position(|binding| binding.contact.uri.equivalent(&contact.uri));
    if let Some(known) = place.and_then(|place| bindings.get(place)) {
        known.check_order(wish)?;
    }
    if granted.is_zero() {
        if let Some(place) = place {
            bindings.remove(place);
        }
        return Ok(());
    }
    let mut contact = contact.clone();
    contact.params.remove("expires");
    let binding = Binding {
        contact,
        until: now + granted,
        call_id: wish.call_id.clone(),
        cseq: wish.cseq,
        path: wish.path.clone(),
    };
    match place.and_then(|place| bindings.get_mut(place)) {
        Some(known) => *known = binding,
        None => bindings.push(binding),
    }
    Ok(())
}

/// Rounded up, so that a binding which still holds never says 0.
fn seconds_left(until: Instant, now: Instant) -> u32 {
    let left = until.saturating_duration_since(now).as_millis().div_ceil(1000);
    u32::try_from(left).unwrap_or(u32::MAX)
}
