//! What an endpoint is told about itself.

use crate::digest::Credentials;
use crate::message::Method;
use crate::transaction::TimerValues;

use super::limits;

/// Configuration of an [`Endpoint`](super::Endpoint).
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// Goes out as User-Agent in requests and Server in responses.
    pub user_agent: String,
    /// User part of the Contact that is made when the application gives none; may be empty.
    pub contact_user: String,
    /// Methods that are accepted: Allow, and 405 for the others.
    pub allow: Vec<Method>,
    /// Option tags that are understood: Supported, and 420 for the others. `100rel` needs PRACK in `allow`; without
    /// `timer` Session-Expires is ignored.
    pub supported: Vec<String>,
    /// Body types that are understood: Accept.
    pub accept: Vec<String>,
    /// Event packages offered: Allow-Events; empty leaves the header out.
    pub allow_events: Vec<String>,
    /// Requests of more bytes than this leave UDP for TCP (RFC 3261 §18.1.1: 1,300 where the path's MTU is not known),
    /// and come back to UDP when TCP does not get there. `None`: never; for drivers that cannot open a stream beside
    /// their socket.
    pub stream_above: Option<usize>,
    /// Timer values.
    pub timers: TimerValues,
    /// With these a 401 or 407 is answered.
    pub credentials: Vec<Credentials>,
    /// Seconds that our sessions are to last without a refresh (RFC 4028): asked for in our INVITEs, and set in our
    /// 2xx where the peer knows session timers. `None`: only what the peer asks for.
    pub session_expires: Option<u32>,
    /// The shortest session interval that is granted, seconds, at least 90: less gets 422.
    pub min_session_expires: u32,
    /// The shortest subscription that is granted, seconds: less gets 423.
    pub min_subscription: u32,
    /// Transactions of each kind at most; more requests get 503.
    pub max_transactions: usize,
    /// Server transactions for which the tables have room from the start. A table that has to grow moves everything it
    /// holds at once, some 100 ms at 100,000, and all calls wait. Room that is not used is no resident memory but some
    /// 10 bytes each. 0 for a phone.
    pub expected_transactions: usize,
    /// Dialogs with one peer address at most.
    pub max_dialogs_per_peer: usize,
    /// New requests outside any dialog come as [`Event::Arrival`](super::Event::Arrival) first, before anything is
    /// kept for them, so that the application can turn strangers away statelessly.
    pub screened: bool,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        EndpointConfig {
            user_agent: concat!("Meet/", env!("CARGO_PKG_VERSION")).to_owned(),
            contact_user: String::new(),
            allow: vec![
                Method::Invite,
                Method::Ack,
                Method::Bye,
                Method::Cancel,
                Method::Options,
                Method::Info,
                Method::Message,
                Method::Refer,
                Method::Update,
                Method::Prack,
                Method::Subscribe,
                Method::Notify,
            ],
            supported: vec!["100rel".to_owned(), "timer".to_owned()],
            accept: vec!["application/sdp".to_owned()],
            allow_events: Vec::new(),
            stream_above: None,
            timers: TimerValues::default(),
            credentials: Vec::new(),
            session_expires: None,
            min_session_expires: limits::MIN_SESSION_EXPIRES,
            min_subscription: 30,
            max_transactions: limits::MAX_TRANSACTIONS,
            expected_transactions: 0,
            max_dialogs_per_peer: limits::MAX_DIALOGS_PER_PEER,
            screened: false,
        }
    }
}
