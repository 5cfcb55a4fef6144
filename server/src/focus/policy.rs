//! Pure decisions: which sources `--lan` admits, what a request URI means, what digits mean.
//!
//! Nothing here has state or knows a message; each function is a table that a test can walk.

use std::net::IpAddr;

use sip_proto::message::Method;

use super::names::RoomName;

/// The methods that the server takes: Allow, in the endpoint's configuration and in answers.
pub const ALLOWED_METHODS: &[Method] = &[
    Method::Invite,
    Method::Ack,
    Method::Bye,
    Method::Cancel,
    Method::Options,
    Method::Register,
    Method::Update,
    Method::Prack,
    Method::Info,
    Method::Subscribe,
];

/// Whether a source belongs to the local network: loopback, RFC 1918, link-local
/// (169.254/16, fe80::/10) and ULA (fc00::/7). An IPv4-mapped address is judged as IPv4.
pub fn is_local_source(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unique_local(),
    }
}

/// What a request URI asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// No user part: the server itself.
    Server,
    /// The conference factory, with the name that is wanted.
    Factory {
        /// The URI parameter `room`, as it came.
        wanted: Option<String>,
    },
    /// A room.
    Room(RoomName),
    /// A user part that can be no room's name.
    Other,
}

/// What a digit code does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DigitAction {
    /// Mute yourself, or end the mute.
    ToggleMute,
    /// End the meeting for everybody; the creator only.
    EndMeeting,
}

/// The digit codes; documented in `server/docs/dtmf.md`. No code is the end of another one.
pub const DIGIT_CODES: &[(&str, DigitAction)] =
    &[("*6", DigitAction::ToggleMute), ("*0#", DigitAction::EndMeeting)];

/// Reads a user part (escapes decoded) and the URI parameter `room`.
pub fn target(user: Option<&str>, wanted: Option<&str>, factory_user: &str) -> Target {
    match user {
        None | Some("") => Target::Server,
        Some(user) if user.eq_ignore_ascii_case(factory_user) => Target::Factory {
            wanted: wanted.map(str::to_owned),
        },
        Some(user) => RoomName::parse(user).map_or(Target::Other, Target::Room),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lan_filter_matrix() {
        let local = [
            "127.0.0.1",
            "127.255.0.9",
            "10.0.0.1",
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.254",
            "192.168.0.1",
            "169.254.1.1",
            "::1",
            "fe80::1",
            "febf::1",
            "fc00::1",
            "fdff::1",
            "::ffff:192.168.1.1",
            "::ffff:127.0.0.1",
        ];
        let foreign = [
            "8.8.8.8",
            "172.15.255.255",
            "172.32.0.1",
            "192.167.1.1",
            "192.169.0.1",
            "11.0.0.1",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "169.253.1.1",
            "::",
            "2001:db8::1",
            "2a00::1",
            "fec0::1",
            "ff02::1",
            "::ffff:8.8.8.8",
            "fbff::1",
        ];
        for text in local {
            assert!(is_local_source(text.parse().unwrap()), "{text}");
        }
        for text in foreign {
            assert!(!is_local_source(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn targets() {
        let room = |n: &str| Target::Room(RoomName::parse(n).unwrap());
        assert_eq!(target(None, None, "create"), Target::Server);
        assert_eq!(
            target(Some("create"), None, "create"),
            Target::Factory { wanted: None }
        );
        assert_eq!(
            target(Some("Create"), Some("x"), "create"),
            Target::Factory {
                wanted: Some("x".into())
            }
        );
        assert_eq!(target(Some("Blue"), None, "create"), room("blue"));
        assert_eq!(target(Some("a b"), None, "create"), Target::Other);
    }

    #[test]
    fn no_code_hides_another() {
        for (i, (a, _)) in DIGIT_CODES.iter().enumerate() {
            for (j, (b, _)) in DIGIT_CODES.iter().enumerate() {
                assert!(i == j || !a.ends_with(b), "{a} ends with {b}");
            }
        }
    }
}
