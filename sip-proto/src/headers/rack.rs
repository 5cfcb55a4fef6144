//! RAck: which reliable provisional response a PRACK acknowledges (RFC 3262 §7.2).

use super::CSeq;
use crate::error::SyntaxError;
use crate::grammar::{number, trim};
use std::fmt;
use std::str::FromStr;

/// The RSeq of the response, and the CSeq of what it answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RAck {
    /// RSeq of the provisional response.
    pub rseq: u32,
    /// CSeq of the provisional response.
    pub cseq: CSeq,
}

impl RAck {
    /// Puts the two together.
    pub fn new(rseq: u32, cseq: CSeq) -> Self {
        Self { rseq, cseq }
    }
}

impl FromStr for RAck {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let (rseq, cseq) = trim(text).split_once([' ', '\t']).ok_or(SyntaxError::Empty)?;
        Ok(Self {
            rseq: number(rseq, u32::MAX)?,
            cseq: cseq.parse()?,
        })
    }
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rseq, self.cseq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Method;

    #[test]
    fn three_parts_are_needed() {
        let rack = RAck::new(4_294_967_295, CSeq::new(7, Method::Invite));
        assert_eq!("4294967295   7  INVITE".parse(), Ok(rack.clone()));
        assert_eq!(rack.to_string(), "4294967295 7 INVITE");
        for bad in ["", "1", "1 2", "1 INVITE", "4294967296 1 INVITE", "x 1 INVITE"] {
            assert!(bad.parse::<RAck>().is_err(), "{bad}");
        }
    }
}
