//! Who gets through, who does not, and that nobody pays for another's false address.

use super::*;

const INVITE: &[u8] = b"INVITE sip:blue@h SIP/2.0\r\nCall-ID: new\r\n\r\n";

fn settings() -> ShieldSettings {
    ShieldSettings {
        requests_per_second: 10,
        requests_at_once: 20,
        strangers_per_second: 50,
        wrong_passwords: 5,
        ban: Duration::from_secs(60),
        trusted: vec!["10.0.0.0/8".parse().unwrap()],
    }
}

struct Case {
    shield: Shield,
    now: Instant,
}

impl Case {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            shield: Shield::new(settings(), now),
            now,
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.shield.handle_timeout(self.now);
    }

    fn send(&mut self, from: &str, bytes: &[u8]) -> Verdict {
        self.shield.datagram(from.parse().unwrap(), bytes, self.now)
    }

    /// How many of so many come through.
    fn flood(&mut self, from: &str, count: usize) -> usize {
        (0..count)
            .filter(|_| self.send(from, INVITE) == Verdict::New)
            .count()
    }

    fn connect(&mut self, from: &str) -> Result<(), Cause> {
        self.shield.connection(from.parse().unwrap(), self.now)
    }

    fn prove(&mut self, from: &str) {
        self.shield.prove(from.parse().unwrap(), None, self.now);
    }

    fn blame(&mut self, from: &str) {
        self.shield.blame(from.parse().unwrap(), self.now);
    }
}

#[test]
fn one_address_is_limited_and_the_others_are_not() {
    let mut case = Case::new();
    assert_eq!(case.flood("192.0.2.1:5060", 100), 20);
    assert_eq!(
        case.send("192.0.2.1:6000", INVITE),
        Verdict::Drop(Cause::Rate),
        "another port"
    );
    assert_eq!(case.send("192.0.2.2:5060", INVITE), Verdict::New);
    case.pass(1);
    assert_eq!(case.flood("192.0.2.1:5060", 100), 10);
    case.pass(60);
    assert_eq!(case.flood("192.0.2.1:5060", 100), 20);
    assert_eq!(case.flood("10.3.3.3:5060", 1000), 1000, "trusted");
}

#[test]
fn all_strangers_together_are_limited_and_the_proven_are_not() {
    let mut case = Case::new();
    case.shield
        .prove("192.0.2.9:5060".parse().unwrap(), None, case.now);
    let mut through = 0;
    for n in 0..1_000 {
        let from = format!("198.51.{}.{}:5060", n / 250, n % 250);
        through += case.flood(&from, 1);
    }
    assert_eq!(through, 200, "four seconds' worth");
    assert_eq!(case.send("192.0.2.77:5060", INVITE), Verdict::Drop(Cause::Flood));
    assert_eq!(case.send("192.0.2.9:5060", INVITE), Verdict::New, "proven");
    assert_eq!(
        case.send("192.0.2.9:5061", INVITE),
        Verdict::Drop(Cause::Flood),
        "only that port"
    );
    case.pass(limits::PROOF.as_secs() + 60);
    assert_eq!(case.shield.entries(), (0, 0, 0), "all is forgotten");
}

#[test]
fn calls_come_through_whatever_else_happens() {
    let mut case = Case::new();
    let bye = b"BYE sip:blue@h SIP/2.0\r\nCall-ID: up\r\n\r\n";
    case.shield.keep_call("up", case.now);
    case.flood("192.0.2.1:5060", 500);
    for _ in 0..10 {
        case.blame("192.0.2.1:4000");
    }
    assert_eq!(case.send("192.0.2.1:5060", INVITE), Verdict::Drop(Cause::Banned));
    assert_eq!(case.send("192.0.2.1:5060", bye), Verdict::OfCall);
    assert_eq!(
        case.send("203.0.113.5:9", bye),
        Verdict::OfCall,
        "a NAT may change the address"
    );
    // Who knows the Call-ID cannot flood with it either.
    let through = (0..1_000)
        .filter(|_| case.send("203.0.113.5:9", bye) == Verdict::OfCall)
        .count();
    assert_eq!(through, 118);
    case.pass(1);
    assert_eq!(case.send("192.0.2.1:5060", bye), Verdict::OfCall);
    // Over, and then forgotten.
    case.pass(41);
    assert_eq!(case.send("192.0.2.1:5060", bye), Verdict::Drop(Cause::Banned));
}

