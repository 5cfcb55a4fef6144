//! Session keys of one direction of RTP or of RTCP, and what is done with them.
//!
//! The key derivation is that of RFC 3711 §4.3 with a rate of zero: each session key is made once.

use aes::cipher::{Array, BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipherCore};
use aes::{Aes128Enc, Aes256Enc};
use ctr::{CtrCore, flavors::Ctr128BE};
use hmac::{Hmac, Mac};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use super::SrtpError;
use super::suite::{MasterKey, Suite};

/// Bytes of a GCM tag.
pub(super) const GCM_TAG: usize = 16;

/// Which session keys (RFC 3711 §4.3.2).
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// Labels 0, 1, 2.
    Rtp,
    /// Labels 3, 4, 5.
    Rtcp,
}

/// Session keys.
pub(super) enum Cipher {
    /// Counter mode with HMAC-SHA1 cut to `tag` bytes.
    Counter {
        /// The block cipher.
        aes: Aes,
        /// 112 bits.
        salt: [u8; 14],
        /// Keyed; copied for each packet.
        mac: Box<Hmac<Sha1>>,
        /// Bytes of the tag.
        tag: usize,
    },
    /// AES-GCM.
    Galois {
        /// The key.
        key: Box<LessSafeKey>,
        /// 96 bits.
        salt: [u8; 12],
    },
}

/// AES as counter mode needs it.
pub(super) enum Aes {
    /// 128 bits.
    Short(Box<Aes128Enc>),
    /// 256 bits.
    Long(Box<Aes256Enc>),
}

impl Aes {
    fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Some(Self::Short(Box::new(Aes128Enc::new_from_slice(key).ok()?))),
            32 => Some(Self::Long(Box::new(Aes256Enc::new_from_slice(key).ok()?))),
            _ => None,
        }
    }

    /// Adds the key stream that begins at `counter` to `data`. No packet reaches the 2^16 blocks after which the
    /// counter's packet part would change.
    fn add_key_stream(&self, counter: [u8; 16], data: &mut [u8]) {
        fn run<C: BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>>(
            aes: &C,
            counter: [u8; 16],
            data: &mut [u8],
        ) {
            let core = CtrCore::<&C, Ctr128BE>::inner_iv_init(aes, &Array(counter));
            core.apply_keystream_partial(data.into());
        }
        match self {
            Self::Short(aes) => run(aes.as_ref(), counter, data),
            Self::Long(aes) => run(aes.as_ref(), counter, data),
        }
    }
}

impl Cipher {
    /// Derives the session keys. `None` cannot happen with a [`MasterKey`], whose lengths were checked.
    pub(super) fn derive(master: &MasterKey, purpose: Purpose) -> Option<Self> {
        let labels = match purpose {
            Purpose::Rtp => [0, 1, 2],
            Purpose::Rtcp => [3, 4, 5],
        };
        let derive = |label: u8, out: &mut [u8]| derive(master, label, out);
        let [encryption, authentication, salting] = labels;
        let suite = master.suite();
        let mut key = [0_u8; 32];
        let key_part = key.get_mut(..suite.key_len())?;
        derive(encryption, key_part)?;
        let cipher = match suite {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => {
                let algorithm = if suite.key_len() == 16 {
                    &AES_128_GCM
                } else {
                    &AES_256_GCM
                };
                let mut salt = [0; 12];
                derive(salting, &mut salt)?;
                let key = LessSafeKey::new(UnboundKey::new(algorithm, key_part).ok()?);
                Self::Galois {
                    key: Box::new(key),
                    salt,
                }
            }
            _ => {
                let (mut salt, mut mac) = ([0; 14], [0; 20]);
                derive(salting, &mut salt)?;
                derive(authentication, &mut mac)?;
                let keyed = Hmac::<Sha1>::new_from_slice(&mac).ok()?;
                mac.zeroize();
                let tag = match purpose {
                    Purpose::Rtp => suite.rtp_overhead(),
                    Purpose::Rtcp => suite.rtcp_overhead() - 4,
                };
                Self::Counter {
                    aes: Aes::new(key_part)?,
                    salt,
                    mac: Box::new(keyed),
                    tag,
                }
            }
        };
        key.zeroize();
        Some(cipher)
    }

