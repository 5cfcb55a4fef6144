//! The terminal interface: people, who speaks, levels, keys.
//!
//! [`model`] is what is known, [`draw`] turns it into a picture of any size, [`Screen`] owns the terminal. The
//! people come from the conference roster alone. Deliberately absent: anything that decides about the call; keys
//! become [`Action`]s.

mod draw;
mod keys;
mod model;
mod screen;

pub use keys::Action;
pub use screen::Screen;
