//! What `meet` remembers between two runs: the tokens of meetings that it created.
//!
//! One file `tokens.json` in the XDG state directory, readable by its owner only, replaced as a whole.
//! Deliberately absent: call history, which the server keeps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::MeetError;

/// Remembered tokens by server and meeting.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    tokens: BTreeMap<String, String>,
}

/// Tokens that are kept; the oldest names go first (a token is 32 characters).
const KEPT: usize = 200;

impl Tokens {
    /// Reads the file of this user; a missing or broken file counts as empty.
    pub fn load() -> Option<Self> {
        Some(Self::load_from(&super::folders::state()?))
    }

    /// The same in a given folder.
    pub fn load_from(folder: &Path) -> Self {
        let path = folder.join("tokens.json");
        let tokens = std::fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { path, tokens }
    }

    /// The token of a meeting.
    pub fn get(&self, server: &str, room: &str) -> Option<&str> {
        self.tokens.get(&key(server, room)).map(String::as_str)
    }

    /// Remembers a token.
    pub fn remember(&mut self, server: &str, room: &str, token: &str) -> Result<(), MeetError> {
        while self.tokens.len() >= KEPT {
            self.tokens.pop_first();
        }
        self.tokens.insert(key(server, room), token.to_owned());
        self.save()
    }

    /// Forgets a token.
    pub fn forget(&mut self, server: &str, room: &str) -> Result<(), MeetError> {
        if self.tokens.remove(&key(server, room)).is_some() {
            self.save()
        } else {
            Ok(())
        }
    }

    fn save(&self) -> Result<(), MeetError> {
        self.write().map_err(|source| MeetError::WriteFile {
            path: self.path.clone(),
            source,
        })
    }

    fn write(&self) -> std::io::Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // Another `meet` may write at the same time: each has its own temporary file.
        let temporary = self.path.with_extension(format!("{}.new", std::process::id()));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(&self.tokens)?)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &self.path)
    }
}

fn key(server: &str, room: &str) -> String {
    format!("{server} {}", room.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn tokens_survive_and_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let mut tokens = Tokens::load_from(folder.path());
        tokens.remember("h:5060", "Standup", "secret").unwrap();
        let again = Tokens::load_from(folder.path());
        assert_eq!(again.get("h:5060", "standup"), Some("secret"));
        assert_eq!(again.get("other:5060", "standup"), None);
        let mode = std::fs::metadata(folder.path().join("tokens.json"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut again = again;
        again.forget("h:5060", "standup").unwrap();
        assert_eq!(Tokens::load_from(folder.path()).get("h:5060", "standup"), None);
    }

    #[test]
    fn a_broken_file_counts_as_empty() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokens.json"), b"{not json").unwrap();
        assert_eq!(Tokens::load_from(folder.path()).get("h", "r"), None);
    }
}
