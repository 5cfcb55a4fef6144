//! One place where meetings are held one after another: people join at odd moments, hold and resume, lose packets,
//! leave, vanish and come back; then the next meeting, under another name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Deeds;
use super::member::{Direction, Member, News};
use crate::load::media::{Loop, PERIOD};
use crate::process::wait_for;
use crate::server::Server;

const LARGEST: u32 = 8;
/// Shortest and longest meeting in frames of 20 ms.
const LIFE: (u32, u32) = (400, 1_500);

/// The place.
pub struct Crowd {
    index: usize,
    random: u64,
    sip: SocketAddr,
    http: SocketAddr,
    deeds: Arc<Deeds>,
    sound: Loop,
    number: u32,
}

struct Guest {
    member: Member,
    /// Share of its packets that the network loses, in percent.
    loss: u32,
    leaving: bool,
}

impl Crowd {
    pub fn new(index: usize, seed: u64, server: &Server, deeds: Arc<Deeds>, sound: Loop) -> Self {
        Self {
            index,
            random: (seed ^ (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1,
            sip: server.sip,
            http: server.http,
            deeds,
            sound,
            number: 0,
        }
    }

    /// Holds meetings until told to stop; at the end everybody leaves.
    pub fn run(mut self, stop: &AtomicBool) -> std::io::Result<()> {
        for life in 0_u32.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let name = format!("soak{}-{life}", self.index);
            // Every third meeting is made over the API beforehand, and cancelled there at its end.
            let token = if life % 3 == 0 { self.create(&name) } else { None };
            self.meeting(&name, token.as_deref(), stop)?;
            self.deeds.rooms.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn meeting(&mut self, name: &str, token: Option<&str>, stop: &AtomicBool) -> std::io::Result<()> {
        let frames = LIFE.0 + self.dice(LIFE.1 - LIFE.0);
        let size = 2 + self.dice(LARGEST - 1) as usize;
        let room = format!("sip:{name}@{}", self.sip);
        let mut guests: Vec<Guest> = Vec::new();
        let start = Instant::now();
        for frame in 0..frames {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            if guests.len() < size && self.dice(25) == 0 {
                guests.push(self.guest(&room)?);
            }
            self.act(&mut guests, &room)?;
            self.media(&mut guests, frame);
            self.turn(&mut guests);
            std::thread::sleep((start + PERIOD * frame).saturating_duration_since(Instant::now()));
        }
        if let Some(token) = token {
            self.cancel(name, token);
        }
        for guest in &mut guests {
            guest.member.leave();
        }
        // Whoever is not gone by then has vanished in the server's eyes too.
        let _ = wait_for(Duration::from_secs(10), || {
            self.turn(&mut guests);
            guests.is_empty().then_some(())
        });
        Ok(())
    }

    /// Now and then somebody does something.
    fn act(&mut self, guests: &mut Vec<Guest>, room: &str) -> std::io::Result<()> {
        if guests.is_empty() || self.dice(60) != 0 {
            return Ok(());
        }
        let which = self.dice(guests.len() as u32) as usize;
        let choice = self.dice(10);
        let ways = [Direction::SendOnly, Direction::Inactive, Direction::NullAddress];
        let hold = ways
            .get(self.dice(3) as usize)
            .copied()
            .unwrap_or(Direction::SendOnly);
        let Some(guest) = guests.get_mut(which) else {
            return Ok(());
        };
        match choice {
            0 | 1 => {
                guest.member.leave();
                guest.leaving = true;
            }
            // A client that crashed and was started again: the same person, a new call, the old one hangs.
            2 | 3 => {
                guests.swap_remove(which);
                count(&self.deeds.vanished);
                guests.push(self.guest(room)?);
            }
            // Crashed, and stays away.
            4 => {
                guests.swap_remove(which);
                count(&self.deeds.vanished);
            }
            _ if guest.member.media().is_some() && !guest.leaving => {
                let way = if guest.member.direction() == Direction::SendRecv {
                    hold
                } else {
                    Direction::SendRecv
                };
                guest.member.hold(way);
            }
            _ => {}
        }
        Ok(())
    }

    fn guest(&mut self, room: &str) -> std::io::Result<Guest> {
        self.number += 1;
        let number = self.index as u32 * 1_000_000 + self.number;
        let loss = if self.dice(3) == 0 { self.dice(20) } else { 0 };
        Ok(Guest {
            member: Member::call(self.sip, room, number)?,
            loss,
            leaving: false,
        })
    }

    fn media(&mut self, guests: &mut [Guest], frame: u32) {
        for (index, guest) in guests.iter_mut().enumerate() {
            let at = (frame as usize + index * 31) % self.sound.len().max(1);
            let payload = self.sound.get(at).map_or(&[][..], Vec::as_slice);
            let lost = draw(&mut self.random, 100) < guest.loss;
            let received = guest.member.media_turn(payload, lost);
            self.deeds.received.fetch_add(received, Ordering::Relaxed);
        }
    }

    fn turn(&self, guests: &mut Vec<Guest>) {
        for guest in guests.iter_mut() {
            guest.member.turn();
            while let Some(news) = guest.member.news() {
                match news {
                    News::Answered => count(&self.deeds.calls),
                    News::Reanswered => count(&self.deeds.holds),
                    // A call that is cancelled before its answer was not refused.
                    News::Failed if !guest.leaving => count(&self.deeds.failed),
                    News::Failed | News::Over => {}
                }
            }
        }
        guests.retain(|guest| !guest.member.is_over());
    }

    fn create(&self, name: &str) -> Option<String> {
        let url = format!("http://{}/api/v1/meetings", self.http);
        let body = serde_json::json!({ "name": name });
        let answer: serde_json::Value = ureq::post(&url)
            .send_json(&body)
            .ok()?
            .body_mut()
            .read_json()
            .ok()?;
        Some(answer.get("token")?.as_str()?.to_owned())
    }

    fn cancel(&self, name: &str, token: &str) {
        let url = format!("http://{}/api/v1/meetings/{name}", self.http);
        // It may have ended by itself when all had left.
        let _ = ureq::delete(&url)
            .header("Authorization", &format!("Bearer {token}"))
            .call();
    }

    fn dice(&mut self, sides: u32) -> u32 {
        draw(&mut self.random, sides)
    }
}

fn draw(state: &mut u64, sides: u32) -> u32 {
    // xorshift64*
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    ((state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % u64::from(sides.max(1))) as u32
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
