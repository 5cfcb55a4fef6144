//! `meet-server user …`: accounts from the command line; works while the server runs.
//!
//! The password is read without echo, becomes one HA1 for each digest algorithm (RFC 7616
//! §3.4.2, RFC 8760) and is forgotten. Deliberately absent: a password policy beyond "not
//! empty"; the operator knows better.

use crate::config::{Config, UserCommand};
use crate::error::{StartError, UserError};
use crate::store::{self, AccountRow, Store};
use sip_proto::digest::{Algorithm, ha1};
use std::io::{BufRead, IsTerminal, Write};

/// Executes a user command and gives the text for standard output.
pub fn run(command: &UserCommand, config: &Config) -> Result<String, StartError> {
    std::fs::create_dir_all(&config.data_dir).map_err(|source| StartError::DataDir {
        path: config.data_dir.clone(),
        source,
    })?;
    let path = Store::file(&config.data_dir);
    let refused = |source| StartError::Store {
        path: path.clone(),
        source,
    };
    let mut database = store::open(&path).map_err(refused)?;
    let realm = &config.sip.realm;
    match command {
        UserCommand::Add { name, password_stdin } => {
            check_name(name)?;
            let password = read_password(name, *password_stdin)?;
            let account = hashed(name, realm, &password);
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap_or_default();
            let at = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
            store::add_account(&mut database, &account, at).map_err(refused)?;
            Ok(format!("account {name} is ready in realm {realm}\n"))
        }
        UserCommand::List => {
            let users = store::list_accounts(&database, realm).map_err(refused)?;
            Ok(users.into_iter().map(|user| user + "\n").collect())
        }
        UserCommand::Remove { name } => {
            if store::remove_account(&mut database, realm, name).map_err(refused)? {
                Ok(format!("account {name} is removed\n"))
            } else {
                Err(UserError::Unknown(name.clone()).into())
            }
        }
    }
}

fn check_name(name: &str) -> Result<(), UserError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        return Err(UserError::Name(name.to_owned()));
    }
    Ok(())
}

fn hashed(user: &str, realm: &str, password: &str) -> AccountRow {
    let algorithms = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256];
    let hash = |algorithm: Algorithm| {
        let secret = ha1(algorithm, user, realm, password);
        (algorithm.as_str().to_owned(), secret.as_hex().to_owned())
    };
    AccountRow {
        realm: realm.to_owned(),
        user: user.to_owned(),
        ha1: algorithms.map(hash).to_vec(),
    }
}

fn read_password(name: &str, plain: bool) -> Result<String, UserError> {
    let stdin = std::io::stdin();
    if plain || !stdin.is_terminal() {
        let mut line = String::new();
        stdin.lock().read_line(&mut line).map_err(UserError::Read)?;
        return not_empty(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let first = not_empty(prompt(&format!("Password for {name}: "))?)?;
    if first == prompt("Once more: ")? {
        Ok(first)
    } else {
        Err(UserError::Mismatch)
    }
}

fn not_empty(password: String) -> Result<String, UserError> {
    if password.is_empty() {
        Err(UserError::EmptyPassword)
    } else {
        Ok(password)
    }
}

/// Reads a line without echo; the terminal is put back in any case.
fn prompt(text: &str) -> Result<String, UserError> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let read = |e: rustix::io::Errno| UserError::Read(e.into());
    let stdin = std::io::stdin();
    let mut terminal = tcgetattr(&stdin).map_err(read)?;
    let before = terminal.clone();
    terminal.local_modes -= LocalModes::ECHO;
    tcsetattr(&stdin, OptionalActions::Flush, &terminal).map_err(read)?;
    let mut stderr = std::io::stderr();
    drop(write!(stderr, "{text}"));
    let mut line = String::new();
    let outcome = stdin.lock().read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Flush, &before).map_err(read)?;
    drop(writeln!(stderr));
    outcome.map_err(UserError::Read)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_user_part_are_refused() {
        for bad in ["", "a b", "a@b", "ä", "a/b", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("alice.smith-2+test_x").is_ok());
    }

    #[test]
    fn one_hash_for_each_algorithm_and_no_password() {
        let row = hashed("ann", "meet", "s3cret");
        let names: Vec<&str> = row.ha1.iter().map(|(a, _)| a.as_str()).collect();
        assert_eq!(names, ["MD5", "SHA-256", "SHA-512-256"]);
        assert!(
            row.ha1
                .iter()
                .all(|(_, h)| h.len() >= 32 && !h.contains("s3cret"))
        );
    }
}
