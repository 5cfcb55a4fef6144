//! `a=crypto`: keys for SRTP in the description (SDES, RFC 4568; suites also of RFC 6188 and RFC 7714).
//!
//! A line is read only if it could be agreed to. What makes one unusable: another key method or several keys, a
//! master key identifier, a key of the wrong length, a key derivation rate, unencrypted or unauthenticated media, FEC
//! keys, and any session parameter that we do not know and that is not marked as optional by a dash (RFC 4568 §6.3).
//! A lifetime must be legal; it is not kept.
//!
//! Deliberately absent: the cryptography, and `k=` (obsolete by RFC 8866 §5.12).

use std::fmt::{self, Display, Formatter};

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use super::model::MediaDescription;

/// The longest lifetime that may be written: 2^48 packets (RFC 3711 §9.2).
const MAX_LIFETIME_POWER: u32 = 48;

/// A crypto suite (RFC 4568 §6.2, RFC 6188 §4, RFC 7714 §14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CryptoSuite {
    /// AES-128 counter mode, 80-bit HMAC-SHA1: the one that everybody has.
    AesCm128Sha1_80,
    /// AES-128 counter mode, 32-bit HMAC-SHA1.
    AesCm128Sha1_32,
    /// AES-256 counter mode, 80-bit HMAC-SHA1.
    AesCm256Sha1_80,
    /// AES-256 counter mode, 32-bit HMAC-SHA1.
    AesCm256Sha1_32,
    /// AES-128-GCM.
    AeadAes128Gcm,
    /// AES-256-GCM.
    AeadAes256Gcm,
}

impl CryptoSuite {
    /// All that can be agreed to.
    pub const ALL: [Self; 6] = [
        Self::AesCm128Sha1_80,
        Self::AesCm128Sha1_32,
        Self::AesCm256Sha1_80,
        Self::AesCm256Sha1_32,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
    ];

    /// What our offers list: the cheapest strong one, and the one that everybody has. More lines would only make a
    /// request too long for a datagram.
    pub const OFFERED: [Self; 2] = [Self::AeadAes128Gcm, Self::AesCm128Sha1_80];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128Sha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128Sha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesCm256Sha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AesCm256Sha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Bytes of master key and salt together.
    #[must_use]
    pub const fn material_len(self) -> usize {
        match self {
            Self::AesCm128Sha1_80 | Self::AesCm128Sha1_32 => 16 + 14,
            Self::AesCm256Sha1_80 | Self::AesCm256Sha1_32 => 32 + 14,
            Self::AeadAes128Gcm => 16 + 12,
            Self::AeadAes256Gcm => 32 + 12,
        }
    }

    /// The suite of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.name().eq_ignore_ascii_case(name))
    }
}

/// Master key and salt, one after the other. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyMaterial(Vec<u8>);

impl KeyMaterial {
    /// These bytes.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaterial(hidden)")
    }
}

/// One usable `a=crypto` line: the writer sends under this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// By which an answer names it.
    pub tag: u32,
    /// The suite.
    pub suite: CryptoSuite,
    /// The writer's key and salt.
    pub key: KeyMaterial,
}

impl Crypto {
    /// Reads the value of `a=crypto`; `None` if the line could not be agreed to.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next().filter(|tag| is_number(tag) && tag.len() <= 9)?;
        let suite = CryptoSuite::from_name(words.next()?)?;
        let key = parse_key(words.next()?, suite)?;
        words.all(is_harmless).then_some(Self {
            tag: tag.parse().ok()?,
            suite,
            key,
        })
    }
}

/// Makes our keys. Whoever gives the seed must not give it twice.
#[derive(Clone)]
pub(crate) struct KeySource(ChaCha20Rng);

impl KeySource {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    pub(crate) fn key(&mut self, suite: CryptoSuite) -> KeyMaterial {
        let mut bytes = vec![0; suite.material_len()];
        self.0.fill_bytes(&mut bytes);
        KeyMaterial(bytes)
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("KeySource(hidden)")
    }
}

impl Display for Crypto {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (tag, suite) = (self.tag, self.suite.name());
        write!(f, "{tag} {suite} inline:{}", BASE64.encode(self.key.as_bytes()))
    }
}

impl MediaDescription {
    /// The usable `a=crypto` lines in their order. Of lines with the same tag, which RFC 4568 §4.1 forbids, the first
    /// one counts.
    #[must_use]
    pub fn cryptos(&self) -> Vec<Crypto> {
        let mut found: Vec<Crypto> = Vec::new();
        let lines = self.attributes().filter(|attribute| attribute.is("crypto"));
        for crypto in lines.filter_map(|line| Crypto::parse(line.value.as_deref()?)) {
            if found.iter().all(|known| known.tag != crypto.tag) {
                found.push(crypto);
            }
        }
        found
    }
}

