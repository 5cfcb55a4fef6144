//! What a new request comes to: gate, target, room.
//!
//! | request | to the server or factory | to a living room | to a name just ended | to a free name |
//! |---|---|---|---|---|
//! | INVITE | factory: a new room; else 404 | joins | 410 | `--lan`: a new room; else 404, or 480 for a registered person |
//! | SUBSCRIBE conference | 404 | accepted | 410 | 404 |
//! | OPTIONS | 200 with the API's URL | 200, `isfocus` | 410 | as an INVITE would fare |
//! | REGISTER | the registrar | | | |
//!
//! Deliberately absent: requests within a dialog, which the endpoint gives to their session.

use std::net::IpAddr;
use std::time::Instant;

use sip_proto::endpoint::{Flow, ServerTx, SessionId, SubscriptionId};
use sip_proto::headers::Authorization;
use sip_proto::message::{HeaderName, Method, Request, Response, StatusCode};
use sip_proto::uri::Uri;
use tracing::Span;

use super::admission::{Caller, Verdict};
use super::answers::{self, Rejection};
use super::callers;
use super::command::SipCommand;
use super::directory::Standing;
use super::focus::{Focus, Stage};
use super::ids::{LookupId, RoomId};
use super::io::{Conduct, FocusOutput};
use super::limits;
use super::meetings::Opening;
use super::names::RoomName;
use super::negotiate::Negotiation;
use super::policy::{self, Target};
use super::room_io::{Join, RoomInput};
use super::settings::Admittance;
use crate::registrar::Account;

/// By which command a new request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// INVITE.
    Call(SessionId),
    /// SUBSCRIBE.
    Watch(SubscriptionId),
    /// Anything else.
    Other(ServerTx),
}

/// A request that waits for its account.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) door: Door,
    pub(super) request: Request,
    pub(super) deadline: Instant,
    flow: Flow,
    auth: Box<Authorization>,
}

impl Focus {
    /// A request for which nothing is kept yet. Who can be refused at once is refused without a transaction, so
    /// that strangers cost no memory and get one answer for each request (no retransmissions to an address that
    /// nobody has proved to be theirs); everybody else is taken in and arrives again.
    pub(super) fn at_the_porch(&mut self, request: Request, flow: Flow, now: Instant) {
        let new_work = matches!(request.method, Method::Invite | Method::Subscribe);
        if self.stage != Stage::Open && new_work {
            return self.turn_away(request, flow, Rejection::unavailable());
        }
        // Before the gate: a refusal for load costs no digest.
        let calls = self.sessions.len();
        if let Err(busy) = self.load.glance(&request.method, calls, now, &mut self.rng) {
            return self.turn_away(request, flow, busy);
        }
        let source = flow.remote.ip();
        let sessions = &self.sessions;
        if request.method == Method::Invite
            && self.counts_as_half_open(source)
            && !self
                .half_open
                .has_room(flow.remote, |call| sessions.contains_key(&call))
        {
            return self.turn_away(request, flow, Rejection::unavailable());
        }
        let open = self.is_open(&request);
        match self.gate.screen(&request, source, open, now) {
            Verdict::Refuse(rejection) | Verdict::Wrong(rejection) => {
                self.turn_away(request, flow, rejection)
            }
            Verdict::Pass(_) if request.method == Method::Options => match self.options(&request, &flow, now)
            {
                Ok(response) => self.sip(SipCommand::AnswerArrival {
                    request: Box::new(request),
                    flow,
                    response,
                }),
                Err(rejection) => self.turn_away(request, flow, rejection),
            },
            // Behind the gate: with accounts a call comes twice, and only with credentials for a nonce of ours it counts.
            Verdict::Pass(_) | Verdict::LookUp(_) => {
                match self.load.admit(&request.method, now, &mut self.rng) {
                    Ok(()) => self.sip(SipCommand::TakeIn {
                        request: Box::new(request),
                        flow,
                    }),
                    Err(busy) => self.turn_away(request, flow, busy),
                }
            }
        }
    }

    fn turn_away(&mut self, request: Request, flow: Flow, rejection: Rejection) {
        let Rejection { status, headers } = rejection;
        // Strangers by the thousand come by here: the span is made only where the line is written.
        tracing::debug_span!("call", id = call_id(&request)).in_scope(
            || tracing::debug!(method = %request.method, status = status.code(), remote = %flow.remote, "turned away"),
        );
        self.sip(SipCommand::TurnAway {
            request: Box::new(request),
            flow,
            status,
            headers,
        });
    }

    /// Accounts proved their address by the digest, trunks are trusted.
    fn counts_as_half_open(&self, source: IpAddr) -> bool {
        self.settings.admittance == Admittance::Lan
            && !self
                .settings
                .trusted
                .iter()
                .any(|network| network.contains(source))
    }

