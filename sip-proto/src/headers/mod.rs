//! Typed header values, one file per header, each with `FromStr` and `Display`.
//!
//! They are made on demand from the verbatim values in [`crate::message::Headers`], whose typed
//! accessors are the usual way here. Headers that are lists (Via, Contact, Reason…) are taken
//! apart there; a type here is one element. Absent: headers that carry a bare token or number,
//! which the accessors give directly.

mod authorization;
mod call_info;
mod challenge;
mod contacts;
mod content_type;
mod cseq;
mod event;
mod name_addr;
mod params;
mod rack;
mod reason;
mod retry_after;
mod session_expires;
mod subscription_state;
mod via;
mod warning;

pub use authorization::Authorization;
pub use call_info::CallInfo;
pub use challenge::Challenge;
pub use contacts::Contacts;
pub use content_type::ContentType;
pub use cseq::CSeq;
pub use event::Event;
pub use name_addr::NameAddr;
pub use params::Params;
pub use rack::RAck;
pub use reason::Reason;
pub use retry_after::RetryAfter;
pub use session_expires::{Refresher, SessionExpires};
pub use subscription_state::{SubscriptionState, SubscriptionStatus};
pub use via::{Via, ViaTransport};
pub use warning::Warning;

pub(crate) use contacts::check_contacts;
pub(crate) use cseq::scan_cseq;
pub(crate) use name_addr::scan_name_addr;
pub(crate) use via::scan_via;