#[test]
fn wrong_passwords_bring_a_ban_that_ends() {
    let mut case = Case::new();
    for _ in 0..5 {
        case.blame("192.0.2.1:5060");
        assert_eq!(case.send("192.0.2.1:5060", INVITE), Verdict::New);
    }
    assert_eq!(case.connect("192.0.2.1"), Ok(()));
    case.blame("192.0.2.1:5060");
    case.blame("192.0.2.1:5060");
    case.pass(1);
    assert_eq!((case.shield.bans(), case.shield.banned()), (1, 1));
    assert_eq!(case.send("192.0.2.1:7777", INVITE), Verdict::Drop(Cause::Banned));
    assert_eq!(case.connect("192.0.2.1"), Err(Cause::Banned));
    assert_eq!(case.send("192.0.2.2:5060", INVITE), Verdict::New);
    case.pass(60);
    assert_eq!(case.send("192.0.2.1:5060", INVITE), Verdict::New);
    assert_eq!(case.shield.banned(), 0);
    for _ in 0..50 {
        case.blame("10.0.0.1:5060");
    }
    assert_eq!(case.send("10.0.0.1:5060", INVITE), Verdict::New, "trusted");
}

/// Found in review: who had an account of their own proved the port that they guessed from again and again.
#[test]
fn a_ban_lets_nobody_prove_a_port_again() {
    let mut case = Case::new();
    let (guesser, neighbour) = ("192.0.2.1:5060", "192.0.2.1:5070");
    case.prove(guesser);
    case.prove(neighbour);
    for _ in 0..6 {
        case.blame(guesser);
    }
    assert_eq!(case.send(guesser, INVITE), Verdict::Drop(Cause::Banned));
    case.prove(guesser);
    assert_eq!(case.send(guesser, INVITE), Verdict::Drop(Cause::Banned));
    // Who shares the address and proved a port before goes on, and stays proven.
    assert_eq!(case.send(neighbour, INVITE), Verdict::New);
    case.pass(1);
    case.prove(neighbour);
    assert_eq!(case.send(neighbour, INVITE), Verdict::New);
    case.pass(60);
    case.prove(guesser);
    assert_eq!(case.flood(guesser, 100), 100, "the ban is over");
}

/// Found in review: thousands of ports, proven in advance by one account, were as many guesses during a ban.
#[test]
fn ports_proven_in_advance_are_few_guesses_during_a_ban() {
    let mut case = Case::new();
    let port = |n: u16| SocketAddr::new("192.0.2.1".parse().unwrap(), n);
    case.shield.prove(port(5060), Some("ann"), case.now);
    for n in 10_000..14_000 {
        case.shield.prove(port(n), Some("mallory"), case.now);
    }
    for _ in 0..6 {
        case.blame("192.0.2.1:4000");
    }
    let guesses = (10_000..14_000)
        .filter(|n| {
            let through = case.shield.new_request(port(*n), case.now) == Verdict::New;
            case.shield.blame(port(*n), case.now);
            case.shield.prove(port(*n), None, case.now);
            through && case.shield.new_request(port(*n), case.now) != Verdict::New
        })
        .count();
    assert_eq!(guesses, limits::MAX_PROVEN_PER_ACCOUNT);
    assert_eq!(case.send("192.0.2.1:5060", INVITE), Verdict::New, "Ann goes on");
}

#[test]
fn connections_have_a_rate() {
    let mut case = Case::new();
    let opened = (0..1_000).filter(|_| case.connect("192.0.2.1").is_ok()).count();
    assert_eq!(opened, 300);
    assert_eq!(case.connect("192.0.2.1"), Err(Cause::Rate));
    assert_eq!(case.connect("192.0.2.2"), Ok(()));
    case.pass(1);
    assert_eq!((0..100).filter(|_| case.connect("192.0.2.1").is_ok()).count(), 20);
    assert!((0..1_000).all(|_| case.connect("10.0.0.1").is_ok()), "trusted");
}

