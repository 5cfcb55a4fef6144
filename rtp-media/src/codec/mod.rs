//! Audio codecs (owned by builder MIX; replaced by its first landing).
