//! The conference's state as a document: `application/conference-info+xml` (RFC 4575).
//!
//! [`Document::to_xml`] writes the elements in the order of the schema in RFC 4575 §6, [`Document::parse`]
//! reads any order, any prefix, and passes over what it does not know.
//!
//! What Meet adds stands in the namespace `urn:meet:conference`, only where the schema has room for other
//! namespaces, so that other subscribers pass over it:
//!
//! - `<active-speaker>` at the end of `<conference-info>`: the `entity` of the user who speaks now. Missing when
//!   nobody speaks.
//! - `<muted>` at the end of `<media>`: `true` when the participant's own audio is not heard because somebody
//!   muted it, `false` when it can be heard. Missing where nobody knows. (RFC 4575's `muted-via-focus` exists
//!   too, but it replaces the endpoint's `connected` and holds for all media.)
//!
//! Deliberately absent: sidebars, languages, `cascaded-focus`, `available-media`, `call-info` and partial
//! updates (the attribute `state` is there, applying a partial document is not).

mod parse;
mod write;

pub use parse::{MAX_ATTRIBUTES, MAX_BYTES, MAX_DEPTH, ParseError};

/// The content type of the document.
pub const CONTENT_TYPE: &str = "application/conference-info+xml";

/// The namespace of RFC 4575.
pub const NAMESPACE: &str = "urn:ietf:params:xml:ns:conference-info";

/// The namespace of Meet's additions.
pub const EXTENSION_NAMESPACE: &str = "urn:meet:conference";

/// A whole document: `<conference-info>` (RFC 4575 §5.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// The conference's URI.
    pub entity: String,
    /// Whether this is all there is.
    pub state: State,
    /// Grows by one with each document of a subscription.
    pub version: Option<u32>,
    /// What the conference is about.
    pub description: Option<Description>,
    /// Who hosts it.
    pub host_info: Option<HostInfo>,
    /// How it is going.
    pub conference_state: Option<ConferenceState>,
    /// Who takes part; `None` when the document does not say.
    pub users: Option<Vec<User>>,
    /// Extension: the `entity` of the user who speaks now.
    pub active_speaker: Option<String>,
}

/// `<conference-description>` (RFC 4575 §5.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// A name to show.
    pub display_text: Option<String>,
    /// What it is about.
    pub subject: Option<String>,
    /// More about it.
    pub free_text: Option<String>,
    /// Other URIs of the conference.
    pub conf_uris: Vec<UriEntry>,
    /// URIs of services around it, such as a web page.
    pub service_uris: Vec<UriEntry>,
    /// How many may take part.
    pub maximum_user_count: Option<u32>,
}

/// `<host-info>` (RFC 4575 §5.4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostInfo {
    /// A name to show.
    pub display_text: Option<String>,
    /// The host's page.
    pub web_page: Option<String>,
    /// The host's URIs.
    pub uris: Vec<UriEntry>,
}

/// One `<entry>` of a list of URIs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UriEntry {
    /// The URI.
    pub uri: String,
    /// A name to show.
    pub display_text: Option<String>,
    /// What it is for (`participation`, `web-page` …).
    pub purpose: Option<String>,
}

/// `<conference-state>` (RFC 4575 §5.5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConferenceState {
    /// How many take part, also those not listed.
    pub user_count: Option<u32>,
    /// Whether the conference has begun.
    pub active: Option<bool>,
    /// Whether nobody else may join.
    pub locked: Option<bool>,
}

/// `<user>` (RFC 4575 §5.6).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The user's URI; the key in `<users>`.
    pub entity: Option<String>,
    /// Whether this is all there is, or the user is gone.
    pub state: State,
    /// A name to show.
    pub display_text: Option<String>,
    /// `moderator`, `participant` …
    pub roles: Vec<String>,
    /// The devices that the user takes part with.
    pub endpoints: Vec<Endpoint>,
}

/// `<endpoint>` (RFC 4575 §5.7).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The device's URI; the key in `<user>`.
    pub entity: Option<String>,
    /// Whether this is all there is, or the endpoint is gone.
    pub state: State,
    /// A name to show.
    pub display_text: Option<String>,
    /// How far its call is.
    pub status: Option<EndpointStatus>,
    /// How it came in.
    pub joining_method: Option<JoiningMethod>,
    /// When it came in (`xs:dateTime`).
    pub joined_at: Option<String>,
    /// How it went.
    pub disconnection_method: Option<DisconnectionMethod>,
    /// Its media.
    pub media: Vec<Media>,
}

/// `<media>` (RFC 4575 §5.8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Media {
    /// The key in `<endpoint>`.
    pub id: String,
    /// A name to show.
    pub display_text: Option<String>,
    /// `audio`, `video` …
    pub media_type: Option<String>,
    /// The `a=label` of the stream (RFC 4574).
    pub label: Option<String>,
    /// For RTP the SSRC, in decimal.
    pub src_id: Option<String>,
    /// The direction as seen by the participant.
    pub status: Option<MediaStatus>,
    /// Extension: whether the participant's own stream is muted.
    pub muted: Option<bool>,
}

/// Declares an enumeration of the schema with its texts.
macro_rules! schema_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// The text in the document.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The value of that text, if the schema has it.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

schema_enum! {
    /// `state-type`: how the element relates to what was told before (RFC 4575 §5.1).
    #[derive(Default)]
    State {
        /// All there is; what holds where nothing is written.
        #[default]
        Full = "full",
        /// A change to what is known.
        Partial = "partial",
        /// Gone.
        Deleted = "deleted",
    }
}

schema_enum! {
    /// `endpoint-status-type` (RFC 4575 §5.7).
    EndpointStatus {
        /// On its way.
        Pending = "pending",
        /// The focus calls it.
        DialingOut = "dialing-out",
        /// It calls the focus.
        DialingIn = "dialing-in",
        /// It rings.
        Alerting = "alerting",
        /// On hold.
        OnHold = "on-hold",
        /// Taking part.
        Connected = "connected",
        /// Taking part, muted by the focus.
        MutedViaFocus = "muted-via-focus",
        /// On its way out.
        Disconnecting = "disconnecting",
        /// Gone.
        Disconnected = "disconnected",
    }
}

schema_enum! {
    /// `joining-type` (RFC 4575 §5.7).
    JoiningMethod {
        /// It called.
        DialedIn = "dialed-in",
        /// It was called.
        DialedOut = "dialed-out",
        /// It is the focus itself.
        FocusOwner = "focus-owner",
    }
}

schema_enum! {
    /// `disconnection-type` (RFC 4575 §5.7).
    DisconnectionMethod {
        /// It left.
        Departed = "departed",
        /// It was removed.
        Booted = "booted",
        /// Its call failed.
        Failed = "failed",
        /// It was busy.
        Busy = "busy",
    }
}

schema_enum! {
    /// `media-status-type` (RFC 4575 §5.8).
    MediaStatus {
        /// The participant only receives.
        RecvOnly = "recvonly",
        /// The participant only sends.
        SendOnly = "sendonly",
        /// Both.
        SendRecv = "sendrecv",
        /// Neither.
        Inactive = "inactive",
    }
}

#[cfg(test)]
mod tests;
