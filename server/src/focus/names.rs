//! Names: of rooms (validated, folded, made from a subject, invented) and of people (cleaned,
//! made distinct).
//!
//! Deliberately absent: which names are taken; the callers know.

use std::collections::HashSet;
use std::fmt;

use rand_core::Rng;

use super::limits;

/// A room's name: 1 to 64 of `a-z 0-9 - _ .`, lower case, beginning with a letter or a digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomName(String);

/// Why a room's name was refused: the peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a room's name is 1 to 64 of a-z 0-9 - _ . and begins with a letter or a digit")]
pub struct BadRoomName;

impl RoomName {
    /// Validates and folds to lower case. Percent escapes must be decoded before.
    ///
    /// # Errors
    /// [`BadRoomName`].
    pub fn parse(text: &str) -> Result<Self, BadRoomName> {
        let first_fits = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
        let all_fit = text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if first_fits && all_fit && text.len() <= limits::MAX_ROOM_NAME {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(BadRoomName)
        }
    }

    /// Makes a name out of a subject: what does not fit becomes `-`. `None` if nothing is left.
    pub fn from_subject(subject: &str) -> Option<Self> {
        let mut slug = String::new();
        for c in subject.chars() {
            let c = c.to_ascii_lowercase();
            if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') {
                slug.push(c);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
            if slug.len() >= limits::MAX_ROOM_NAME - 8 {
                break;
            }
        }
        Self::parse(slug.trim_matches(|c: char| !c.is_ascii_alphanumeric())).ok()
    }

    /// Invents a readable name.
    pub fn invent(rng: &mut impl Rng) -> Self {
        let adjective = pick(ADJECTIVES, rng.next_u32());
        let noun = pick(NOUNS, rng.next_u32());
        Self(format!("{adjective}-{noun}-{}", 10 + rng.next_u32() % 90))
    }

    /// The same name with a number, for when it is taken.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Self {
        let room_for = limits::MAX_ROOM_NAME - 8;
        let stem: String = self.0.chars().take(room_for).collect();
        Self(format!("{stem}-{number}"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Cleans a text that a peer gave for display: control and direction-changing characters go,
/// white space is folded, at most `max` characters stay. `None` if nothing is left.
pub fn clean_text(text: &str, max: usize) -> Option<String> {
    let mut cleaned = String::new();
    let mut length = 0;
    for c in text.chars() {
        if length == max {
            break;
        }
        if c.is_whitespace() {
            if !cleaned.is_empty() && !cleaned.ends_with(' ') {
                cleaned.push(' ');
                length += 1;
            }
        } else if !c.is_control() && !is_invisible(c) {
            cleaned.push(c);
            length += 1;
        }
    }
    let trimmed = cleaned.trim_end();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// Makes a display name distinct among the taken ones: "Ann", "Ann (2)", "Ann (3)".
pub fn distinct(display: &str, taken: &HashSet<&str>) -> String {
    if !taken.contains(display) {
        return display.to_owned();
    }
    (2u32..)
        .map(|number| format!("{display} ({number})"))
        .find(|candidate| !taken.contains(candidate.as_str()))
        .unwrap_or_else(|| display.to_owned())
}

/// Direction overrides, zero-width and replacement characters: they forge or hide names.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}'
        | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFD}')
}

fn pick(words: &'static [&'static str], random: u32) -> &'static str {
    words
        .get(random as usize % words.len())
        .copied()
        .unwrap_or("room")
}

const ADJECTIVES: &[&str] = &[
    "amber", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosy", "crisp", "early", "fair",
    "fine", "fresh", "gentle", "glad", "golden", "grand", "green", "happy", "keen", "kind", "light",
    "lively", "lucky", "mellow", "merry", "mild", "neat", "noble", "open", "plain", "proud", "quick",
    "quiet", "rapid", "ready", "round", "silver", "smart", "smooth", "snowy", "solid", "steady", "still",
    "sunny", "swift", "tidy", "true", "warm", "wide", "wise",
];

const NOUNS: &[&str] = &[
    "acorn", "anchor", "apple", "arch", "bay", "beacon", "birch", "bridge", "brook", "canyon", "cedar",
    "cliff", "cloud", "coast", "comet", "coral", "creek", "delta", "dune", "falcon", "fern", "field",
    "forest", "garden", "glade", "grove", "harbor", "hill", "island", "lake", "lantern", "leaf", "maple",
    "meadow", "moon", "oak", "orchard", "otter", "path", "pebble", "pine", "pond", "reef", "ridge", "river",
    "robin", "shore", "spring", "star", "stone", "summit", "valley", "willow",
];

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn room_names_are_folded_and_bounded() {
        assert_eq!(
            RoomName::parse("Weekly.Sync_1").unwrap().as_str(),
            "weekly.sync_1"
        );
        for bad in ["", "-a", ".", "a b", "a/b", "ü", "a%20", &"x".repeat(65)] {
            assert_eq!(RoomName::parse(bad), Err(BadRoomName), "{bad:?}");
        }
        assert!(RoomName::parse(&"x".repeat(64)).is_ok());
    }

    #[test]
    fn a_subject_becomes_a_name() {
        let name = |s| RoomName::from_subject(s).map(|n| n.to_string());
        assert_eq!(name("Weekly stand-up!"), Some("weekly-stand-up".into()));
        assert_eq!(name("  ** Ünder -- 7 "), Some("nder-7".into()));
        assert_eq!(name("日本語"), None);
        let long = RoomName::from_subject(&"word ".repeat(50)).unwrap();
        assert!(RoomName::parse(long.numbered(4_000_000).as_str()).is_ok());
    }

    #[test]
    fn invented_names_are_valid() {
        let mut rng = ChaCha8Rng::from_seed([7; 32]);
        for _ in 0..500 {
            let name = RoomName::invent(&mut rng);
            assert_eq!(RoomName::parse(name.as_str()), Ok(name.clone()));
        }
    }

    #[test]
    fn display_texts_are_cleaned() {
        assert_eq!(clean_text(" Ann\r\n\tLee ", 64).as_deref(), Some("Ann Lee"));
        assert_eq!(clean_text("A\u{202E}b\u{0}c\u{200B}", 64).as_deref(), Some("Abc"));
        assert_eq!(clean_text("\u{7}\u{200B} ", 64), None);
        assert_eq!(clean_text("Äöü 名前", 5).as_deref(), Some("Äöü 名"));
    }

    #[test]
    fn same_names_get_numbers() {
        let taken = HashSet::from(["Ann", "Ann (2)"]);
        assert_eq!(distinct("Ann", &taken), "Ann (3)");
        assert_eq!(distinct("Bob", &taken), "Bob");
    }
}
