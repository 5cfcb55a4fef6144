//! What the endpoint tells the application.

use super::types::{ClientTx, Flow, ServerTx, SessionId, SubscriptionId};
use crate::headers::Reason;
use crate::message::{Request, Response};

/// What the application hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A new request outside any dialog, for which nothing is kept yet ([`EndpointConfig::screened`] is set). Before
    /// the next input either `take_in` it, and it comes again as one of the following, or `refuse_arrival`; doing
    /// neither drops it.
    ///
    /// [`EndpointConfig::screened`]: super::EndpointConfig::screened
    Arrival {
        /// The request, with `received` and `rport` filled in.
        request: Request,
        /// Where it came from.
        flow: Flow,
    },
    /// A request outside any dialog (not INVITE, SUBSCRIBE, CANCEL, ACK): answer with `respond`.
    Request {
        /// To answer by.
        tx: ServerTx,
        /// The request.
        request: Request,
        /// Where it came from.
        flow: Flow,
    },
    /// A new call. The 100 is already sent; `ring`, `accept` or `reject` it.
    Invite {
        /// The new session.
        session: SessionId,
        /// The INVITE.
        request: Request,
        /// Where it came from.
        flow: Flow,
    },
    /// Something happened to a session.
    Session {
        /// Which one.
        session: SessionId,
        /// What happened.
        event: SessionEvent,
    },
    /// A new subscription: `accept_subscription` or `reject_subscription` it.
    Subscribe {
        /// The new subscription.
        subscription: SubscriptionId,
        /// The SUBSCRIBE.
        request: Request,
        /// Where it came from.
        flow: Flow,
    },
    /// Something happened to a subscription.
    Subscription {
        /// Which one.
        subscription: SubscriptionId,
        /// What happened.
        event: SubscriptionEvent,
    },
    /// An answer to `request` or `request_in_dialog`: one final response, after provisional ones
    /// (never a 100), if the peer sends any.
    Response {
        /// Which request.
        tx: ClientTx,
        /// The answer.
        response: Response,
    },
    /// `request` or `request_in_dialog` got no answer: time-out or transport failure.
    Timeout {
        /// Which request.
        tx: ClientTx,
    },
}

/// What happens to a session.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionEvent {
    /// Our INVITE got a 101–199. A reliable one (RFC 3262) has its PRACK sent and comes once; when it brings the
    /// first offer, because our INVITE made none, call `ack_with_answer`: the PRACK carries the answer.
    Progress {
        /// The response.
        response: Response,
    },
    /// Our INVITE got its 2xx. The ACK is sent, unless we made no offer: then call `ack_with_answer`.
    Answered {
        /// The response.
        response: Response,
    },
    /// The ACK to our 2xx came.
    Confirmed {
        /// The ACK's body: the answer, when the offer was in our 2xx.
        body: Vec<u8>,
        /// The body's type.
        content_type: Option<String>,
    },
    /// The PRACK to a reliable provisional response of ours came (RFC 3262).
    ProvisionalAcked {
        /// The PRACK's body: the answer, when that response made an offer.
        body: Vec<u8>,
        /// The body's type.
        content_type: Option<String>,
    },
    /// The session was refreshed by a re-INVITE of ours that repeated what was agreed (RFC 4028); by UPDATE it
    /// happens without a word.
    Refreshed {
        /// The response with the peer's answer.
        response: Response,
    },
    /// The peer re-INVITEs, UPDATEs or PRACKs with an offer (or re-INVITEs without one: then answer with an offer).
    /// Answer by `answer` or `refuse`. Glare and CSeq order were dealt with before.
    ReOffer {
        /// The request.
        request: Request,
    },
    /// The peer cancelled its re-INVITE before we answered, or another branch of a fork took the call than the one
    /// that offered (487 is sent): the session stays as it was.
    ReOfferCancelled,
    /// The ACK came to our 2xx to a re-INVITE that had no offer.
    ReOfferAcked {
        /// The ACK's body: the answer.
        body: Vec<u8>,
        /// The body's type.
        content_type: Option<String>,
    },
    /// Our `reoffer` or `update` got its 2xx.
    ReAnswered {
        /// The response.
        response: Response,
    },
    /// Our `reoffer` or `update` was refused: the session stays as it was. 491, and 500 with a short Retry-After, are
    /// retried inside. They are only seen here when the peer's own offer came before our retry, directly before that
    /// `ReOffer`, or when the peer went on refusing.
    ReRejected {
        /// The response.
        response: Response,
    },
    /// Our `reoffer` or `update` before the 2xx got no response at all: the call goes on as it was, and another offer
    /// may be made. (After the 2xx that ends the session.)
    ReUnanswered,
    /// INFO, MESSAGE, OPTIONS, REFER, NOTIFY … within the dialog: answer with `respond`.
    Request {
        /// To answer by.
        tx: ServerTx,
        /// The request.
        request: Request,
    },
    /// The peer cancelled its INVITE; the 487 is sent. The session is over.
    Cancelled,
    /// Our INVITE failed. The session is over.
    Failed {
        /// The final response, or none after a time-out or transport failure.
        response: Option<Response>,
    },
    /// The session is over.
    Terminated {
        /// Who ended it.
        by: TerminatedBy,
        /// The peer's Reason header, when it sent one.
        reason: Option<Reason>,
    },
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TerminatedBy {
    /// The peer's BYE.
    Peer,
    /// Our own command.
    Local,
    /// The peer no longer answers, or no longer knows the dialog (481, 408).
    Timeout,
    /// The transport failed.
    TransportLost,
    /// Our 2xx was never acknowledged.
    AckTimeout,
}

/// What happens to a subscription.
#[derive(Debug, Clone, PartialEq)]
pub enum SubscriptionEvent {
    /// Notifier: the peer refreshed it. Answered already; `notify` the present state now.
    Refreshed {
        /// Seconds it now lasts.
        expires: u32,
    },
    /// Notifier: the peer ended it; the last NOTIFY is sent by the endpoint. Over.
    Unsubscribed,
    /// Notifier: it was not refreshed; the last NOTIFY is sent by the endpoint. Over.
    Expired,
    /// Notifier: a NOTIFY was refused or not answered. Over.
    NotifyFailed,
    /// Subscriber: the SUBSCRIBE got its 2xx.
    Accepted {
        /// Seconds it lasts; the refresh is automatic.
        expires: u32,
    },
    /// Subscriber: the SUBSCRIBE was refused, or not answered (none). Over.
    Rejected {
        /// The final response.
        response: Option<Response>,
    },
    /// Subscriber: a notification, already answered with 200.
    Notify {
        /// The NOTIFY.
        request: Request,
        /// The state that it tells.
        state: PeerState,
    },
    /// Subscriber: over, by the notifier's word or its silence.
    Terminated {
        /// The `reason` parameter of Subscription-State, when there was one.
        reason: Option<String>,
        /// Seconds to wait before a new attempt, when the notifier said so.
        retry_after: Option<u32>,
    },
}

/// The substate that a NOTIFY tells (RFC 6665 §4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerState {
    /// Accepted.
    Active,
    /// Received, but not yet authorised.
    Pending,
    /// Over; `SubscriptionEvent::Terminated` follows.
    Terminated,
}
