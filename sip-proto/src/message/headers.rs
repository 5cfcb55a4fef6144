//! The header map of a message: ordered, verbatim, one buffer.
//!
//! All values of a message lie in one string and the entries point into it: reading a message
//! costs two allocations, however many headers it has. Values are unfolded and trimmed, otherwise
//! as they came. Typed views of the values are in `typed.rs`. A value whose bytes are not UTF-8 is
//! read as Latin-1 and written back in the same bytes.

use super::name::HeaderName;
use crate::grammar::elements;
use std::fmt;

/// Headers in the order of the message; a name may stand several times.
#[derive(Clone, Default)]
pub struct Headers {
    values: String,
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    name: HeaderName,
    start: usize,
    end: usize,
    /// The value came as Latin-1 bytes, and goes out so.
    latin1: bool,
}

impl Headers {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of header lines.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no header.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All headers in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&HeaderName, &str)> {
        self.entries.iter().map(|entry| (&entry.name, self.value(entry)))
    }

    /// The first value of a name.
    pub fn get(&self, name: &HeaderName) -> Option<&str> {
        self.entries
            .iter()
            .find(|entry| entry.name == *name)
            .map(|entry| self.value(entry))
    }

    /// All values of a name, one per header line; lists are not split (see [`Headers::list`]).
    pub fn get_all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
        self.entries
            .iter()
            .filter(move |entry| entry.name == *name)
            .map(|entry| self.value(entry))
    }

    /// The elements of a comma-separated header over all its lines.
    pub fn list<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a str> {
        self.get_all(name).flat_map(elements)
    }

    /// Whether the name is there.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.entries.iter().any(|entry| entry.name == *name)
    }

    /// Adds a header at the end.
    pub fn push(&mut self, name: HeaderName, value: impl fmt::Display) {
        let entry = self.store(name, value);
        self.entries.push(entry);
    }

    /// Adds a header before all others.
    pub fn push_front(&mut self, name: HeaderName, value: impl fmt::Display) {
        let entry = self.store(name, value);
        self.entries.insert(0, entry);
    }

    /// Replaces all headers of the name by one, in the place of the first.
    pub fn set(&mut self, name: HeaderName, value: impl fmt::Display) {
        let place = self.entries.iter().position(|entry| entry.name == name);
        self.remove(&name);
        let entry = self.store(name, value);
        self.entries.insert(place.unwrap_or(self.entries.len()), entry);
    }

    /// Replaces the first header of the name and leaves the others.
    pub fn replace_first(&mut self, name: &HeaderName, value: impl fmt::Display) {
        let entry = self.store(name.clone(), value);
        match self.entries.iter_mut().find(|entry| entry.name == *name) {
            Some(first) => *first = entry,
            None => self.entries.push(entry),
        }
    }

    /// Removes all headers of the name; says how many there were.
    pub fn remove(&mut self, name: &HeaderName) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.name != *name);
        before - self.entries.len()
    }

    /// Removes the first value of the name, splitting it off a list where it stands in one: what
    /// a response's way back does with Via.
    pub fn remove_first(&mut self, name: &HeaderName) -> Option<String> {
        let place = self.entries.iter().position(|entry| entry.name == *name)?;
        let line = self.value(self.entries.get(place)?).to_owned();
        let mut parts = if name.is_list() {
            elements(&line).collect()
        } else {
            vec![line.as_str()]
        };
        if parts.is_empty() {
            self.entries.remove(place);
            return None;
        }
        let first = parts.remove(0).to_owned();
        if parts.is_empty() {
            self.entries.remove(place);
        } else {
            let entry = self.store(name.clone(), parts.join(", "));
            *self.entries.get_mut(place)? = entry;
        }
        Some(first)
    }

    /// Adds another map's headers of one name, bytes and all.
    pub fn copy_from(&mut self, other: &Headers, name: &HeaderName) {
        for entry in other.entries.iter().filter(|entry| entry.name == *name) {
            self.copy_entry(other, entry);
        }
    }

    /// Adds all of another map's headers.
    pub fn extend(&mut self, other: &Headers) {
        for entry in &other.entries {
            self.copy_entry(other, entry);
        }
    }

    /// Room for a message's values and lines before they are added.
    pub(super) fn with_capacity(bytes: usize, lines: usize) -> Self {
        Self {
            values: String::with_capacity(bytes),
            entries: Vec::with_capacity(lines),
        }
    }

    /// Adds a value read from the wire, which has no line ends in it.
    pub(super) fn push_wire(&mut self, name: HeaderName, value: &[u8]) {
        let start = self.values.len();
        let latin1 = match std::str::from_utf8(value) {
            Ok(text) => {
                self.values.push_str(text);
                false
            }
            Err(_) => {
                self.values.extend(value.iter().map(|byte| char::from(*byte)));
                true
            }
        };
        self.entries.push(Entry {
            name,
            start,
            end: self.values.len(),
            latin1,
        });
    }

    /// Adds a value read from the wire that is known to be UTF-8.
    pub(super) fn push_str(&mut self, name: HeaderName, value: &str) {
        let start = self.values.len();
        self.values.push_str(value);
        self.entries.push(Entry {
            name,
            start,
            end: self.values.len(),
            latin1: false,
        });
    }

    /// Writes the header lines, with the true Content-Length in its place or at the end.
    pub(super) fn write(&self, out: &mut Vec<u8>, body_len: usize) {
        let mut has_length = false;
        for entry in &self.entries {
            if entry.name == HeaderName::ContentLength {
                if !has_length {
                    write_length(out, body_len);
                }
                has_length = true;
                continue;
            }
            out.extend_from_slice(entry.name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            let value = self.value(entry);
            if entry.latin1 {
                // Every character came from one byte, so none is lost.
                out.extend(value.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')));
            } else {
                out.extend_from_slice(value.as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        }
        if !has_length {
            write_length(out, body_len);
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Bytes that [`Headers::write`] will need, about.
    pub(super) fn wire_len(&self) -> usize {
        self.entries
            .iter()
            .map(|e| e.name.as_str().len() + e.end - e.start + 4)
            .sum::<usize>()
            + 32
    }

    fn value(&self, entry: &Entry) -> &str {
        self.values.get(entry.start..entry.end).unwrap_or("")
    }

    fn copy_entry(&mut self, other: &Headers, entry: &Entry) {
        self.push_str(entry.name.clone(), other.value(entry));
        if let Some(copied) = self.entries.last_mut() {
            copied.latin1 = entry.latin1;
        }
    }

    /// Stores a value of ours. A line end in it would start a header of somebody's choosing, so
    /// it becomes a space.
    fn store(&mut self, name: HeaderName, value: impl fmt::Display) -> Entry {
        use fmt::Write;
        self.compact();
        let start = self.values.len();
        let _ = write!(self.values, "{value}");
        let written = self.values.get(start..).unwrap_or("");
        let trimmed = written.trim_matches([' ', '\t', '\r', '\n']);
        if trimmed.len() != written.len() || written.contains(['\r', '\n']) {
            let clean = trimmed.replace(['\r', '\n'], " ");
            self.values.truncate(start);
            self.values.push_str(&clean);
        }
        Entry {
            name,
            start,
            end: self.values.len(),
            latin1: false,
        }
    }

    /// Drops values that no entry points to any more, once they are most of the buffer, so that a
    /// map which is changed for as long as a dialog lives does not grow.
    fn compact(&mut self) {
        let live: usize = self.entries.iter().map(|entry| entry.end - entry.start).sum();
        if self.values.len() < 4096 || self.values.len() < 2 * live {
            return;
        }
        let old = std::mem::take(&mut self.values);
        for entry in &mut self.entries {
            let start = self.values.len();
            self.values
                .push_str(old.get(entry.start..entry.end).unwrap_or(""));
            (entry.start, entry.end) = (start, self.values.len());
        }
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

fn write_length(out: &mut Vec<u8>, body_len: usize) {
    out.extend_from_slice(b"Content-Length: ");
    push_decimal(out, body_len);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number in decimal without going through the formatter.
pub(super) fn push_decimal(out: &mut Vec<u8>, number: usize) {
    if number >= 10 {
        push_decimal(out, number / 10);
    }
    out.push(b'0' + u8::try_from(number % 10).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Headers {
        let mut headers = Headers::new();
        headers.push(HeaderName::Via, "SIP/2.0/UDP a, SIP/2.0/UDP b");
        headers.push(HeaderName::Subject, "one");
        headers.push(HeaderName::Via, "SIP/2.0/UDP c");
        headers
    }

    #[test]
    fn order_lists_and_removal() {
        let mut headers = sample();
        assert_eq!(headers.list(&HeaderName::Via).count(), 3);
        assert_eq!(
            headers.remove_first(&HeaderName::Via).as_deref(),
            Some("SIP/2.0/UDP a")
        );
        assert_eq!(headers.get(&HeaderName::Via), Some("SIP/2.0/UDP b"));
        assert_eq!(
            headers.remove_first(&HeaderName::Via).as_deref(),
            Some("SIP/2.0/UDP b")
        );
        headers.push_front(HeaderName::Via, "SIP/2.0/UDP x");
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Via", "Subject", "Via"]);
        assert_eq!(headers.remove(&HeaderName::Via), 2);
        assert_eq!(headers.remove_first(&HeaderName::Via), None);
    }

    #[test]
    fn set_keeps_the_place_and_line_ends_cannot_be_smuggled_in() {
        let mut headers = sample();
        headers.set(HeaderName::Via, " z\r\nEvil: 1\r\n");
        assert_eq!(headers.iter().next(), Some((&HeaderName::Via, "z  Evil: 1")));
        assert_eq!(headers.len(), 2);
        headers.replace_first(&HeaderName::Subject, "two");
        headers.replace_first(&HeaderName::Date, "now");
        assert_eq!(headers.get(&HeaderName::Subject), Some("two"));
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn latin1_bytes_survive() {
        let mut headers = Headers::new();
        headers.push_wire(HeaderName::Subject, b"caf\xe9");
        assert_eq!(headers.get(&HeaderName::Subject), Some("café"));
        let mut copy = Headers::new();
        copy.extend(&headers);
        let mut out = Vec::new();
        copy.write(&mut out, 1234);
        assert_eq!(out, b"Subject: caf\xe9\r\nContent-Length: 1234\r\n\r\n");
    }

    #[test]
    fn a_long_lived_map_does_not_grow() {
        let mut headers = sample();
        for n in 0..10_000 {
            headers.set(HeaderName::CSeq, format_args!("{n} INVITE"));
        }
        assert!(headers.values.len() < 8192);
        assert_eq!(headers.get(&HeaderName::CSeq), Some("9999 INVITE"));
        assert_eq!(headers.list(&HeaderName::Via).count(), 3);
    }
}
