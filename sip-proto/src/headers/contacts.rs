//! Contact as a whole: `*` or a list of addresses (RFC 3261 §20.10).

use super::{NameAddr, scan_name_addr};
use crate::error::SyntaxError;
use crate::grammar::{elements, trim};
use crate::limits::MAX_LIST_ELEMENTS;
use std::fmt;
use std::str::FromStr;

/// The Contact headers of a message together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contacts {
    /// `*`: all bindings, in a REGISTER that removes them.
    Star,
    /// Addresses in order; empty when there is no Contact.
    List(Vec<NameAddr>),
}

impl Contacts {
    /// Puts the header lines of a message together.
    pub fn from_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Self, SyntaxError> {
        let mut list = Vec::new();
        let mut star = false;
        for element in lines.flat_map(elements) {
            if star || list.len() >= MAX_LIST_ELEMENTS {
                return Err(SyntaxError::TooMany);
            }
            match element {
                "*" if list.is_empty() => star = true,
                "*" => return Err(SyntaxError::TooMany),
                address => list.push(address.parse()?),
            }
        }
        Ok(if star { Self::Star } else { Self::List(list) })
    }

    /// The addresses; none for `*`.
    pub fn list(&self) -> &[NameAddr] {
        match self {
            Self::Star => &[],
            Self::List(list) => list,
        }
    }

    /// The only or first address.
    pub fn first(&self) -> Option<&NameAddr> {
        self.list().first()
    }
}

/// Checks one Contact line without building it.
pub(crate) fn check_contacts(line: &str) -> Result<(), SyntaxError> {
    if trim(line) == "*" {
        return Ok(());
    }
    elements(line).try_for_each(|element| scan_name_addr(element).map(drop))
}

impl FromStr for Contacts {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        Self::from_lines(std::iter::once(text))
    }
}

impl fmt::Display for Contacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Star => f.write_str("*"),
            Self::List(list) => list.iter().enumerate().try_for_each(|(at, address)| {
                let comma = if at > 0 { ", " } else { "" };
                write!(f, "{comma}{address}")
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_stands_alone() {
        assert_eq!(" * ".parse(), Ok(Contacts::Star));
        assert_eq!(Contacts::Star.to_string(), "*");
        assert!("*, <sip:a@h>".parse::<Contacts>().is_err());
        assert!("<sip:a@h>, *".parse::<Contacts>().is_err());
        assert!(Contacts::from_lines(["*", "*"].into_iter()).is_err());
    }

    #[test]
    fn lists_over_lines_keep_their_order() {
        let lines = [
            r#""Q, \"x\"" <sip:a@h;x=1>;q=0.5, sip:b@h;expires=5"#,
            "<sip:c@h>",
        ];
        let contacts = Contacts::from_lines(lines.into_iter()).unwrap();
        assert_eq!(contacts.list().len(), 3);
        assert_eq!(contacts.list()[1].expires(), Some(5));
        assert_eq!(contacts.to_string().parse(), Ok(contacts.clone()));
        assert!(check_contacts(lines[0]).is_ok() && check_contacts("*").is_ok());
        assert!(check_contacts("\"Joe\" <sip:joe@example.org>;;;;").is_err());
        assert_eq!(
            Contacts::from_lines(std::iter::empty()),
            Ok(Contacts::List(vec![]))
        );
    }
}