    /// Whoever asks what this server can do needs no account; whoever asks about a room does.
    fn is_open(&self, request: &Request) -> bool {
        request.method == Method::Options
            && matches!(self.target(&request.uri), Target::Server | Target::Factory { .. })
    }

    fn conduct(&mut self, flow: Flow, conduct: Conduct, account: Option<&str>) {
        let account = account.map(str::to_owned);
        self.push(FocusOutput::Conduct {
            flow,
            conduct,
            account,
        });
    }

    /// A request from outside any dialog.
    pub(super) fn arrive(&mut self, door: Door, request: Request, flow: Flow, now: Instant) {
        let _call = call_span(&request).entered();
        if self.stage != Stage::Open && !matches!(door, Door::Other(_)) {
            return self.refuse(door, &request, Rejection::unavailable());
        }
        let open = self.is_open(&request);
        match self.gate.screen(&request, flow.remote.ip(), open, now) {
            Verdict::Pass(caller) => self.admitted(door, &request, &flow, &caller, now),
            Verdict::Refuse(rejection) | Verdict::Wrong(rejection) => self.refuse(door, &request, rejection),
            Verdict::LookUp(auth) => {
                if self.waiting.len() >= limits::MAX_PENDING_LOOKUPS {
                    return self.refuse(door, &request, Rejection::unavailable());
                }
                self.next_lookup += 1;
                let id = LookupId(self.next_lookup);
                let realm = self.gate.realm().to_owned();
                self.push(FocusOutput::LookUp {
                    id,
                    realm,
                    user: auth.username.clone(),
                });
                let deadline = now + limits::LOOKUP_TIMEOUT;
                self.waiting.insert(
                    id,
                    Waiting {
                        door,
                        request,
                        deadline,
                        flow,
                        auth,
                    },
                );
            }
        }
    }

    /// The store has answered.
    pub(super) fn account_found(&mut self, id: LookupId, account: Option<&Account>, now: Instant) {
        let Some(Waiting {
            door,
            request,
            flow,
            auth,
            ..
        }) = self.waiting.remove(&id)
        else {
            return;
        };
        let _call = call_span(&request).entered();
        let source = flow.remote.ip();
        let proved = self.gate.proves_address(&auth, source, now);
        match self.gate.judge(&request, &auth, source, account, now) {
            Verdict::Pass(caller) => {
                if proved {
                    self.conduct(flow, Conduct::Authenticated, caller.account());
                }
                self.admitted(door, &request, &flow, &caller, now);
            }
            Verdict::Refuse(rejection) => self.refuse(door, &request, rejection),
            Verdict::Wrong(rejection) => {
                // Under a false address nobody can answer a challenge: nobody is blamed for it.
                if proved {
                    self.conduct(flow, Conduct::WrongPassword, None);
                }
                self.refuse(door, &request, rejection);
            }
            Verdict::LookUp(_) => {}
        }
    }

    /// What came back from a room that was over when it arrived: the name decides anew.
    pub(super) fn unclaimed(&mut self, name: &RoomName, input: RoomInput, now: Instant) {
        match input {
            RoomInput::Join(join) => {
                let session = join.session;
                if let Err(Rejection { status, headers }) = self.place(name, *join, now) {
                    self.sessions.remove(&session);
                    self.sip(SipCommand::Reject {
                        session,
                        status,
                        headers,
                    });
                }
            }
            RoomInput::Subscribe {
                subscription,
                expires,
                flow,
            } => {
                self.subscriptions.remove(&subscription);
                match self.directory.standing(name, now) {
                    Standing::Living(room) => self.watch(room, subscription, expires, flow, now),
                    standing => {
                        let Rejection { status, headers } = absent(standing);
                        self.sip(SipCommand::RejectSubscription {
                            subscription,
                            status,
                            headers,
                        });
                    }
                }
            }
            _ => {}
        }
    }

    fn admitted(&mut self, door: Door, request: &Request, flow: &Flow, caller: &Caller, now: Instant) {
        let outcome = match door {
            Door::Call(session) => self.call(session, request, flow, caller, now),
            Door::Watch(subscription) => self.subscribe(subscription, request, flow, caller, now),
            Door::Other(tx) => {
                let response = self.answer_other(request, flow, caller, now);
                response.map(|response| self.sip(SipCommand::Respond { tx, response }))
            }
        };
        if let Err(rejection) = outcome {
            self.refuse(door, request, rejection);
        }
    }

