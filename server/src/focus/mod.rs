//! The conference focus (RFC 4353, RFC 4579), sans-IO.
//! For now only what needs no other crate; io.rs, room_io.rs, api.rs are to be read already.

pub mod digits;
pub mod directory;
pub mod ids;
pub mod limits;
pub mod names;
pub mod policy;
pub mod record;
