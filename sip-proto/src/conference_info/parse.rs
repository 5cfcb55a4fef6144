//! Reading the document: first into a bounded tree, then into the model. Document type declarations, and with
//! them all entities of a document's own, are refused before anything is expanded.

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

use super::{
    ConferenceState, Description, DisconnectionMethod, Document, EXTENSION_NAMESPACE, Endpoint,
    EndpointStatus, HostInfo, JoiningMethod, Media, MediaStatus, NAMESPACE, State, UriEntry, User,
};
use crate::error::Fault;

/// Largest document read. A participant takes about 500 bytes, so this is a roster of 1,000; the tree built
/// from it takes at most some twenty times its size (one empty element every five bytes).
pub const MAX_BYTES: usize = 512 * 1024;

/// Deepest nesting read. The schema needs 8 without sidebars.
pub const MAX_DEPTH: usize = 16;

/// Most attributes of one element. Looking for repeated ones takes time by the square of their number.
pub const MAX_ATTRIBUTES: usize = 64;

/// Why a document could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// More than [`MAX_BYTES`].
    #[error("the document is larger than {MAX_BYTES} bytes")]
    TooLong,
    /// Deeper than [`MAX_DEPTH`].
    #[error("elements are nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// More than [`MAX_ATTRIBUTES`].
    #[error("an element has more than {MAX_ATTRIBUTES} attributes")]
    TooManyAttributes,
    /// Not UTF-8.
    #[error("the document is not UTF-8")]
    Encoding,
    /// Not well-formed, near this byte.
    #[error("not well-formed XML near byte {0}")]
    NotWellFormed(u64),
    /// A document type declaration.
    #[error("a document type declaration is not allowed")]
    DocumentType,
    /// An entity that XML does not define itself.
    #[error("an unknown entity")]
    Entity,
    /// The root is not `<conference-info>` of RFC 4575's namespace with an entity.
    #[error("not a conference-info document")]
    NotConferenceInfo,
}