    fn call(
        &mut self,
        session: SessionId,
        request: &Request,
        flow: &Flow,
        caller: &Caller,
        now: Instant,
    ) -> Result<(), Rejection> {
        let from = request
            .headers
            .from()
            .map_err(|_| Rejection::new(StatusCode::BAD_REQUEST))?;
        if !caller.may_be(&from.uri) {
            return Err(Rejection::new(StatusCode::FORBIDDEN));
        }
        let subject = callers::subject_of(request);
        let target = self.target(&request.uri);
        // The name is judged before the body, and the body before anything is made.
        if let Target::Room(name) = &target {
            self.check_reachable(name, &request.uri, now)?;
        }
        let (session_id, seed) = (self.random_u64(), self.random_seed());
        let negotiation = Negotiation::of_invite(request, session_id, seed, &self.settings.room)?;
        let join = Join {
            session,
            flow: *flow,
            person: callers::person_of(request, caller),
            creator_token: None,
            negotiation,
        };
        match target {
            Target::Factory { wanted } => {
                let name = self.factory_name(wanted.as_deref(), subject.as_deref(), now)?;
                self.make_and_join(name, subject, join, now)
            }
            Target::Room(name) => self.place(&name, join, now),
            Target::Server | Target::Other => Err(Rejection::new(StatusCode::NOT_FOUND)),
        }
    }

    /// Joins a living room, or makes it where that is allowed.
    fn place(&mut self, name: &RoomName, join: Join, now: Instant) -> Result<(), Rejection> {
        match self.directory.standing(name, now) {
            Standing::Living(room) => {
                self.enter(room, join, now);
                Ok(())
            }
            Standing::Free if self.settings.admittance == Admittance::Lan => {
                self.make_and_join(name.clone(), None, join, now)
            }
            standing => Err(absent(standing)),
        }
    }

    fn make_and_join(
        &mut self,
        name: RoomName,
        subject: Option<String>,
        mut join: Join,
        now: Instant,
    ) -> Result<(), Rejection> {
        let uri = answers::room_uri(&name, &join.flow).to_string();
        let api_url = self.settings.api_url_for(join.flow.local.ip());
        let first_wait = self.settings.empty_grace;
        let creator = join.person.uri.clone();
        let (room, token) = self
            .open_room(
                Opening {
                    name,
                    subject,
                    uri,
                    api_url,
                    creator,
                    first_wait,
                },
                now,
            )
            .ok_or_else(Rejection::unavailable)?;
        join.creator_token = Some(token);
        self.enter(room, join, now);
        Ok(())
    }

    fn enter(&mut self, room: RoomId, join: Join, now: Instant) {
        self.sessions.insert(join.session, room);
        if self.counts_as_half_open(join.flow.remote.ip()) {
            self.half_open.opened(join.session, join.flow.remote);
        }
        self.tell_room(room, RoomInput::Join(Box::new(join)), now);
    }

    /// Whether an INVITE to this name could come to a room at all.
    fn check_reachable(&self, name: &RoomName, uri: &Uri, now: Instant) -> Result<(), Rejection> {
        if let Standing::Living(_) = self.directory.standing(name, now) {
            return Ok(());
        }
        if self.registrar.is_registered(uri, now) {
            let later = "calls between registered people are not offered yet";
            return Err(Rejection::new(StatusCode::TEMPORARILY_UNAVAILABLE).warn(399, later));
        }
        match self.directory.standing(name, now) {
            Standing::Free if self.settings.admittance == Admittance::Lan => Ok(()),
            standing => Err(absent(standing)),
        }
    }

    /// The name of a room that the factory is to make: see `server/docs/conference-extension.md`.
    fn factory_name(
        &mut self,
        wanted: Option<&str>,
        subject: Option<&str>,
        now: Instant,
    ) -> Result<RoomName, Rejection> {
        if let Some(wanted) = wanted {
            let name = RoomName::parse(wanted)
                .map_err(|error| Rejection::new(StatusCode::BAD_REQUEST).warn(399, &error.to_string()))?;
            return match self.directory.standing(&name, now) {
                Standing::Free if !self.is_factory(&name) => Ok(name),
                Standing::Ended => Err(absent(Standing::Ended)),
                Standing::Free | Standing::Living(_) => {
                    Err(Rejection::new(StatusCode::BUSY_HERE).warn(399, "a meeting of this name exists"))
                }
            };
        }
        let stem = subject.and_then(RoomName::from_subject);
        Ok(self.free_name(stem, now))
    }

