//! Writing the document in the order of the schema (RFC 4575 §6).

use super::{
    ConferenceState, Description, DisconnectionMethod, Document, EXTENSION_NAMESPACE, Endpoint,
    EndpointStatus, HostInfo, JoiningMethod, Media, MediaStatus, NAMESPACE, State, UriEntry, User,
};

impl Document {
    /// The document as UTF-8 XML. Characters that XML 1.0 cannot hold become U+FFFD.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut xml = Writer {
            text: String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"),
        };
        let version = self.version.map(|version| version.to_string());
        let attributes = [
            ("xmlns", Some(NAMESPACE)),
            ("xmlns:meet", Some(EXTENSION_NAMESPACE)),
            ("entity", Some(self.entity.as_str())),
            ("state", Some(self.state.as_str())),
            ("version", version.as_deref()),
        ];
        xml.element("conference-info", &attributes, |xml| {
            if let Some(description) = &self.description {
                write_description(xml, description);
            }
            if let Some(host) = &self.host_info {
                write_host(xml, host);
            }
            if let Some(state) = &self.conference_state {
                write_state(xml, state);
            }
            if let Some(users) = &self.users {
                xml.element("users", &[], |xml| {
                    users.iter().for_each(|user| write_user(xml, user))
                });
            }
            xml.leaf("meet:active-speaker", self.active_speaker.as_deref());
        });
        xml.text
    }
}

struct Writer {
    text: String,
}

impl Writer {
    fn element(&mut self, name: &str, attributes: &[(&str, Option<&str>)], content: impl FnOnce(&mut Self)) {
        self.text.push('<');
        self.text.push_str(name);
        for (name, value) in attributes
            .iter()
            .filter_map(|(name, value)| value.map(|value| (name, value)))
        {
            self.text.push(' ');
            self.text.push_str(name);
            self.text.push_str("=\"");
            self.escaped(value);
            self.text.push('"');
        }
        self.text.push('>');
        content(self);
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
    }

    fn leaf(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.element(name, &[], |xml| xml.escaped(value));
        }
    }

    fn number(&mut self, name: &str, value: Option<u32>) {
        self.leaf(name, value.map(|value| value.to_string()).as_deref());
    }

    fn boolean(&mut self, name: &str, value: Option<bool>) {
        self.leaf(name, value.map(|value| if value { "true" } else { "false" }));
    }

    fn escaped(&mut self, value: &str) {
        for character in value.chars() {
            match character {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                '\'' => self.text.push_str("&apos;"),
                // A reader folds bare ones together (XML 1.0 §2.11, §3.3.3).
                '\t' => self.text.push_str("&#9;"),
                '\n' => self.text.push_str("&#10;"),
                '\r' => self.text.push_str("&#13;"),
                '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => self.text.push(char::REPLACEMENT_CHARACTER),
                _ => self.text.push(character),
            }
        }
    }
}

fn write_description(xml: &mut Writer, description: &Description) {
    xml.element("conference-description", &[], |xml| {
        xml.leaf("display-text", description.display_text.as_deref());
        xml.leaf("subject", description.subject.as_deref());
        xml.leaf("free-text", description.free_text.as_deref());
        write_uris(xml, "conf-uris", &description.conf_uris);
        write_uris(xml, "service-uris", &description.service_uris);
        xml.number("maximum-user-count", description.maximum_user_count);
    });
}

fn write_host(xml: &mut Writer, host: &HostInfo) {
    xml.element("host-info", &[], |xml| {
        xml.leaf("display-text", host.display_text.as_deref());
        xml.leaf("web-page", host.web_page.as_deref());
        write_uris(xml, "uris", &host.uris);
    });
}

fn write_uris(xml: &mut Writer, name: &str, entries: &[UriEntry]) {
    if entries.is_empty() {
        return;
    }
    xml.element(name, &[], |xml| {
        for entry in entries {
            xml.element("entry", &[], |xml| {
                xml.leaf("uri", Some(&entry.uri));
                xml.leaf("display-text", entry.display_text.as_deref());
                xml.leaf("purpose", entry.purpose.as_deref());
            });
        }
    });
}

fn write_state(xml: &mut Writer, state: &ConferenceState) {
    xml.element("conference-state", &[], |xml| {
        xml.number("user-count", state.user_count);
        xml.boolean("active", state.active);
        xml.boolean("locked", state.locked);
    });
}

/// `state`, left out where it says what holds anyway.
fn state_attribute(state: State) -> (&'static str, Option<&'static str>) {
    ("state", (state != State::Full).then(|| state.as_str()))
}

fn write_user(xml: &mut Writer, user: &User) {
    xml.element(
        "user",
        &[("entity", user.entity.as_deref()), state_attribute(user.state)],
        |xml| {
            xml.leaf("display-text", user.display_text.as_deref());
            if !user.roles.is_empty() {
                xml.element("roles", &[], |xml| {
                    user.roles.iter().for_each(|role| xml.leaf("entry", Some(role)))
                });
            }
            user.endpoints
                .iter()
                .for_each(|endpoint| write_endpoint(xml, endpoint));
        },
    );
}

fn write_endpoint(xml: &mut Writer, endpoint: &Endpoint) {
    let attributes = [
        ("entity", endpoint.entity.as_deref()),
        state_attribute(endpoint.state),
    ];
    xml.element("endpoint", &attributes, |xml| {
        xml.leaf("display-text", endpoint.display_text.as_deref());
        xml.leaf("status", endpoint.status.map(EndpointStatus::as_str));
        xml.leaf(
            "joining-method",
            endpoint.joining_method.map(JoiningMethod::as_str),
        );
        if let Some(when) = &endpoint.joined_at {
            xml.element("joining-info", &[], |xml| xml.leaf("when", Some(when)));
        }
        let gone = endpoint.disconnection_method.map(DisconnectionMethod::as_str);
        xml.leaf("disconnection-method", gone);
        endpoint.media.iter().for_each(|media| write_media(xml, media));
    });
}

fn write_media(xml: &mut Writer, media: &Media) {
    xml.element("media", &[("id", Some(&media.id))], |xml| {
        xml.leaf("display-text", media.display_text.as_deref());
        xml.leaf("type", media.media_type.as_deref());
        xml.leaf("label", media.label.as_deref());
        xml.leaf("src-id", media.src_id.as_deref());
        xml.leaf("status", media.status.map(MediaStatus::as_str));
        xml.boolean("meet:muted", media.muted);
    });
}
