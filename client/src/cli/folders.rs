//! Where `meet` keeps its files: the XDG base directories, and nothing else is read or written.
//!
//! A variable that is unset, empty or not absolute counts as unset, as the specification asks.

use std::path::PathBuf;

/// The folder of the configuration file; none without a home.
pub fn config() -> Option<PathBuf> {
    base("XDG_CONFIG_HOME", ".config")
}

/// The folder of what is remembered between two runs; none without a home.
pub fn state() -> Option<PathBuf> {
    base("XDG_STATE_HOME", ".local/state")
}

fn base(variable: &str, below_home: &str) -> Option<PathBuf> {
    let from = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let folder = from(variable).or_else(|| from("HOME").map(|home| home.join(below_home)))?;
    Some(folder.join("meet"))
}