impl ParseError {
    /// Who is to blame.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::TooLong | Self::TooDeep | Self::TooManyAttributes => Fault::Limit,
            _ => Fault::Peer,
        }
    }
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// It is not well-formed, not a conference-info document, or over a limit. Elements that are unknown, and
    /// values that the schema does not have, are passed over.
    pub fn parse(xml: &[u8]) -> Result<Self, ParseError> {
        let root = tree(xml)?;
        if root.space != Space::Conference || root.name != "conference-info" {
            return Err(ParseError::NotConferenceInfo);
        }
        Ok(Self {
            entity: root.attribute("entity").ok_or(ParseError::NotConferenceInfo)?,
            state: root.state(),
            version: root
                .attribute("version")
                .and_then(|text| text.trim().parse().ok()),
            description: root.child("conference-description").map(description),
            host_info: root.child("host-info").map(host_info),
            conference_state: root.child("conference-state").map(|element| ConferenceState {
                user_count: element.number("user-count"),
                active: element.boolean(Space::Conference, "active"),
                locked: element.boolean(Space::Conference, "locked"),
            }),
            users: root
                .child("users")
                .map(|users| users.all("user").map(user).collect()),
            active_speaker: root
                .find(Space::Meet, "active-speaker")
                .map(|element| element.text.clone()),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    Conference,
    Meet,
    Other,
}

struct Element {
    space: Space,
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn attribute(&self, name: &str) -> Option<String> {
        let (_, value) = self.attributes.iter().find(|(known, _)| known == name)?;
        Some(value.clone())
    }

    fn state(&self) -> State {
        self.attribute("state")
            .and_then(|text| State::from_text(text.trim()))
            .unwrap_or_default()
    }

    fn find(&self, space: Space, name: &str) -> Option<&Self> {
        self.children
            .iter()
            .find(|child| child.space == space && child.name == name)
    }

    fn child(&self, name: &str) -> Option<&Self> {
        self.find(Space::Conference, name)
    }

    fn all<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a Self> {
        self.children
            .iter()
            .filter(move |child| child.space == Space::Conference && child.name == name)
    }

    fn string(&self, name: &str) -> Option<String> {
        self.child(name).map(|child| child.text.clone())
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.value(name, |text| text.parse().ok())
    }

    /// XML Schema part 2 §3.2.2: a boolean is `true`, `false`, `1` or `0`.
    fn boolean(&self, space: Space, name: &str) -> Option<bool> {
        match self.find(space, name)?.text.trim() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }

    fn value<T>(&self, name: &str, of: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        self.child(name).and_then(|child| of(child.text.trim()))
    }
}

fn tree(xml: &[u8]) -> Result<Element, ParseError> {
    if xml.len() > MAX_BYTES {
        return Err(ParseError::TooLong);
    }
    let text = std::str::from_utf8(xml).map_err(|_| ParseError::Encoding)?;
    let mut reader = NsReader::from_str(text);
    let mut tree = Tree::default();
    loop {
        let malformed = ParseError::NotWellFormed(reader.buffer_position());
        let (space, event) = reader.read_resolved_event().map_err(|_| malformed)?;
        match event {
            Event::Start(start) => {
                tree.open(element(&space, &start, malformed)?, malformed)?;
            }
            Event::Empty(start) => {
                tree.open(element(&space, &start, malformed)?, malformed)?;
                tree.close().ok_or(malformed)?;
            }
            Event::End(_) => tree.close().ok_or(malformed)?,
            Event::Text(text) => tree.append(&text.xml10_content()).ok_or(malformed)?,
            Event::CData(text) => tree.append(&text.xml10_content()).ok_or(malformed)?,
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref() {
                    Ok(Some(character)) => character,
                    Ok(None) => predefined(&reference.xml10_content()).ok_or(ParseError::Entity)?,
                    Err(_) => return Err(malformed),
                };
                tree.append(character.encode_utf8(&mut [0; 4])).ok_or(malformed)?;
            }
            Event::DocType(_) => return Err(ParseError::DocumentType),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    match tree.root {
        Some(root) if tree.path.is_empty() => Ok(root),
        _ => Err(ParseError::NotWellFormed(xml.len() as u64)),
    }
}

/// The tree while it grows: the finished root, or the path of elements that are still open.
#[derive(Default)]
struct Tree {
    path: Vec<Element>,
    root: Option<Element>,
}

impl Tree {
    fn open(&mut self, element: Element, malformed: ParseError) -> Result<(), ParseError> {
        if self.root.is_some() {
            return Err(malformed);
        }
        if self.path.len() == MAX_DEPTH {
            return Err(ParseError::TooDeep);
        }
        self.path.push(element);
        Ok(())
    }

    fn close(&mut self) -> Option<()> {
        let element = self.path.pop()?;
        match self.path.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
        Some(())
    }

    fn append(&mut self, text: &str) -> Option<()> {
        match self.path.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return None,
        }
        Some(())
    }
}

fn element(
    space: &ResolveResult<'_>,
    start: &BytesStart<'_>,
    malformed: ParseError,
) -> Result<Element, ParseError> {
    let space = match space {
        ResolveResult::Bound(namespace) if namespace.as_ref() == NAMESPACE => Space::Conference,
        ResolveResult::Bound(namespace) if namespace.as_ref() == EXTENSION_NAMESPACE => Space::Meet,
        _ => Space::Other,
    };
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        if attributes.len() == MAX_ATTRIBUTES {
            return Err(ParseError::TooManyAttributes);
        }
        let attribute = attribute.map_err(|_| malformed)?;
        let value = attribute
            .normalized_value(quick_xml::XmlVersion::default())
            .map_err(|_| malformed)?;
        attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    let name = start.local_name().as_ref().to_owned();
    Ok(Element {
        space,
        name,
        attributes,
        text: String::new(),
        children: Vec::new(),
    })
}

/// XML 1.0 §4.6.
fn predefined(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

fn description(element: &Element) -> Description {
    Description {
        display_text: element.string("display-text"),
        subject: element.string("subject"),
        free_text: element.string("free-text"),
        conf_uris: uris(element.child("conf-uris")),
        service_uris: uris(element.child("service-uris")),
        maximum_user_count: element.number("maximum-user-count"),
    }
}

fn host_info(element: &Element) -> HostInfo {
    HostInfo {
        display_text: element.string("display-text"),
        web_page: element.string("web-page"),
        uris: uris(element.child("uris")),
    }
}

fn uris(list: Option<&Element>) -> Vec<UriEntry> {
    let entries = list.into_iter().flat_map(|list| list.all("entry"));
    entries
        .map(|entry| UriEntry {
            uri: entry.string("uri").unwrap_or_default(),
            display_text: entry.string("display-text"),
            purpose: entry.string("purpose"),
        })
        .collect()
}

fn user(element: &Element) -> User {
    let roles = element.child("roles");
    User {
        entity: element.attribute("entity"),
        state: element.state(),
        display_text: element.string("display-text"),
        roles: roles
            .into_iter()
            .flat_map(|list| list.all("entry"))
            .map(|role| role.text.clone())
            .collect(),
        endpoints: element.all("endpoint").map(endpoint).collect(),
    }
}

fn endpoint(element: &Element) -> Endpoint {
    Endpoint {
        entity: element.attribute("entity"),
        state: element.state(),
        display_text: element.string("display-text"),
        status: element.value("status", EndpointStatus::from_text),
        joining_method: element.value("joining-method", JoiningMethod::from_text),
        joined_at: element.child("joining-info").and_then(|info| info.string("when")),
        disconnection_method: element.value("disconnection-method", DisconnectionMethod::from_text),
        media: element.all("media").map(media).collect(),
    }
}

fn media(element: &Element) -> Media {
    Media {
        id: element.attribute("id").unwrap_or_default(),
        display_text: element.string("display-text"),
        media_type: element.string("type"),
        label: element.string("label"),
        src_id: element.string("src-id"),
        status: element.value("status", MediaStatus::from_text),
        muted: element.boolean(Space::Meet, "muted"),
    }
}