    fn subscribe(
        &mut self,
        subscription: SubscriptionId,
        request: &Request,
        flow: &Flow,
        caller: &Caller,
        now: Instant,
    ) -> Result<(), Rejection> {
        let package = request.headers.event().ok().flatten().map(|event| event.package);
        if package.as_deref() != Some(answers::CONFERENCE_EVENT) {
            return Err(Rejection::new(StatusCode::BAD_EVENT)
                .with(HeaderName::AllowEvents, answers::CONFERENCE_EVENT));
        }
        let from = request
            .headers
            .from()
            .map_err(|_| Rejection::new(StatusCode::BAD_REQUEST))?;
        if !caller.may_be(&from.uri) {
            return Err(Rejection::new(StatusCode::FORBIDDEN));
        }
        let Target::Room(name) = self.target(&request.uri) else {
            return Err(Rejection::new(StatusCode::NOT_FOUND));
        };
        let Standing::Living(room) = self.directory.standing(&name, now) else {
            return Err(absent(self.directory.standing(&name, now)));
        };
        let wish = request
            .headers
            .expires()
            .unwrap_or_default()
            .unwrap_or(limits::MAX_SUBSCRIPTION);
        self.watch(room, subscription, wish.min(limits::MAX_SUBSCRIPTION), *flow, now);
        Ok(())
    }

    fn watch(&mut self, room: RoomId, subscription: SubscriptionId, expires: u32, flow: Flow, now: Instant) {
        if expires > 0 {
            self.subscriptions.insert(subscription, room);
        }
        self.tell_room(
            room,
            RoomInput::Subscribe {
                subscription,
                expires,
                flow,
            },
            now,
        );
    }

    fn answer_other(
        &mut self,
        request: &Request,
        flow: &Flow,
        caller: &Caller,
        now: Instant,
    ) -> Result<Response, Rejection> {
        match request.method {
            Method::Register => {
                let to = request
                    .headers
                    .to()
                    .map_err(|_| Rejection::new(StatusCode::BAD_REQUEST))?;
                // RFC 3261 §10.3 step 4: nobody registers for somebody else.
                if !caller.may_be(&to.uri) {
                    return Err(Rejection::new(StatusCode::FORBIDDEN));
                }
                let domains = &self.settings.domains;
                let (response, record) = self
                    .registrar
                    .register(request, |uri| is_domain(domains, uri), now);
                if response.status == StatusCode::OK {
                    self.conduct(*flow, Conduct::Registered, caller.account());
                }
                if let Some(record) = record {
                    self.push(FocusOutput::Record(record));
                }
                Ok(response)
            }
            Method::Options => self.options(request, flow, now),
            Method::Bye | Method::Info | Method::Notify | Method::Update | Method::Prack => {
                Err(Rejection::new(StatusCode::CALL_DOES_NOT_EXIST))
            }
            _ => Err(Rejection::new(StatusCode::NOT_IMPLEMENTED)),
        }
    }

    /// RFC 3261 §11.2: the status that an INVITE would get, and what we can do.
    fn options(&self, request: &Request, flow: &Flow, now: Instant) -> Result<Response, Rejection> {
        let mut response = Response::to(request, StatusCode::OK);
        let contact = match self.target(&request.uri) {
            Target::Room(name) => {
                self.check_reachable(&name, &request.uri, now)?;
                answers::focus_contact(&name, flow)
            }
            Target::Server | Target::Factory { .. } => answers::server_contact(flow),
            Target::Other => return Err(Rejection::new(StatusCode::NOT_FOUND)),
        };
        let headers = &mut response.headers;
        headers.set(HeaderName::Contact, contact);
        answers::add_capabilities(headers);
        if let Some(url) = self.settings.api_url_for(flow.local.ip()) {
            headers.set(HeaderName::CallInfo, answers::call_info(&url, None));
        }
        Ok(response)
    }

    fn target(&self, uri: &Uri) -> Target {
        if !is_domain(&self.settings.domains, uri) {
            return Target::Other;
        }
        let user = uri.user_decoded();
        policy::target(
            user.as_deref(),
            uri.params.get("room"),
            &self.settings.factory_user,
        )
    }
}

/// The span `call{id}` of what is logged about a request.
pub(super) fn call_span(request: &Request) -> Span {
    tracing::info_span!("call", id = call_id(request))
}

fn call_id(request: &Request) -> &str {
    request.headers.get(&HeaderName::CallId).unwrap_or_default()
}

/// What is said of a name that has no living room.
fn absent(standing: Standing) -> Rejection {
    match standing {
        Standing::Ended => Rejection::new(StatusCode::GONE),
        Standing::Free | Standing::Living(_) => Rejection::new(StatusCode::NOT_FOUND),
    }
}

/// Whether the host is ours: any address, any name where no domains are set, else those.
fn is_domain(domains: &[String], uri: &Uri) -> bool {
    domains.is_empty()
        || uri.host.ip().is_some()
        || domains
            .iter()
            .any(|domain| domain.eq_ignore_ascii_case(&uri.host.to_string()))
}
