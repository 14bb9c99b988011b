//! A new key: everything that is sealed with another one is opened and sealed again.

use super::{list_connections, set_sealed};
use crate::seal::{Keyring, SecretError};
use crate::variable;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

/// Names looked at in one statement.
const PAGE: i64 = 500;

/// How much was sealed anew, and how much had the first key already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotated {
    pub connections: u64,
    pub variables: u64,
    pub current: u64,
}

/// In one transaction: all, or nothing when one of them cannot be opened.
pub async fn rotate(db: &mut PgConnection, keys: &Keyring) -> Result<Rotated, SecretError> {
    let mut transaction = db.begin().await?;
    let db = &mut *transaction;
    let mut done = Rotated::default();
    let mut after: Option<String> = None;
    loop {
        let page = list_connections(db, after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.conn_id.clone());
        for row in &page {
            let sealed = [&row.password, &row.extra];
            if sealed.into_iter().flatten().all(|sealed| keys.is_current(sealed)) {
                done.current += 1;
                continue;
            }
            set_sealed(db, &row.open(keys)?, keys).await?;
            done.connections += 1;
        }
    }
    let mut after: Option<String> = None;
    loop {
        let page = variable::list_variables(db, after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        for row in &page {
            if keys.is_current(&row.value) {
                done.current += 1;
                continue;
            }
            variable::set_sealed(db, &row.key, &row.open(keys)?, keys).await?;
            done.variables += 1;
        }
    }
    transaction.commit().await?;
    Ok(done)
}

/// How many connections and variables these keys do not open.
pub async fn count_locked(db: &mut PgConnection, keys: &Keyring) -> Result<usize, SecretError> {
    let mut locked = 0;
    let mut after: Option<String> = None;
    loop {
        let page = list_connections(db, after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.conn_id.clone());
        locked += page.iter().filter(|row| row.open(keys).is_err()).count();
    }
    let mut after: Option<String> = None;
    loop {
        let page = variable::list_variables(db, after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        locked += page.iter().filter(|row| row.open(keys).is_err()).count();
    }
    Ok(locked)
}
