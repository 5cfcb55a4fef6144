//! Who this program is to a SIP server: names, addresses, credentials; and the registration of it.
//!
//! Deliberately absent: where the server's address comes from (the driver resolves names) and the storage of
//! passwords.

mod keepalive;
mod registration;

pub use keepalive::{Beat, KeepAlive};
pub use registration::{Registration, RegistrationOutcome, Step};

use sip_proto::digest::Credentials;
use sip_proto::headers::NameAddr;
use sip_proto::uri::{Host, Uri};

/// The user part of the conference factory's URI (RFC 4579 §5.2).
const FACTORY: &str = "create";

/// An identity at one server.
#[derive(Debug, Clone)]
pub struct Account {
    /// Name that others see.
    pub display: String,
    /// User part of the address of record.
    pub user: String,
    /// Host of the server as the user wrote it.
    pub host: Host,
    /// Port of the server, where it is not the standard one.
    pub port: Option<u16>,
    /// `tcp` where the server is reached by a stream.
    pub transport: Option<&'static str>,
    /// What 401 and 407 are answered with.
    pub credentials: Option<Credentials>,
}

impl Account {
    /// An identity with an account.
    pub fn with_login(display: &str, user: &str, password: &str, host: Host, port: Option<u16>) -> Self {
        let credentials = (!password.is_empty()).then(|| Credentials {
            realm: None,
            user: user.to_owned(),
            password: password.to_owned(),
        });
        Self {
            display: display.to_owned(),
            user: user.to_owned(),
            host,
            port,
            transport: None,
            credentials,
        }
    }

    /// An identity without an account. The user part is made from the name; `unique` tells two people of one
    /// name apart in a roster and is left out where others must be able to dial it.
    pub fn guest(display: &str, unique: Option<u16>, host: Host, port: Option<u16>) -> Self {
        let mut user = slug(display);
        if let Some(number) = unique {
            user.push_str(&format!("-{number:04x}"));
        }
        Self {
            display: display.to_owned(),
            user,
            host,
            port,
            transport: None,
            credentials: None,
        }
    }

    /// The address of record.
    pub fn aor(&self) -> Uri {
        Uri::sip(&self.user, self.host.clone(), self.port)
    }

    /// What stands in From.
    pub fn from(&self) -> NameAddr {
        NameAddr::new(self.aor()).with_display(self.display.clone())
    }

    /// The address of the server itself, for OPTIONS and REGISTER.
    pub fn server(&self) -> Uri {
        self.by_transport(Uri::sip("", self.host.clone(), self.port))
    }

    /// The address of a meeting on the server.
    pub fn room(&self, name: &str) -> Uri {
        self.by_transport(Uri::sip(name, self.host.clone(), self.port))
    }

    /// The conference factory's address, with the name that is wanted.
    pub fn factory(&self, name: Option<&str>) -> Uri {
        let mut uri = self.room(FACTORY);
        if let Some(name) = name {
            uri.params.set("room", name);
        }
        uri
    }

    fn by_transport(&self, mut uri: Uri) -> Uri {
        if let Some(transport) = self.transport {
            uri.params.set("transport", transport);
        }
        uri
    }
}

/// A user part out of a display name: lower-case letters, digits and hyphens.
fn slug(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
        if out.len() >= 32 {
            break;
        }
    }
    let trimmed = out.trim_end_matches('-');
    if trimmed.is_empty() {
        "guest".to_owned()
    } else {
        trimmed.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        "192.0.2.7".parse().unwrap()
    }

    #[test]
    fn addresses_of_meetings() {
        let mut account = Account::guest("Ada Lovelace", None, host(), Some(5070));
        assert_eq!(account.aor().to_string(), "sip:ada-lovelace@192.0.2.7:5070");
        assert_eq!(
            account.factory(Some("standup")).to_string(),
            "sip:create@192.0.2.7:5070;room=standup"
        );
        account.transport = Some("tcp");
        assert_eq!(
            account.room("standup").to_string(),
            "sip:standup@192.0.2.7:5070;transport=tcp"
        );
        assert_eq!(account.server().to_string(), "sip:192.0.2.7:5070;transport=tcp");
        assert_eq!(
            account.from().to_string(),
            "\"Ada Lovelace\" <sip:ada-lovelace@192.0.2.7:5070>"
        );
    }

    #[test]
    fn any_name_makes_a_user_part() {
        assert_eq!(slug("  Zoë  Ö. "), "zo");
        assert_eq!(slug("李"), "guest");
        assert_eq!(slug(""), "guest");
        assert_eq!(Account::guest("bob", Some(0xab), host(), None).user, "bob-00ab");
        assert!(slug(&"x".repeat(500)).len() <= 32);
    }

    #[test]
    fn no_password_means_no_credentials() {
        assert!(
            Account::with_login("a", "a", "", host(), None)
                .credentials
                .is_none()
        );
        let account = Account::with_login("a", "a", "secret", host(), None);
        assert!(
            !format!("{account:?}").contains("\"secret\""),
            "a password must not be printable"
        );
    }
}
