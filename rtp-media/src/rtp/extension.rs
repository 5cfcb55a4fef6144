//! RTP header extension elements (RFC 8285) and the audio level in them (RFC 6464).
//!
//! Here is the reading; [`super::write_header_with`] writes one element. Deliberately absent: the mapping of ids to names, which SDP negotiates
//! (`a=extmap`), and which the caller holds.

/// Profile number of one-byte elements (RFC 8285 §4.2).
pub(crate) const ONE_BYTE: u16 = 0xbede;
/// Profile number of two-byte elements without its low four "appbits" (RFC 8285 §4.3).
const TWO_BYTE: u16 = 0x1000;

/// One element: its negotiated id and its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// Local identifier, 1–14 or 1–255.
    pub id: u8,
    /// Data, may be empty in the two-byte form.
    pub data: &'a [u8],
}

/// Iterates over the elements of one header extension; stops at the first that does not fit.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    rest: &'a [u8],
    two_byte: bool,
}

impl<'a> Elements<'a> {
    /// Elements of the extension with this profile number; none if the profile is not RFC 8285's.
    #[must_use]
    pub const fn new(profile: u16, bytes: &'a [u8]) -> Self {
        if profile == ONE_BYTE {
            Self {
                rest: bytes,
                two_byte: false,
            }
        } else if profile & 0xfff0 == TWO_BYTE {
            Self {
                rest: bytes,
                two_byte: true,
            }
        } else {
            Self::none()
        }
    }

    /// No elements.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            rest: &[],
            two_byte: false,
        }
    }

    /// The data of the first element with this id.
    #[must_use]
    pub fn find(mut self, id: u8) -> Option<&'a [u8]> {
        self.find_map(|element| (element.id == id).then_some(element.data))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            let (&first, rest) = self.rest.split_first()?;
            self.rest = rest;
            // RFC 8285 §4.1.2: a zero byte between elements is padding, in both forms.
            if first == 0 {
                continue;
            }
            let (id, length) = if self.two_byte {
                let (&length, rest) = self.rest.split_first()?;
                self.rest = rest;
                (first, usize::from(length))
            } else {
                let id = first >> 4;
                // RFC 8285 §4.2: id 15 ends the processing; id 0 with a length is malformed, so it ends too.
                if id == 15 || id == 0 {
                    self.rest = &[];
                    return None;
                }
                (id, usize::from(first & 0x0f) + 1)
            };
            let Some((data, rest)) = self.rest.split_at_checked(length) else {
                self.rest = &[];
                return None;
            };
            self.rest = rest;
            return Some(Element { id, data });
        }
    }
}

/// The client-to-mixer audio level (RFC 6464 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// The sender believes that the packet holds voice.
    pub voice: bool,
    /// Level in −dBov: 0 is the loudest, 127 is digital silence.
    pub minus_dbov: u8,
}

impl AudioLevel {
    /// Reads the element's data: one byte, or two in the two-byte form's padded variant.
    #[must_use]
    pub const fn parse(data: &[u8]) -> Option<Self> {
        match data {
            &[byte] | &[byte, 0] => Some(Self {
                voice: byte & 0x80 != 0,
                minus_dbov: byte & 0x7f,
            }),
            _ => None,
        }
    }

    /// The element's data for a level in dB of full scale.
    #[must_use]
    pub fn byte(level_db: f32, voice: bool) -> u8 {
        // A float-to-integer `as` saturates, and takes NaN to 0.
        u8::from(voice) << 7 | (-level_db).round().clamp(0.0, 127.0) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_byte_elements_with_padding() {
        let bytes = [0x10, 0xaa, 0x00, 0x00, 0x31, 0x01, 0x02, 0x00];
        let elements: Vec<_> = Elements::new(0xbede, &bytes).collect();
        assert_eq!(
            elements,
            [Element { id: 1, data: &[0xaa] }, Element { id: 3, data: &[1, 2] }]
        );
        assert_eq!(Elements::new(0xbede, &bytes).find(3), Some(&[1, 2][..]));
    }

    #[test]
    fn two_byte_elements_may_be_empty() {
        let bytes = [0x01, 0x00, 0x20, 0x02, 0xaa, 0xbb, 0x00, 0x00];
        let elements: Vec<_> = Elements::new(0x1005, &bytes).collect();
        assert_eq!(
            elements,
            [
                Element { id: 1, data: &[] },
                Element {
                    id: 32,
                    data: &[0xaa, 0xbb]
                }
            ]
        );
    }

    #[test]
    fn malformed_elements_end_the_list() {
        assert_eq!(
            Elements::new(0xbede, &[0x13, 1, 2]).count(),
            0,
            "length beyond the end"
        );
        assert_eq!(
            Elements::new(0xbede, &[0x10, 1, 0xf0, 1, 0x20, 1]).count(),
            1,
            "id 15 stops"
        );
        assert_eq!(Elements::new(0x1000, &[5]).count(), 0, "no length byte");
        assert_eq!(Elements::new(0x1234, &[0x10, 1]).count(), 0, "another profile");
    }

    #[test]
    fn audio_level_of_rfc_6464() {
        assert_eq!(
            AudioLevel::parse(&[0x80 | 42]),
            Some(AudioLevel {
                voice: true,
                minus_dbov: 42
            })
        );
        assert_eq!(
            AudioLevel::parse(&[127]),
            Some(AudioLevel {
                voice: false,
                minus_dbov: 127
            })
        );
        assert_eq!(AudioLevel::parse(&[]), None);
        assert_eq!(AudioLevel::parse(&[1, 2, 3]), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(profile: u16, bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            for profile in [profile, 0xbede, 0x1000] {
                prop_assert!(Elements::new(profile, &bytes).count() <= bytes.len());
            }
        }
    }
}
