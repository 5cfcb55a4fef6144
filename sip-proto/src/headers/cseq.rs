//! CSeq: sequence number and method (RFC 3261 §20.16).

use crate::error::SyntaxError;
use crate::grammar::{is_token, number, trim};
use crate::message::Method;
use std::fmt;
use std::str::FromStr;

/// Largest sequence number: RFC 3261 §8.1.1.5 wants it below 2^31.
const MAX_CSEQ: u32 = (1 << 31) - 1;

/// Sequence number with its method.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// Number, below 2^31.
    pub seq: u32,
    /// Method.
    pub method: Method,
}

impl CSeq {
    /// Puts the two together.
    pub fn new(seq: u32, method: Method) -> Self {
        Self { seq, method }
    }
}

/// Number and method name of a CSeq value.
pub(crate) fn scan_cseq(text: &str) -> Result<(u32, &str), SyntaxError> {
    let (digits, method) = trim(text).split_once([' ', '\t']).ok_or(SyntaxError::Empty)?;
    let method = trim(method);
    if !is_token(method) {
        return Err(SyntaxError::BadToken);
    }
    Ok((number(digits, MAX_CSEQ)?, method))
}

impl FromStr for CSeq {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let (seq, method) = scan_cseq(text)?;
        Ok(Self {
            seq,
            method: Method::parse(method),
        })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.seq, self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_two_to_the_31() {
        assert_eq!("0009   INVITE".parse(), Ok(CSeq::new(9, Method::Invite)));
        assert_eq!("2147483647 BYE".parse(), Ok(CSeq::new(MAX_CSEQ, Method::Bye)));
        assert_eq!("2147483648 BYE".parse::<CSeq>(), Err(SyntaxError::OutOfRange));
        assert_eq!(
            "36893488147419103232 REGISTER".parse::<CSeq>(),
            Err(SyntaxError::OutOfRange)
        );
        for bad in ["", "1", "INVITE", "-1 INVITE", "1 IN VITE", "1INVITE"] {
            assert!(bad.parse::<CSeq>().is_err(), "{bad}");
        }
        assert_eq!(CSeq::new(3, Method::Other("X".into())).to_string(), "3 X");
    }
}
