//! The people of a room as others see them: the roster's documents, the API's views.

use std::time::Instant;

use mixer::LegStats;
use sip_proto::endpoint::{NotifyState, SubscriptionId};

use super::Room;
use crate::focus::answers::Rejection;
use crate::focus::api::{ApiRefusal, ApiReply, ParticipantView, RoomApi};
use crate::focus::command::SipCommand;
use crate::focus::ids::{ApiId, LegId};
use crate::focus::leg::Leg;
use crate::focus::mixing;
use crate::focus::record::LeaveReason;
use crate::focus::room_io::RoomOutput;
use crate::focus::roster_document::{RosterView, Written};

impl Room {
    /// Somebody wants the roster: accepted, and a full document at once (RFC 6665 §4.2.1.2).
    pub(super) fn subscribe(&mut self, subscription: SubscriptionId, expires: u32) {
        if self.roster.len() >= self.setup.limits.max_subscriptions {
            let Rejection { status, headers } = Rejection::unavailable();
            return self.sip(SipCommand::RejectSubscription {
                subscription,
                status,
                headers,
            });
        }
        self.roster.add(subscription);
        self.sip(SipCommand::AcceptSubscription {
            subscription,
            expires,
        });
        if expires == 0 {
            // RFC 6665 §4.4.3: a fetch. One document, and the subscription is over.
            self.notify_one(
                subscription,
                NotifyState::Terminated {
                    reason: "timeout".to_owned(),
                },
            );
            self.roster.remove(subscription);
        } else {
            self.notify_one(subscription, NotifyState::Active);
        }
    }

    /// The full document for one subscriber.
    pub(super) fn notify_one(&mut self, subscription: SubscriptionId, state: NotifyState) {
        if let Some(version) = self.roster.next_version(subscription) {
            let body = self.written().body(version);
            self.sip(SipCommand::Notify {
                subscription,
                state,
                body,
            });
        }
    }

    /// A change goes to everybody, at the roster's pace. The document is written once.
    pub(super) fn notify_if_due(&mut self, now: Instant) {
        let round = self.roster.round(now);
        if round.is_empty() {
            return;
        }
        let written = self.written();
        let mut bytes = 0;
        for (subscription, version) in round {
            let body = written.body(version);
            bytes += body.bytes.len();
            self.sip(SipCommand::Notify {
                subscription,
                state: NotifyState::Active,
                body,
            });
        }
        self.roster.sent(bytes, now);
    }

    /// RFC 6665 §4.2.2: the resource is gone, and so are its subscriptions.
    pub(super) fn notify_end(&mut self) {
        let written = self.written();
        for (subscription, version) in self.roster.everybody() {
            let body = written.body(version);
            let state = NotifyState::Terminated {
                reason: "noresource".to_owned(),
            };
            self.sip(SipCommand::Notify {
                subscription,
                state,
                body,
            });
            self.roster.remove(subscription);
        }
    }

    /// Statistics of the legs, kept for the API.
    pub(super) fn take_stats(&mut self, stats: Vec<(LegId, LegStats)>) {
        for (id, stats) in stats {
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.stats = Some(stats);
            }
        }
    }

    /// A request of the API that the focus has let through.
    pub(super) fn api(&mut self, id: ApiId, request: RoomApi, now: Instant) {
        let known = |leg: &LegId, room: &Self| room.legs.contains_key(leg);
        let reply = match request {
            RoomApi::Participants => ApiReply::Participants(self.participants(now)),
            RoomApi::Remove(leg) if known(&leg, self) => {
                self.remove_leg(leg, LeaveReason::Removed, true, now);
                ApiReply::Done
            }
            RoomApi::Mute(leg, muted) if known(&leg, self) => {
                self.set_muted(leg, muted);
                ApiReply::Done
            }
            RoomApi::Remove(_) | RoomApi::Mute(..) => ApiReply::Refused(ApiRefusal::NoSuchParticipant),
        };
        self.push(RoomOutput::ApiReply { id, reply });
    }

    fn participants(&self, now: Instant) -> Vec<ParticipantView> {
        self.legs
            .values()
            .filter(|leg| leg.is_answered())
            .map(|leg| self.view(leg, now))
            .collect()
    }

    fn view(&self, leg: &Leg, now: Instant) -> ParticipantView {
        ParticipantView {
            leg: leg.id,
            display: leg.display.clone(),
            uri: leg.person.uri.clone(),
            account: leg.person.account.clone(),
            user_agent: leg.person.user_agent.clone(),
            status: leg.status(),
            muted: leg.muted,
            speaking: self.speaker == Some(leg.id),
            creator: leg.is_creator(),
            age: leg
                .since()
                .map(|since| now.saturating_duration_since(since))
                .unwrap_or_default(),
            codec: leg.negotiation.agreed().and_then(mixing::codec_name),
            srtp: leg.srtp.as_ref().map(|srtp| srtp.suite.name()),
            stats: leg.stats,
        }
    }

    fn written(&self) -> Written {
        Written::of(&RosterView {
            name: &self.setup.name,
            entity: &self.setup.uri,
            subject: self.setup.subject.as_deref(),
            legs: self.legs.values().filter(|leg| leg.is_answered()).collect(),
            speaker: self.speaker,
        })
    }
}