    /// Bytes of the tag.
    pub(super) const fn tag_len(&self) -> usize {
        match self {
            Self::Counter { tag, .. } => *tag,
            Self::Galois { .. } => GCM_TAG,
        }
    }
}

/// Key stream for a packet in counter mode (RFC 3711 §4.1.1): salt, SSRC at bit 64, index at bit 16.
pub(super) fn add_key_stream(aes: &Aes, salt: &[u8; 14], ssrc: u32, index: u64, data: &mut [u8]) {
    let mut counter = [0; 16];
    for (to, from) in counter.iter_mut().zip(salt) {
        *to = *from;
    }
    let block = u128::from_be_bytes(counter) ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16);
    aes.add_key_stream(block.to_be_bytes(), data);
}

/// HMAC-SHA1 over both parts.
pub(super) fn authenticate(mac: &Hmac<Sha1>, packet: &[u8], trailer: &[u8]) -> [u8; 20] {
    let mut mac = mac.clone();
    mac.update(packet);
    mac.update(trailer);
    mac.finalize().into_bytes().into()
}

/// Whether the received tag, which may be cut, is the computed one; in constant time.
pub(super) fn same_tag(computed: &[u8; 20], received: &[u8]) -> bool {
    let computed = computed.get(..received.len()).unwrap_or_default();
    bool::from(computed.ct_eq(received))
}

/// The nonce of RFC 7714 §8.1 for RTP (`low`: rollover counter and sequence number) and §9.1 for RTCP (`low`: index).
pub(super) fn nonce(salt: &[u8; 12], ssrc: u32, low: u64) -> Nonce {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().skip(4).zip(salt) {
        *to = *from;
    }
    let value = u128::from_be_bytes(bytes) ^ (u128::from(ssrc) << 48) ^ u128::from(low);
    let mut nonce = [0; 12];
    for (to, from) in nonce.iter_mut().zip(value.to_be_bytes().iter().skip(4)) {
        *to = *from;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// Encrypts `body` in place and gives the tag.
pub(super) fn seal(
    key: &LessSafeKey,
    nonce: Nonce,
    associated: &[u8],
    body: &mut [u8],
) -> Result<[u8; GCM_TAG], SrtpError> {
    let tag = key
        .seal_in_place_separate_tag(nonce, Aad::from(associated), body)
        .map_err(|_| SrtpError::NoRoom)?;
    tag.as_ref().try_into().map_err(|_| SrtpError::NoRoom)
}

/// Opens `body`, whose last bytes are the tag, in place.
pub(super) fn open(
    key: &LessSafeKey,
    nonce: Nonce,
    associated: &[u8],
    body: &mut [u8],
) -> Result<(), SrtpError> {
    key.open_in_place(nonce, Aad::from(associated), body)
        .map(drop)
        .map_err(|_| SrtpError::Unauthentic)
}

/// RFC 3711 §4.3.1 and §4.3.3: the key stream of the master key at the salt with the label in its seventh byte from
/// the right, which stands above the 48 bits of an index that stays zero.
fn derive(master: &MasterKey, label: u8, out: &mut [u8]) -> Option<()> {
    let aes = Aes::new(master.key())?;
    out.fill(0);
    add_key_stream(&aes, &master.salt(), 0, u64::from(label) << 48, out);
    Some(())
}

#[cfg(test)]
pub(super) fn key_stream(key: &[u8], counter: [u8; 16], length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    Aes::new(key).unwrap().add_key_stream(counter, &mut out);
    out
}

#[cfg(test)]
pub(super) fn derived(master: &MasterKey, label: u8, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    derive(master, label, &mut out).unwrap();
    out
}

#[cfg(test)]
pub(super) fn galois(suite: Suite, key: &[u8], salt: [u8; 12]) -> Cipher {
    let algorithm = if suite.key_len() == 16 {
        &AES_128_GCM
    } else {
        &AES_256_GCM
    };
    let key = Box::new(LessSafeKey::new(UnboundKey::new(algorithm, key).unwrap()));
    Cipher::Galois { key, salt }
}