/// RFC 4568 §6.1: `inline:` key and salt, then a lifetime and a key identifier that may be there.
fn parse_key(text: &str, suite: CryptoSuite) -> Option<KeyMaterial> {
    let (method, info) = text.split_once(':')?;
    if !method.eq_ignore_ascii_case("inline") || info.contains(';') {
        return None;
    }
    let mut parts = info.split('|');
    let key = BASE64.decode(parts.next()?).ok()?;
    let legal = parts.next().is_none_or(is_lifetime) && parts.next().is_none();
    (legal && key.len() == suite.material_len()).then_some(KeyMaterial(key))
}

/// A key identifier has a colon, hence is none.
fn is_lifetime(text: &str) -> bool {
    match text.strip_prefix("2^") {
        Some(power) => is_number(power) && power.parse().is_ok_and(|power: u32| power <= MAX_LIFETIME_POWER),
        None => {
            is_number(text)
                && text
                    .parse()
                    .is_ok_and(|count: u64| (1..=1 << MAX_LIFETIME_POWER).contains(&count))
        }
    }
}

/// Digits without a leading zero.
fn is_number(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}

/// Session parameters that change nothing for us (RFC 4568 §6.3).
fn is_harmless(parameter: &str) -> bool {
    let upper = parameter.to_ascii_uppercase();
    parameter.starts_with('-')
        || upper == "KDR=0"
        || upper == "FEC_ORDER=FEC_SRTP"
        || upper.starts_with("WSH=")
}

/// RFC 4568 §6.1: written with padding; read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    /// Thirty bytes.
    const KEY: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw";

    fn line(rest: &str) -> Option<Crypto> {
        Crypto::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{rest}"))
    }

    #[test]
    fn a_line_is_read_and_written_again() {
        let crypto = line("").unwrap();
        assert_eq!((crypto.tag, crypto.suite), (1, CryptoSuite::AesCm128Sha1_80));
        assert_eq!(crypto.key.as_bytes(), b"123456789012345678901234567890");
        assert_eq!(
            crypto.to_string(),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")
        );
        for suite in CryptoSuite::ALL {
            let key = KeyMaterial((0..suite.material_len()).map(|n| n as u8 ^ 0xa7).collect());
            let crypto = Crypto { tag: 7, suite, key };
            assert_eq!(Crypto::parse(&crypto.to_string()), Some(crypto.clone()));
            let unpadded = crypto.to_string().trim_end_matches('=').to_owned();
            assert_eq!(Crypto::parse(&unpadded), Some(crypto));
        }
    }

    #[test]
    fn what_does_no_harm_is_taken() {
        for rest in [
            "|2^20",
            "|2^48",
            "|1048576",
            " WSH=128",
            " KDR=0",
            " FEC_ORDER=FEC_SRTP",
            "|2^31 -FUTURE=1 WSH=64",
            "  ",
        ] {
            assert!(line(rest).is_some(), "{rest:?}");
        }
    }

    #[test]
    fn what_could_not_be_agreed_to_is_passed_over() {
        for rest in [
            "|1:4",
            "|2^20|1:4",
            "|2^49",
            "|2^020",
            "|0",
            "|many",
            "|",
            ";inline:AAAA|1:1",
            " KDR=1",
            " UNENCRYPTED_SRTP",
            " UNENCRYPTED_SRTCP",
            " UNAUTHENTICATED_SRTP",
            " FEC_ORDER=SRTP_FEC",
            " FEC_KEY=inline:x",
            " FUTURE=1",
            "A",
            "AAAA",
            "*",
        ] {
            assert_eq!(line(rest), None, "{rest:?}");
        }
        for whole in [
            "",
            "1",
            "1 AES_CM_128_HMAC_SHA1_80",
            "01 AES_CM_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw",
            "1234567890 AES_CM_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw",
            "1 F8_128_HMAC_SHA1_80 inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw",
            "1 AES_256_CM_HMAC_SHA1_80 inline:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw",
            "1 AES_CM_128_HMAC_SHA1_80 uri:https://example.org/key",
        ] {
            assert_eq!(Crypto::parse(whole), None, "{whole:?}");
        }
    }

    #[test]
    fn keys_never_show() {
        let shown = format!("{:?}", line("").unwrap());
        assert!(shown.contains("hidden") && !shown.contains("49, 50"), "{shown}");
    }
}
