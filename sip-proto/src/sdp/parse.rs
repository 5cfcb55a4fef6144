//! Reading a description. Line ends may be CRLF, LF or CR LF mixed, and the last may be missing; blank lines at
//! the end are nothing, and so are NULs that end a text as in C; within it they are refused (RFC 8866 §9). Text that is not UTF-8 is read with the replacement character.

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
        if line.contains('\0') {
            return Err(SdpErrorKind::Nul);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;

    const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 192.0.2.1\r\ns=-\r\n";

    fn fails(text: &str, line: usize, kind: SdpErrorKind) {
        assert_eq!(parse(text.as_bytes()), Err(SdpError { line, kind }), "{text}");
    }

    #[test]
    fn everything_comes_back_in_order() {
        let text = "v=0\r\no=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r\ns=Call to John Smith\r\n\
            i=SDP Offer #1\r\nu=http://www.example.org/x\r\ne=Jane <jane@example.org>\r\np=+1 617 555-6011\r\n\
            c=IN IP4 198.51.100.1\r\nb=AS:128\r\nb=X-odd:many\r\nt=0 0\r\nr=7d 1h 0 25h\r\nz=2882844526 -1h\r\n\
            k=clear:x\r\na=tool:own, made\r\na=empty:\r\na=flag\r\ny=unknown line\r\n\
            m=audio 49170/2 RTP/AVP 0\r\ni=title\r\nc=IN IP4 233.252.0.1/127/3\r\na=x-new:1:2:3 \r\n\
            m=video 0 RTP/AVP 99\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:5000\r\n";
        let description = parse(text.as_bytes()).unwrap();
        assert_eq!(description.to_string(), text);
        assert_eq!(description.media[0].port_count, Some(2));
        assert_eq!(description.bandwidths().count(), 1);
        let bare = text.replace("\r\n", "\n");
        assert_eq!(parse(bare.as_bytes()).unwrap(), description);
        assert_eq!(parse(bare.trim_end().as_bytes()).unwrap(), description);
        assert_eq!(parse(format!("{bare}\r\n\n").as_bytes()).unwrap(), description);
    }

    #[test]
    fn errors_name_the_line() {
        fails("", 1, SdpErrorKind::Version);
        fails("v=1\r\n", 1, SdpErrorKind::Version);
        fails("o=- 1 2 IN IP4 192.0.2.1\r\n", 1, SdpErrorKind::Version);
        fails("v=0\n", 2, SdpErrorKind::Missing('o'));
        fails("v=0\no=- 1 2 IN IP4\n", 2, SdpErrorKind::Origin);
        fails("v=0\no=- one 2 IN IP4 192.0.2.1\n", 2, SdpErrorKind::Origin);
        for (line, kind) in [
            ("v=0", SdpErrorKind::Repeated('v')),
            ("s=again", SdpErrorKind::Repeated('s')),
            ("o=- 1 2 IN IP4 192.0.2.1", SdpErrorKind::Repeated('o')),
            ("audio", SdpErrorKind::NotALine),
            ("", SdpErrorKind::NotALine),
            ("é=1", SdpErrorKind::NotALine),
            ("c=IN IP4", SdpErrorKind::Connection),
            ("c=IN IP4 192.0.2.1 extra", SdpErrorKind::Connection),
            ("m=audio 5000 RTP/AVP", SdpErrorKind::Media),
            ("m=audio 65536 RTP/AVP 0", SdpErrorKind::Media),
            ("m=audio -1 RTP/AVP 0", SdpErrorKind::Media),
            ("m=audio 5000/x RTP/AVP 0", SdpErrorKind::Media),
            ("m=", SdpErrorKind::Media),
            ("a=", SdpErrorKind::Attribute),
            ("a=:value", SdpErrorKind::Attribute),
        ] {
            fails(&format!("{HEAD}t=0 0\r\n{line}\r\na=x\r\n"), 5, kind);
        }
        assert_eq!(
            SdpError {
                line: 5,
                kind: SdpErrorKind::Media
            }
            .to_string(),
            "SDP line 5: m= is not of the form media port protocol formats"
        );
    }

    #[test]
    fn limits_hold() {
        let many = |line: &str, count: usize| format!("{HEAD}{}", line.repeat(count));
        fails(
            &many("a=x\n", MAX_LINES - 2),
            MAX_LINES + 1,
            SdpErrorKind::TooManyLines,
        );
        assert!(parse(many("a=x\n", MAX_LINES - 3).as_bytes()).is_ok());
        fails(
            &many("m=a 1 x 1\n", MAX_MEDIA + 1),
            MAX_MEDIA + 4,
            SdpErrorKind::TooManyMedia,
        );
        let formats = " 0".repeat(MAX_FORMATS);
        assert!(parse(format!("{HEAD}m=audio 1 RTP/AVP{formats}\n").as_bytes()).is_ok());
        fails(
            &format!("{HEAD}m=audio 1 RTP/AVP{formats} 0\n"),
            4,
            SdpErrorKind::TooManyFormats,
        );
        let long = format!("{HEAD}a=x:{}\n", "y".repeat(MAX_BYTES));
        fails(&long, 1, SdpErrorKind::TooLong);
        assert_eq!(parse(long.as_bytes()).unwrap_err().fault(), Fault::Limit);
        assert_eq!(parse(b"").unwrap_err().fault(), Fault::Peer);
    }

    #[test]
    fn tolerated_against_the_letter() {
        // No s=, a user name with spaces, numbers beyond 64 bits, Latin-1 in the name, surplus spaces.
        let text = b"v=0 \no=Jos\xe9  M 99999999999999999999999 0 IN IP4 192.0.2.1\nt=0 0\nm=audio  5000 RTP/AVP  0 \n";
        let description = parse(text).unwrap();
        assert_eq!(description.origin.username, "Jos\u{fffd} M");
        assert_eq!(description.name, "-");
        assert_eq!(description.media[0].to_string(), "m=audio 5000 RTP/AVP 0\r\n");
    }

    #[test]
    fn typed_views() {
        let description = parse(
            format!(
                "{HEAD}a=group:BUNDLE 0 1\na=group\nb=AS:50\nm=audio 5000 RTP/AVP 18 0 0 x 300\na=MID: 0 \n\
                 a=RTPMAP:18 G729/8000\na=fmtp:18 annexb=no\na=ptime: 20\na=maxptime:300\nb=TIAS:64000\nb=AS:80\n\
                 m=video 5002 RTP/AVP 18\na=rtpmap:18\na=mid:\n"
            )
            .as_bytes(),
        )
        .unwrap();
        let groups: Vec<_> = description.groups().collect();
        assert_eq!(
            (groups.len(), groups[0].semantics.as_str(), groups[0].mids.len()),
            (1, "BUNDLE", 2)
        );
        let audio = &description.media[0];
        assert_eq!(audio.payload_types(), [18, 0]);
        assert_eq!(audio.rtpmap(18).unwrap().encoding, "G729");
        assert_eq!(audio.rtpmap(0).unwrap().encoding, "PCMU");
        assert_eq!(audio.rtpmap(96), None);
        assert_eq!(audio.fmtp(18).unwrap().get("annexb"), Some("no"));
        assert_eq!(
            (audio.ptime(), audio.maxptime(), audio.mid()),
            (Some(20), None, Some("0"))
        );
        assert_eq!(description.bandwidth_of(audio), Some(64_000));
        // The number 18 means nothing in the video line, whatever it means for audio.
        let video = &description.media[1];
        assert_eq!((video.rtpmap(18), video.mid()), (None, None));
        assert_eq!(description.bandwidth_of(video), Some(50_000));
    }
}
