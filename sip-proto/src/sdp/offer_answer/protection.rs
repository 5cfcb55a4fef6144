//! Keys in offer and answer (RFC 4568 §5 and §7): which line is agreed to, and which key of ours goes out.
//!
//! | offered | `Off` | `Optional` | `Required` |
//! |---|---|---|---|
//! | `RTP/AVP(F)` | clear | clear | refused |
//! | `RTP/AVP(F)` with a usable key | clear, key passed over | protected, protocol echoed | the same |
//! | `RTP/SAVP(F)` with a usable key | refused | protected | protected |
//! | `RTP/SAVP(F)` without | refused | refused | refused |
//!
//! Our key stays the same as long as the suite does, so that a re-INVITE does not disturb the rollover counter. But
//! where an end of the stream moves, the end that is there now may know nothing of that counter (RFC 4568 §7.1.4): when
//! we listen elsewhere, or the peer does and has a new key, ours is new too.
//!
//! Deliberately absent: DTLS (`UDP/TLS/RTP/SAVP(F)`), and a second try without keys; that is the caller's.

use super::Offered;
use super::local::SrtpPolicy;
use super::negotiated::NegotiatedSrtp;
use super::refusal::{AnswerError, Refusal};
use crate::sdp::crypto::{Crypto, CryptoSuite, KeySource};
use crate::sdp::model::MediaDescription;

/// `RTP/AVP` and `RTP/AVPF`.
pub(super) fn is_clear(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("RTP/AVP") || protocol.eq_ignore_ascii_case("RTP/AVPF")
}

/// `RTP/SAVP` and `RTP/SAVPF`: protected, keys in the description.
pub(super) fn is_sdes(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("RTP/SAVP") || protocol.eq_ignore_ascii_case("RTP/SAVPF")
}

/// The protocol of a first offer.
pub(super) const fn offered_protocol(policy: SrtpPolicy) -> &'static str {
    match policy {
        SrtpPolicy::Off | SrtpPolicy::Optional => "RTP/AVP",
        SrtpPolicy::Required => "RTP/SAVP",
    }
}

/// The key lines of an offer of ours: in a running session what holds, with a new key if we listen elsewhere
/// (`moved`), else a new key for each suite.
pub(super) fn to_offer(
    policy: SrtpPolicy,
    before: Option<Option<&NegotiatedSrtp>>,
    moved: bool,
    keys: Option<&mut KeySource>,
) -> Vec<Crypto> {
    match (before, keys) {
        (Some(None), _) | (None, None) => Vec::new(),
        (Some(Some(srtp)), keys) => vec![Crypto {
            tag: srtp.tag,
            suite: srtp.suite,
            key: match keys.filter(|_| moved) {
                Some(keys) => keys.key(srtp.suite),
                None => srtp.local.clone(),
            },
        }],
        (None, Some(_)) if policy == SrtpPolicy::Off => Vec::new(),
        (None, Some(keys)) => (1..)
            .zip(CryptoSuite::OFFERED)
            .map(|(tag, suite)| Crypto {
                tag,
                suite,
                key: keys.key(suite),
            })
            .collect(),
    }
}

/// The line of an offer to agree to; `None`: clear media.
pub(super) fn acceptable(
    line: &MediaDescription,
    policy: SrtpPolicy,
    before: Option<&NegotiatedSrtp>,
) -> Result<Option<Crypto>, Refusal> {
    let sdes = is_sdes(&line.protocol);
    if (!sdes && !is_clear(&line.protocol)) || (sdes && policy == SrtpPolicy::Off) {
        return Err(Refusal::Protocol);
    }
    if policy == SrtpPolicy::Off {
        return Ok(None);
    }
    let mut lines = line.cryptos();
    // Who sends our own key back would have both directions under one key stream.
    lines.retain(|crypto| before.is_none_or(|before| before.local != crypto.key));
    // The offerer's order is its preference (RFC 4568 §5.1.1); but what is in use stays in use.
    let in_use = before.and_then(|before| lines.iter().position(|crypto| crypto.suite == before.suite));
    let chosen = lines.into_iter().nth(in_use.unwrap_or(0));
    match chosen {
        None if sdes => Err(Refusal::Keys),
        None if policy == SrtpPolicy::Required => Err(Refusal::Unprotected),
        chosen => Ok(chosen),
    }
}

/// Whether an end of the stream listens elsewhere than before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    pub(super) ours: bool,
    pub(super) theirs: bool,
}

/// What agreeing to the peer's line makes: our key goes on if it can. `None` if there is no source of keys.
pub(super) fn agree(
    theirs: Crypto,
    before: Option<&NegotiatedSrtp>,
    moved: Moved,
    keys: Option<&mut KeySource>,
) -> Option<NegotiatedSrtp> {
    let goes_on = |before: &&NegotiatedSrtp| {
        before.suite == theirs.suite && !moved.ours && !(moved.theirs && before.remote != theirs.key)
    };
    let ours = before.filter(goes_on);
    let local = match ours {
        Some(before) => before.local.clone(),
        None => keys?.key(theirs.suite),
    };
    Some(NegotiatedSrtp {
        tag: theirs.tag,
        suite: theirs.suite,
        local,
        remote: theirs.key,
    })
}

/// What the answer to our offer makes of the keys that we offered.
pub(super) fn answered(
    offered: &Offered,
    answered: &MediaDescription,
) -> Result<Option<NegotiatedSrtp>, AnswerError> {
    let protected = is_sdes(&answered.protocol) || offered.protected_only;
    // Under RTP/AVP a line that we did not ask for means nothing.
    if !answered.has("crypto") || (!protected && offered.cryptos.is_empty()) {
        return if protected {
            Err(AnswerError::Keys)
        } else {
            Ok(None)
        };
    }
    // RFC 4568 §5.1.3: one line, with tag and suite of one of ours.
    let theirs = answered.cryptos().into_iter().next().ok_or(AnswerError::Keys)?;
    let ours = offered
        .cryptos
        .iter()
        .find(|ours| (ours.tag, ours.suite) == (theirs.tag, theirs.suite))
        .filter(|ours| ours.key != theirs.key)
        .ok_or(AnswerError::Keys)?;
    Ok(Some(NegotiatedSrtp {
        tag: ours.tag,
        suite: ours.suite,
        local: ours.key.clone(),
        remote: theirs.key,
    }))
}
