//! Reading a description. Line ends may be CRLF, LF or CR LF mixed, and the last may be missing; blank lines at
//! the end are nothing. Text that is not UTF-8 is read with the replacement character.

use super::error::{SdpError, SdpErrorKind};
use super::limits::{MAX_BYTES, MAX_FORMATS, MAX_LINES, MAX_MEDIA};
use super::model::{Attribute, Bandwidth, Connection, Line, MediaDescription, Origin, SessionDescription};

/// Reads a session description (RFC 8866 §9).
///
/// # Errors
/// The first line that cannot be, by number; limits as in [`super::limits`].
pub fn parse(text: &[u8]) -> Result<SessionDescription, SdpError> {
    if text.len() > MAX_BYTES {
        return Err(SdpError {
            line: 1,
            kind: SdpErrorKind::TooLong,
        });
    }
    let text = String::from_utf8_lossy(text);
    let mut reader = Reader::default();
    let mut number = 0;
    for line in text.trim_end_matches(['\r', '\n', '\0']).split('\n') {
        number += 1;
        let line = line.strip_suffix('\r').unwrap_or(line);
        reader
            .line(line, number)
            .map_err(|kind| SdpError { line: number, kind })?;
    }
    reader.finish().map_err(|kind| SdpError {
        line: number + 1,
        kind,
    })
}

#[derive(Default)]
struct Reader {
    version: bool,
    origin: Option<Origin>,
    name: Option<String>,
    lines: Vec<Line>,
    media: Vec<MediaDescription>,
}

impl Reader {
    fn line(&mut self, line: &str, number: usize) -> Result<(), SdpErrorKind> {
        if number > MAX_LINES {
            return Err(SdpErrorKind::TooManyLines);
        }
        let mut characters = line.chars();
        let (Some(letter), Some('=')) = (characters.next(), characters.next()) else {
            return Err(if self.version {
                SdpErrorKind::NotALine
            } else {
                SdpErrorKind::Version
            });
        };
        let value = characters.as_str();
        if !self.version {
            if letter != 'v' || value.trim() != "0" {
                return Err(SdpErrorKind::Version);
            }
            self.version = true;
            return Ok(());
        }
        match letter {
            'v' => Err(SdpErrorKind::Repeated('v')),
            'o' => once(
                &mut self.origin,
                letter,
                origin(value).ok_or(SdpErrorKind::Origin)?,
            ),
            's' if self.media.is_empty() => once(&mut self.name, letter, value.to_owned()),
            'm' => {
                if self.media.len() == MAX_MEDIA {
                    return Err(SdpErrorKind::TooManyMedia);
                }
                self.media.push(media(value)?);
                Ok(())
            }
            _ => {
                let line = other(letter, value)?;
                match self.media.last_mut() {
                    Some(media) => media.lines.push(line),
                    None => self.lines.push(line),
                }
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<SessionDescription, SdpErrorKind> {
        if !self.version {
            return Err(SdpErrorKind::Version);
        }
        Ok(SessionDescription {
            origin: self.origin.ok_or(SdpErrorKind::Missing('o'))?,
            // RFC 8866 §5.3 wants a name; a phone that forgets it can still be talked to.
            name: self.name.unwrap_or_else(|| "-".to_owned()),
            lines: self.lines,
            media: self.media,
        })
    }
}

fn once<T>(place: &mut Option<T>, letter: char, value: T) -> Result<(), SdpErrorKind> {
    if place.is_some() {
        return Err(SdpErrorKind::Repeated(letter));
    }
    *place = Some(value);
    Ok(())
}

fn origin(value: &str) -> Option<Origin> {
    // A user name with spaces is against the grammar and happens: the last five words are the fixed ones.
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    let (username, rest) = words.split_at_checked(words.len().checked_sub(5)?)?;
    let [session_id, session_version, network, address_type, address] = *rest else {
        return None;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if username.is_empty() || !digits(session_id) || !digits(session_version) {
        return None;
    }
    Some(Origin {
        username: username.join(" "),
        session_id: session_id.to_owned(),
        session_version: session_version.to_owned(),
        network: network.to_owned(),
        address_type: address_type.to_owned(),
        address: address.to_owned(),
    })
}

fn media(value: &str) -> Result<MediaDescription, SdpErrorKind> {
    let mut words = value.split_ascii_whitespace();
    let (Some(media), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
        return Err(SdpErrorKind::Media);
    };
    let number = |text: &str| text.parse::<u16>().map_err(|_| SdpErrorKind::Media);
    let (port, port_count) = match port.split_once('/') {
        Some((port, count)) => (number(port)?, Some(number(count)?)),
        None => (number(port)?, None),
    };
    let formats: Vec<String> = words.by_ref().take(MAX_FORMATS).map(str::to_owned).collect();
    if words.next().is_some() {
        return Err(SdpErrorKind::TooManyFormats);
    }
    if formats.is_empty() {
        return Err(SdpErrorKind::Media);
    }
    Ok(MediaDescription {
        media: media.to_owned(),
        port,
        port_count,
        protocol: protocol.to_owned(),
        formats,
        lines: Vec::new(),
    })
}

fn other(letter: char, value: &str) -> Result<Line, SdpErrorKind> {
    match letter {
        'c' => connection(value)
            .map(Line::Connection)
            .ok_or(SdpErrorKind::Connection),
        'b' => Ok(bandwidth(value).map_or_else(|| Line::Other('b', value.to_owned()), Line::Bandwidth)),
        'a' => {
            let (name, value) = match value.split_once(':') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (value, None),
            };
            if name.trim().is_empty() {
                return Err(SdpErrorKind::Attribute);
            }
            Ok(Line::Attribute(Attribute {
                name: name.to_owned(),
                value,
            }))
        }
        letter if letter.is_ascii_alphabetic() => Ok(Line::Other(letter, value.to_owned())),
        _ => Err(SdpErrorKind::NotALine),
    }
}

fn connection(value: &str) -> Option<Connection> {
    let mut words = value.split_ascii_whitespace();
    let (network, address_type, address) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    Some(Connection {
        network: network.to_owned(),
        address_type: address_type.to_owned(),
        address: address.to_owned(),
    })
}

/// `None` where the text would not come back the same: such a line is kept as text.
fn bandwidth(value: &str) -> Option<Bandwidth> {
    let (kind, number) = value.split_once(':')?;
    let bandwidth = Bandwidth {
        kind: kind.to_owned(),
        value: number.trim().parse().ok()?,
    };
    (bandwidth.to_string() == value).then_some(bandwidth)
}
