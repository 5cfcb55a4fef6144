//! Hash algorithms of digest and the secrets made with them (RFC 7616 §3.4, RFC 8760).

use crate::error::SyntaxError;
use md5::Md5;
use sha2::{Sha256, Sha512_256};
use std::fmt;
use std::fmt::Write;
use std::str::FromStr;

/// A digest algorithm. The `-sess` variants are taken from clients for MD5 only; nobody sends
/// the others in SIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// `MD5`, for old phones only.
    Md5,
    /// `MD5-sess`
    Md5Sess,
    /// `SHA-256`
    Sha256,
    /// `SHA-512-256`
    Sha512_256,
}

impl Algorithm {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Md5Sess => "MD5-sess",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
        }
    }

    /// The algorithm whose HA1 is stored for this one: `-sess` starts from the plain one's.
    pub fn stored(self) -> Self {
        match self {
            Self::Md5Sess => Self::Md5,
            other => other,
        }
    }

    /// Whether it is one of the MD5 family.
    pub fn is_md5(self) -> bool {
        matches!(self, Self::Md5 | Self::Md5Sess)
    }

    /// Hash in lower-case hexadecimal digits.
    pub(super) fn hash(self, parts: &[&[u8]]) -> String {
        match self {
            Self::Md5 | Self::Md5Sess => hex(&digest::<Md5>(parts)),
            Self::Sha256 => hex(&digest::<Sha256>(parts)),
            Self::Sha512_256 => hex(&digest::<Sha512_256>(parts)),
        }
    }
}

impl FromStr for Algorithm {
    type Err = SyntaxError;

    fn from_str(text: &str) -> Result<Self, SyntaxError> {
        [Self::Md5, Self::Md5Sess, Self::Sha256, Self::Sha512_256]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(text))
            .ok_or(SyntaxError::BadToken)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// H(user:realm:password), what an account stores instead of the password. It opens the account
/// as the password does, for this realm: it is as secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1 {
    algorithm: Algorithm,
    hex: String,
}

impl Ha1 {
    /// Takes a stored value in hexadecimal digits.
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Result<Self, SyntaxError> {
        let algorithm = algorithm.stored();
        let length = if algorithm.is_md5() { 32 } else { 64 };
        if hex.len() != length || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(SyntaxError::BadToken);
        }
        Ok(Self {
            algorithm,
            hex: hex.to_ascii_lowercase(),
        })
    }

    /// The algorithm that it belongs to (never a `-sess` one).
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The value to store, in hexadecimal digits.
    pub fn as_hex(&self) -> &str {
        &self.hex
    }
}

impl fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ha1({}, secret)", self.algorithm)
    }
}

/// The secret of an account for one algorithm.
pub fn ha1(algorithm: Algorithm, user: &str, realm: &str, password: &str) -> Ha1 {
    let algorithm = algorithm.stored();
    let parts = [user.as_bytes(), b":", realm.as_bytes(), b":", password.as_bytes()];
    Ha1 {
        algorithm,
        hex: algorithm.hash(&parts),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

fn digest<D: sha2::Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut hasher = D::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_without_case() {
        for name in ["MD5", "MD5-sess", "SHA-256", "SHA-512-256"] {
            assert_eq!(name.to_lowercase().parse::<Algorithm>().unwrap().as_str(), name);
        }
        assert!("SHA-1".parse::<Algorithm>().is_err());
    }

    #[test]
    fn secrets_have_the_length_of_their_hash_and_never_show() {
        let secret = ha1(Algorithm::Md5Sess, "u", "r", "p");
        assert_eq!(secret.algorithm(), Algorithm::Md5);
        assert_eq!(
            Ha1::from_hex(Algorithm::Md5, &secret.as_hex().to_uppercase()),
            Ok(secret.clone())
        );
        assert!(Ha1::from_hex(Algorithm::Sha256, secret.as_hex()).is_err());
        assert!(!format!("{secret:?}").contains(secret.as_hex()));
        // FIPS 180-4 example: the message "abc".
        assert_eq!(
            Algorithm::Sha512_256.hash(&[b"abc"]),
            "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
        );
        assert_eq!(
            Algorithm::Md5.hash(&[b"a", b"bc"]),
            "900150983cd24fb0d6963f7d28e17f72"
        );
    }
}
