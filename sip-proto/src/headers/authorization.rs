//! Authorization and Proxy-Authorization with the Digest scheme (RFC 7616 §3.4).
//!
//! Another scheme fails to parse with [`SyntaxError::BadScheme`]: a server answers it with its own
//! challenge (RFC 4475 §3.3.7), not with 400.

use super::challenge::{digest_params, write_quoted};
use crate::digest::Algorithm;
use crate::error::SyntaxError;
use std::fmt;
use std::str::FromStr;

/// Digest credentials of a request.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization {
    /// User name.
    pub username: String,
    /// Realm.
    pub realm: String,
    /// The server's nonce.
    pub nonce: String,
    /// The URI that was hashed, verbatim.
    pub uri: String,
    /// The digest in hexadecimal digits.
    pub response: String,
    /// Algorithm; MD5 where none is named.
    pub algorithm: Algorithm,
    /// The client's nonce; required with a qop.
    pub cnonce: Option<String>,
    /// Sent back as it came.
    pub opaque: Option<String>,
    /// Quality of protection; absent in the old form.
    pub qop: Option<String>,
    /// How often this nonce was used; required with a qop.
    pub nc: Option<u32>,
}

impl FromStr for Authorization {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        let mut fields: [Option<String>; 7] = Default::default();
        let [username, realm, nonce, uri, response, cnonce, opaque] = &mut fields;
        let (mut algorithm, mut qop, mut nc) = (Ok(Algorithm::Md5), None, None);
        digest_params(text, |name, value| {
            let field = match name.to_ascii_lowercase().as_str() {
                "username" => &mut *username,
                "realm" => &mut *realm,
                "nonce" => &mut *nonce,
                "uri" => &mut *uri,
                "response" => &mut *response,
                "cnonce" => &mut *cnonce,
                "opaque" => &mut *opaque,
                "qop" => &mut qop,
                "nc" => {
                    nc = Some(parse_count(value));
                    return;
                }
                "algorithm" => {
                    algorithm = value.parse();
                    return;
                }
                _ => return,
            };
            *field = Some(value.to_owned());
        })?;
        let [username, realm, nonce, uri, response, cnonce, opaque] = fields;
        if qop.is_some() && (nc.is_none() || cnonce.is_none()) {
            return Err(SyntaxError::BadParameter);
        }
        Ok(Self {
            username: username.ok_or(SyntaxError::BadParameter)?,
            realm: realm.ok_or(SyntaxError::BadParameter)?,
            nonce: nonce.ok_or(SyntaxError::BadParameter)?,
            uri: uri.ok_or(SyntaxError::BadParameter)?,
            response: response.ok_or(SyntaxError::BadParameter)?,
            algorithm: algorithm?,
            cnonce,
            opaque,
            qop,
            nc: nc.transpose()?,
        })
    }
}

/// Eight hexadecimal digits; the digest is reckoned over exactly that form.
fn parse_count(text: &str) -> Result<u32, SyntaxError> {
    if text.len() != 8 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(SyntaxError::BadNumber);
    }
    u32::from_str_radix(text, 16).map_err(|_| SyntaxError::BadNumber)
}

impl fmt::Display for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quoted(f, "Digest ", "username", &self.username)?;
        write_quoted(f, ", ", "realm", &self.realm)?;
        write_quoted(f, ", ", "nonce", &self.nonce)?;
        write_quoted(f, ", ", "uri", &self.uri)?;
        write_quoted(f, ", ", "response", &self.response)?;
        write!(f, ", algorithm={}", self.algorithm)?;
        if let Some(cnonce) = &self.cnonce {
            write_quoted(f, ", ", "cnonce", cnonce)?;
        }
        if let Some(opaque) = &self.opaque {
            write_quoted(f, ", ", "opaque", opaque)?;
        }
        if let Some(qop) = &self.qop {
            write!(f, ", qop={qop}, nc={:08x}", self.nc.unwrap_or(0))?;
        }
        Ok(())
    }
}

// Digest answers can be tried offline against word lists: they stay out of logs.
impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization")
            .field("username", &self.username)
            .field("realm", &self.realm)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"Digest username="b\"ob", realm="r", nonce="n", uri="sip:h", response="00ff", algorithm=SHA-256, cnonce="c", opaque="o", qop=auth, nc=0000001a"#;

    #[test]
    fn credentials_read_and_write() {
        let auth: Authorization = FULL.parse().unwrap();
        assert_eq!((auth.username.as_str(), auth.nc), ("b\"ob", Some(26)));
        assert_eq!(auth.to_string(), FULL);
        assert!(!format!("{auth:?}").contains("00ff"));
        let old: Authorization = "Digest username=\"u\",realm=\"r\",nonce=\"n\",uri=\"sip:h\",response=\"0\""
            .parse()
            .unwrap();
        assert_eq!((old.qop, old.algorithm), (None, Algorithm::Md5));
    }

    #[test]
    fn broken_credentials_are_refused() {
        assert_eq!(
            "NoOneKnowsThisScheme a=b".parse::<Authorization>(),
            Err(SyntaxError::BadScheme)
        );
        for (from, to) in [
            ("nc=0000001a", "nc=1a"),
            ("nc=0000001a", "nc=0000001g"),
            (", nc=0000001a", ""),
            ("cnonce=\"c\", ", ""),
            ("username", "user"),
            ("SHA-256", "SHA-1"),
            ("response=\"00ff\"", "response=\"00ff"),
        ] {
            assert!(FULL.replace(from, to).parse::<Authorization>().is_err(), "{to}");
        }
    }
}