/// A phone with a wrong password that tries twice a minute locks nobody out.
#[test]
fn a_forgotten_password_is_no_attack() {
    let mut case = Case::new();
    for _ in 0..100 {
        case.blame("192.0.2.1:5060");
        case.pass(150);
    }
    assert_eq!(case.shield.bans(), 0);
}

/// Nothing in a datagram, however bad, bans the address that stands on it.
#[test]
fn a_false_address_brings_nobody_a_ban() {
    let mut case = Case::new();
    for _ in 0..10_000 {
        case.send("192.0.2.1:5060", b"\x01garbage");
        case.send("192.0.2.1:5060", INVITE);
    }
    assert_eq!(case.shield.bans(), 0);
    case.pass(2);
    assert_eq!(case.send("192.0.2.1:5060", INVITE), Verdict::New);
    assert_eq!(
        case.send("192.0.2.1:5060", b"\r\n\r\n"),
        Verdict::Drop(Cause::KeepAlive)
    );
    assert_eq!(
        case.send("192.0.2.1:5060", b"\x01garbage"),
        Verdict::Drop(Cause::Garbage)
    );
}

/// What a false address may cost others is a share of the strangers' limit, never a place in the table.
#[test]
fn false_addresses_push_nobody_out() {
    let mut case = Case::new();
    for _ in 0..6 {
        case.blame("192.0.2.1:5060");
    }
    for n in 0..100_000_u32 {
        let address = SocketAddr::new(IpAddr::V4((0x4000_0000 + n).into()), 5060);
        case.shield.datagram(address, INVITE, case.now);
    }
    let (_, _, sources) = case.shield.entries();
    assert!(sources <= 201, "{sources}: what the strangers' limit let through");
    assert_eq!(case.send("192.0.2.1:5060", INVITE), Verdict::Drop(Cause::Banned));
    for _ in 0..6 {
        case.blame("192.0.2.2:5060");
    }
    assert_eq!(case.send("192.0.2.2:5060", INVITE), Verdict::Drop(Cause::Banned));
}

/// A table full of addresses that were wrong once: who guesses is banned, and who was banned stays so.
#[test]
fn a_full_table_bans_on() {
    let mut case = Case::new();
    for _ in 0..6 {
        case.blame("192.0.2.1:5060");
    }
    let full = u32::try_from(limits::MAX_SOURCES).unwrap();
    for n in 0..full + 100 {
        let address = SocketAddr::new(IpAddr::V4((0x4000_0000 + n).into()), 5060);
        case.shield.blame(address, case.now);
    }
    assert_eq!(case.shield.entries().2, limits::MAX_SOURCES);
    for _ in 0..6 {
        case.blame("192.0.2.2:5060");
    }
    for banned in ["192.0.2.1:5060", "192.0.2.2:5060"] {
        assert_eq!(
            case.send(banned, INVITE),
            Verdict::Drop(Cause::Banned),
            "{banned}"
        );
    }
    assert_eq!(case.shield.entries().2, limits::MAX_SOURCES);
}

#[test]
fn the_tables_are_bounded() {
    let mut case = Case::new();
    for n in 0..70_000_u32 {
        let address = SocketAddr::new(IpAddr::V4((0x4000_0000 + n).into()), 5060);
        case.shield.datagram(address, INVITE, case.now);
        if n < 16_500 {
            case.shield.blame(address, case.now);
        }
        case.shield.prove(address, None, case.now);
        case.shield.keep_call(&n.to_string(), case.now);
    }
    let full = (limits::MAX_CALLS, limits::MAX_PROVEN, limits::MAX_SOURCES);
    assert_eq!(case.shield.entries(), full);
    let fresh = Verdict::Drop(Cause::Flood);
    assert_eq!(
        case.send("192.0.2.1:5060", INVITE),
        fresh,
        "no room: counted with all strangers"
    );
    case.pass(limits::PROOF.as_secs() + 60);
    assert_eq!(case.shield.entries(), (0, 0, 0));
}
