//! Challenges answered: a request that got 401 or 407 goes out again with credentials (RFC 3261 §22).

use std::time::Instant;

use super::Endpoint;
use super::limits::MAX_CHALLENGES;
use super::stack::{ClientUse, Purpose, Stack};
use super::wallet;
use crate::digest::strongest;
use crate::message::{HeaderName, Method, Request, Response};
use crate::transaction::layer::Delivered;
use crate::usage::subscribe::Side;

impl Endpoint {
    /// True: the challenge is answered and nobody needs to hear of it.
    pub(super) fn answer_challenge(
        &mut self,
        delivered: &Delivered<ClientUse>,
        response: &Response,
        now: Instant,
    ) -> bool {
        let ClientUse { purpose, attempts } = delivered.owner;
        if !matches!(response.status.code(), 401 | 407)
            || attempts >= MAX_CHALLENGES
            || !self.wants_retry(purpose, &delivered.request.method)
        {
            return false;
        }
        let Some(mut request) = with_credentials(&mut self.stack, &delivered.request, response, attempts)
        else {
            return false;
        };
        let sent = request.headers.cseq().map_or(1, |cseq| cseq.seq);
        let cseq = self
            .next_cseq(purpose, &request)
            .unwrap_or(sent.saturating_add(1));
        let method = request.method.clone();
        request
            .headers
            .set(HeaderName::CSeq, format_args!("{cseq} {method}"));
        let owner = ClientUse {
            purpose,
            attempts: attempts + 1,
        };
        let stack = &mut self.stack;
        let id = stack.layer.send(
            request,
            delivered.flow,
            owner,
            &mut stack.ids,
            &mut stack.wire,
            now,
        );
        match purpose {
            Purpose::Invite(session) => {
                self.with_session(session, |session, stack| session.invite_resent(id, stack));
            }
            Purpose::Offer(session) => {
                self.with_session(session, |session, _| session.offer_resent(delivered.id, id));
            }
            Purpose::Subscribe(subscription) => {
                self.with_subscription(subscription, |subscription, _| {
                    if let Side::Subscriber(subscriber) = &mut subscription.side {
                        subscriber.resent(cseq);
                    }
                });
            }
            _ => {}
        }
        true
    }

    fn wants_retry(&self, purpose: Purpose, method: &Method) -> bool {
        match purpose {
            Purpose::Invite(id) => self
                .sessions
                .get(&id)
                .is_some_and(|session| session.wants_retry()),
            // Nothing is offered any more once the session ends.
            Purpose::Offer(id) => self
                .sessions
                .get(&id)
                .is_some_and(|session| session.takes_offers()),
            // A branch of a fork that is not wanted must hear its BYE; a CANCEL cannot be challenged (§22.1).
            Purpose::Nobody => *method == Method::Bye,
            _ => true,
        }
    }

    /// Within a dialog the number must be the dialog's next.
    fn next_cseq(&mut self, purpose: Purpose, request: &Request) -> Option<u32> {
        match purpose {
            Purpose::Offer(id)
            | Purpose::Prack(id)
            | Purpose::Refresh(id)
            | Purpose::Bye(id)
            | Purpose::Application(_, Some(id)) => self.sessions.get_mut(&id)?.next_cseq(request),
            Purpose::Subscribe(id) | Purpose::Notify(id) => self.subscriptions.get_mut(&id)?.next_cseq(),
            Purpose::Invite(_) | Purpose::Application(_, None) | Purpose::Nobody => None,
        }
    }
}

/// The request with an answer to each challenge that we have credentials for, of whatever realms (RFC 3261 §22.3), and
/// with those to earlier challenges under a new count; none when there is nothing to add, or when an answer of ours was
/// refused before and the nonce was not merely too old.
fn with_credentials(
    stack: &mut Stack,
    request: &Request,
    response: &Response,
    attempts: u8,
) -> Option<Request> {
    let mut retry = request.clone();
    let call_id = request.headers.get(&HeaderName::CallId).unwrap_or("");
    let mut answered = false;
    for (asked, answer) in [
        (HeaderName::WwwAuthenticate, HeaderName::Authorization),
        (HeaderName::ProxyAuthenticate, HeaderName::ProxyAuthorization),
    ] {
        for challenge in strongest(&response.headers, &asked) {
            let sent = wallet::carried(&request.headers, &answer, &challenge.realm);
            // What went out unasked may be of a nonce whose time is over, whatever the server says of it.
            if sent.is_some() && attempts > 0 && !challenge.stale {
                return None;
            }
            if stack.config.credentials.iter().any(|c| c.fits(&challenge.realm)) {
                wallet::take_out(&mut retry.headers, &answer, &challenge.realm);
                stack.wallet.keep(call_id, answer.clone(), challenge);
                answered = true;
            }
        }
    }
    if !answered {
        return None;
    }
    stack
        .wallet
        .authorise(&mut retry, &stack.config.credentials, &mut stack.ids);
    Some(retry)
}
