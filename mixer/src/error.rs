//! What can go wrong when media is built; nothing can once it runs.

use rtp_media::codec::CodecError;

/// Why a leg or an update could not be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MixerError {
    /// A codec refused its settings or found no memory.
    #[error("codec: {0}")]
    Codec(#[from] CodecError),
    /// More payload types than a leg can hold: the peer's offer is absurd.
    #[error("limit: {0} payload types")]
    TooManyPayloadTypes(usize),
}
