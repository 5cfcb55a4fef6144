//! Accounts: HA1 hashes by algorithm. Used by the store's thread and by `meet-server user`.

use super::StoreError;
use rusqlite::{Connection, params};

/// One account.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// Digest realm.
    pub realm: String,
    /// User name.
    pub user: String,
    /// Algorithm name as in RFC 7616 §3.3 and the hash in hexadecimal.
    pub ha1: Vec<(String, String)>,
}

impl std::fmt::Debug for AccountRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A hash is as good as the password on the wire: it is never printed.
        f.debug_struct("AccountRow")
            .field("realm", &self.realm)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Adds an account or replaces its hashes.
pub fn add_account(connection: &mut Connection, account: &AccountRow, at_ms: i64) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    transaction.execute(
        "DELETE FROM account WHERE realm = ?1 AND user = ?2",
        params![account.realm, account.user],
    )?;
    for (algorithm, ha1) in &account.ha1 {
        transaction.execute(
            "INSERT INTO account (realm, user, algorithm, ha1, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![account.realm, account.user, algorithm, ha1, at_ms],
        )?;
    }
    transaction.commit()?;
    Ok(())
}

/// Users of a realm, sorted.
pub fn list_accounts(connection: &Connection, realm: &str) -> Result<Vec<String>, StoreError> {
    let mut statement =
        connection.prepare("SELECT DISTINCT user FROM account WHERE realm = ?1 ORDER BY user")?;
    let users = statement
        .query_map([realm], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(users)
}

/// Removes an account and its registrations; `false`: there was none.
pub fn remove_account(connection: &mut Connection, realm: &str, user: &str) -> Result<bool, StoreError> {
    let transaction = connection.transaction()?;
    let gone = transaction.execute(
        "DELETE FROM account WHERE realm = ?1 AND user = ?2",
        params![realm, user],
    )?;
    let prefix = format!("sip:{user}@");
    transaction.execute(
        "DELETE FROM binding WHERE substr(aor, 1, length(?1)) = ?1",
        params![prefix],
    )?;
    transaction.commit()?;
    Ok(gone > 0)
}

pub(super) fn find(
    connection: &Connection,
    realm: &str,
    user: &str,
) -> Result<Option<AccountRow>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT algorithm, ha1 FROM account WHERE realm = ?1 AND user = ?2 ORDER BY algorithm",
    )?;
    let ha1: Vec<(String, String)> = statement
        .query_map([realm, user], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    Ok((!ha1.is_empty()).then(|| AccountRow {
        realm: realm.to_owned(),
        user: user.to_owned(),
        ha1,
    }))
}
