//! What the focus and its rooms want of the endpoint, as values that can travel between tasks.
//!
//! One variant for each command method of the endpoint that a server uses; the driver calls
//! [`SipCommand::execute`] in the signalling task. Deliberately absent: outgoing calls.

use std::time::Instant;

use sip_proto::endpoint::{
    Body, ClientTx, Endpoint, EndpointError, Flow, NotifyState, ServerTx, SessionId, SubscriptionId,
};
use sip_proto::headers::Reason;
use sip_proto::message::{Headers, Method, Request, Response, StatusCode};

use super::io::FocusInput;

/// A command for the endpoint.
#[derive(Debug)]
pub enum SipCommand {
    /// Answer an INVITE with 180.
    Ring {
        /// The call.
        session: SessionId,
        /// Contact with `isfocus`.
        headers: Headers,
    },
    /// Answer an INVITE with 200.
    Accept {
        /// The call.
        session: SessionId,
        /// Answer or offer.
        body: Body,
        /// Contact with `isfocus`, Call-Info.
        headers: Headers,
    },
    /// Refuse an INVITE.
    Reject {
        /// The call.
        session: SessionId,
        /// 300 to 699.
        status: StatusCode,
        /// Warning, Retry-After and the like.
        headers: Headers,
    },
    /// End a call.
    Bye {
        /// The call.
        session: SessionId,
        /// RFC 3326.
        reason: Option<Reason>,
    },
    /// Answer a re-INVITE or UPDATE with 200.
    Answer {
        /// The call.
        session: SessionId,
        /// Answer, or offer to an offerless re-INVITE.
        body: Body,
    },
    /// Refuse a re-INVITE or UPDATE.
    Refuse {
        /// The call.
        session: SessionId,
        /// 300 to 699.
        status: StatusCode,
        /// Warning, Retry-After and the like.
        headers: Headers,
    },
    /// Go on with a request for which nothing was kept so far.
    TakeIn {
        /// The request.
        request: Box<Request>,
        /// Where it came from.
        flow: Flow,
    },
    /// Refuse such a request and keep nothing.
    TurnAway {
        /// The request.
        request: Box<Request>,
        /// Where it came from.
        flow: Flow,
        /// 300 to 699.
        status: StatusCode,
        /// Challenges, Retry-After and the like.
        headers: Headers,
    },
    /// Answer such a request and keep nothing.
    AnswerArrival {
        /// The request.
        request: Box<Request>,
        /// Where it came from.
        flow: Flow,
        /// The answer.
        response: Response,
    },
    /// Answer any other request.
    Respond {
        /// The request.
        tx: ServerTx,
        /// The answer.
        response: Response,
    },
    /// Ask whether the peer lives: a request in the dialog.
    Probe {
        /// The call.
        session: SessionId,
    },
    /// Accept a SUBSCRIBE.
    AcceptSubscription {
        /// The subscription.
        subscription: SubscriptionId,
        /// Granted seconds.
        expires: u32,
    },
    /// Refuse a SUBSCRIBE.
    RejectSubscription {
        /// The subscription.
        subscription: SubscriptionId,
        /// 300 to 699.
        status: StatusCode,
        /// Retry-After, Allow-Events and the like.
        headers: Headers,
    },
    /// End a subscription with a NOTIFY without a document.
    Release {
        /// The subscription.
        subscription: SubscriptionId,
    },
    /// Send a NOTIFY.
    Notify {
        /// The subscription.
        subscription: SubscriptionId,
        /// Active or terminated.
        state: NotifyState,
        /// The document.
        body: Body,
    },
}

/// Whom a command is about: to be told when the endpoint refuses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Session(SessionId),
    Probe(SessionId),
    Subscription(SubscriptionId),
    Notice(SubscriptionId),
    Nobody,
}

impl About {
    /// What the focus must hear of a refusal.
    fn refused(self, error: &EndpointError) -> Option<FocusInput> {
        match (self, error) {
            (Self::Session(session), _) | (Self::Probe(session), EndpointError::UnknownSession(_)) => {
                Some(FocusInput::SessionLost { session })
            }
            (Self::Probe(session), _) => Some(FocusInput::NotAsked { session }),
            (Self::Subscription(subscription), _)
            | (Self::Notice(subscription), EndpointError::UnknownSubscription(_)) => {
                Some(FocusInput::SubscriptionLost { subscription })
            }
            // A document that could not be sent now: the next one has it all.
            (Self::Notice(_) | Self::Nobody, _) => None,
        }
    }
}

