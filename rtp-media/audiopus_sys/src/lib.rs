pub use opusic_sys::*;
