//! Call-Info and its kin: `<uri>;purpose=…` (RFC 3261 §20.9; also Alert-Info, Error-Info).

use super::{NameAddr, Params};
use crate::error::SyntaxError;
use crate::uri::Uri;
use std::fmt;
use std::str::FromStr;

/// One element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallInfo {
    /// Where the information is.
    pub uri: Uri,
    /// `purpose` and others.
    pub params: Params,
}

impl CallInfo {
    /// A URI with its purpose.
    pub fn new(uri: Uri, purpose: &str) -> Self {
        let mut params = Params::new();
        params.set("purpose", purpose);
        Self { uri, params }
    }

    /// What it is for.
    pub fn purpose(&self) -> Option<&str> {
        self.params.get("purpose")
    }
}

impl FromStr for CallInfo {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let address: NameAddr = text.parse()?;
        match address.display {
            None => Ok(Self {
                uri: address.uri,
                params: address.params,
            }),
            Some(_) => Err(SyntaxError::TrailingText),
        }
    }
}

impl fmt::Display for CallInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uri_and_purpose() {
        let info: CallInfo = "<http://127.0.0.1:8080/api?x=1;y> ;purpose=meet-api"
            .parse()
            .unwrap();
        assert_eq!(info.uri.to_string(), "http://127.0.0.1:8080/api?x=1;y");
        assert_eq!(info.purpose(), Some("meet-api"));
        assert_eq!(CallInfo::new(info.uri.clone(), "meet-api"), info);
        assert_eq!(info.to_string().parse(), Ok(info));
        assert!("\"x\" <http://h>".parse::<CallInfo>().is_err());
    }
}
