//! Parameters of URIs and header values: ordered, names without case, values optional.
//!
//! In a header a value may be a quoted string; it is held decoded and quoted again on writing. In
//! a URI there are no quotes, and escapes stay as they came.

use crate::error::SyntaxError;
use crate::grammar::{self, RawValue};
use crate::uri::escape_param;
use std::fmt;

/// Ordered parameters.
#[derive(Debug, Clone, Default)]
pub struct Params(Vec<Param>);

#[derive(Debug, Clone)]
struct Param {
    name: String,
    value: Option<String>,
    quoted: bool,
}

impl Params {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the parameter part of a header value, which is empty or begins with a semicolon.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let one = |param: grammar::RawParam<'_>| Param {
            name: param.name.to_owned(),
            value: param.value.map(|value| value.decode().into_owned()),
            quoted: matches!(param.value, Some(RawValue::Quoted(_))),
        };
        grammar::params(text)
            .map(|param| param.map(one))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Takes the parameter part of a URI that has been checked.
    pub(crate) fn from_uri(text: &str) -> Self {
        let one = |param: &str| {
            let (name, value) = match param.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (param, None),
            };
            Param {
                name: name.to_owned(),
                value,
                quoted: false,
            }
        };
        Self(text.split(';').skip(1).map(one).collect())
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a parameter; `None` when it is not there or has no value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name)?.value.as_deref()
    }

    /// Whether a parameter is there, with or without value.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0
            .iter()
            .map(|param| (param.name.as_str(), param.value.as_deref()))
    }

    /// Gives a parameter a value, in its place if it is there, at the end otherwise.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.put(name, Some(value.into()), false);
    }

    /// As [`Params::set`], written as a quoted string in a header even where it need not be.
    pub fn set_quoted(&mut self, name: &str, value: impl Into<String>) {
        self.put(name, Some(value.into()), true);
    }

    /// Sets a parameter without value (`lr`, `rport`).
    pub fn set_flag(&mut self, name: &str) {
        self.put(name, None, false);
    }

    /// Removes a parameter; says whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|param| !param.name.eq_ignore_ascii_case(name));
        before != self.0.len()
    }

    /// Writes them as URI parameters, with escapes instead of quotes.
    pub(crate) fn write_in_uri(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for param in &self.0 {
            write!(f, ";{}", escape_param(&param.name))?;
            if let Some(value) = &param.value {
                write!(f, "={}", escape_param(value))?;
            }
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<&Param> {
        self.0.iter().find(|param| param.name.eq_ignore_ascii_case(name))
    }

    fn put(&mut self, name: &str, value: Option<String>, quoted: bool) {
        match self
            .0
            .iter_mut()
            .find(|param| param.name.eq_ignore_ascii_case(name))
        {
            Some(param) => (param.value, param.quoted) = (value, quoted),
            None => self.0.push(Param {
                name: name.to_owned(),
                value,
                quoted,
            }),
        }
    }
}

impl PartialEq for Params {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(&other.0)
                .all(|(a, b)| a.name.eq_ignore_ascii_case(&b.name) && a.value == b.value)
    }
}

impl Eq for Params {}

/// As they stand in a header value.
impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for param in &self.0 {
            write!(f, ";{}", param.name)?;
            match &param.value {
                Some(value) if param.quoted || !grammar::is_plain_value(value) => {
                    let mut quoted = String::with_capacity(value.len() + 2);
                    grammar::push_quoted(&mut quoted, value);
                    write!(f, "={quoted}")?;
                }
                Some(value) => write!(f, "={value}")?,
                None => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_params_round_trip_with_their_quotes() {
        let params = Params::parse(r#" ; tag = a ; text="a \"b\";c" ;lr; n="5""#).unwrap();
        assert_eq!(params.get("TAG"), Some("a"));
        assert_eq!(params.get("text"), Some("a \"b\";c"));
        assert!(params.contains("lr") && params.get("lr").is_none());
        assert_eq!(params.to_string(), r#";tag=a;text="a \"b\";c";lr;n="5""#);
        assert_eq!(Params::parse(&params.to_string()).unwrap(), params);
        assert_eq!(params.iter().count(), 4);
    }

    #[test]
    fn values_that_need_quotes_get_them() {
        let mut params = Params::new();
        params.set("a", "x y");
        params.set("b", "");
        params.set_flag("c");
        params.set("A", "z;");
        params.set_quoted("d", "t");
        assert_eq!(params.to_string(), r#";a="z;";b="";c;d="t""#);
        assert!(params.remove("C") && !params.remove("c"));
        assert_eq!(params.len(), 3);
    }
}