impl SipCommand {
    /// Executes the command and returns what the focus must hear of it.
    ///
    /// A refused command is not an error of the caller: between a room's decision and its
    /// execution the peer may have ended the dialog.
    pub fn execute(self, endpoint: &mut Endpoint, now: Instant) -> Option<FocusInput> {
        let about = self.about();
        // No event follows a refusal: the focus forgets what it refused, or its tables would grow.
        let over = match &self {
            Self::Reject { session, .. } => Some(FocusInput::SessionLost { session: *session }),
            Self::RejectSubscription { subscription, .. } => Some(FocusInput::SubscriptionLost {
                subscription: *subscription,
            }),
            _ => None,
        };
        match self.apply(endpoint, now) {
            Ok(None) => over,
            Ok(Some((session, tx))) => Some(FocusInput::Issued { session, tx }),
            Err(error) => {
                tracing::debug!(%error, ?about, "command refused by the endpoint");
                about.refused(&error)
            }
        }
    }

    const fn about(&self) -> About {
        match self {
            Self::Ring { session, .. }
            | Self::Accept { session, .. }
            | Self::Reject { session, .. }
            | Self::Bye { session, .. }
            | Self::Answer { session, .. }
            | Self::Refuse { session, .. } => About::Session(*session),
            Self::Probe { session } => About::Probe(*session),
            Self::AcceptSubscription { subscription, .. } | Self::RejectSubscription { subscription, .. } => {
                About::Subscription(*subscription)
            }
            Self::Notify { subscription, .. } | Self::Release { subscription } => {
                About::Notice(*subscription)
            }
            Self::Respond { .. }
            | Self::TakeIn { .. }
            | Self::TurnAway { .. }
            | Self::AnswerArrival { .. } => About::Nobody,
        }
    }

    fn apply(
        self,
        endpoint: &mut Endpoint,
        now: Instant,
    ) -> Result<Option<(SessionId, ClientTx)>, EndpointError> {
        match self {
            Self::Ring { session, headers } => {
                endpoint.ring(session, StatusCode::RINGING, None, headers, now)?;
            }
            Self::Accept {
                session,
                body,
                headers,
            } => {
                endpoint.accept(session, Some(body), headers, now)?;
            }
            Self::Reject {
                session,
                status,
                headers,
            } => {
                endpoint.reject(session, status, headers, now)?;
            }
            Self::Bye { session, reason } => endpoint.bye(session, reason, now)?,
            Self::Answer { session, body } => endpoint.answer(session, body, now)?,
            Self::Refuse {
                session,
                status,
                headers,
            } => {
                endpoint.refuse(session, status, headers, now)?;
            }
            Self::TakeIn { request, flow } => endpoint.take_in(*request, flow, now),
            Self::TurnAway {
                request,
                flow,
                status,
                headers,
            } => endpoint.refuse_arrival(&request, status, &headers, flow),
            Self::AnswerArrival {
                request,
                flow,
                response,
            } => endpoint.answer_arrival(&request, response, flow),
            Self::Respond { tx, response } => endpoint.respond(tx, response, now)?,
            Self::Probe { session } => {
                let tx = endpoint.request_in_dialog(session, Method::Options, Headers::new(), None, now)?;
                return Ok(Some((session, tx)));
            }
            Self::AcceptSubscription {
                subscription,
                expires,
            } => {
                endpoint.accept_subscription(subscription, expires, now)?;
            }
            Self::RejectSubscription {
                subscription,
                status,
                headers,
            } => {
                endpoint.reject_subscription(subscription, status, headers, now)?;
            }
            Self::Release { subscription } => {
                let reason = "noresource".to_owned();
                endpoint.notify(subscription, NotifyState::Terminated { reason }, None, now)?;
            }
            Self::Notify {
                subscription,
                state,
                body,
            } => {
                endpoint.notify(subscription, state, Some(body), now)?;
            }
        }
        Ok(None)
    }
}
