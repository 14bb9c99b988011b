//! Key rotation: decrypts values that are encrypted with another key than the first one, and encrypts them with the
//! first one.

use super::{CONNECTION, Columns, Record, Table, VARIABLE, list, write::reseal};
use crate::{
    boxed,
    seal::{Keyring, SecretError},
};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

/// Number of rows that one statement reads.
const PAGE: i64 = 500;

/// Number of rows that were encrypted again, and number of rows that already used the first key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotated {
    pub connections: u64,
    pub variables: u64,
    pub current: u64,
}

/// Encrypts all rows with the first key, in one transaction. If a value cannot be decrypted, no row is changed.
#[boxed]
pub async fn rotate(db: &mut PgConnection, keys: &Keyring) -> Result<Rotated, SecretError> {
    let mut transaction = db.begin().await?;
    let mut done = Rotated::default();
    for (table, anew) in [(&CONNECTION, &mut done.connections), (&VARIABLE, &mut done.variables)] {
        let mut after: Option<String> = None;
        while let Some(page) = page(&mut transaction, table, &mut after).await? {
            for record in &page {
                if record.is_current(keys) {
                    done.current += 1;
                } else {
                    reseal(&mut transaction, table, record.name(), &opened(record, table, keys)?, keys).await?;
                    *anew += 1;
                }
            }
        }
    }
    transaction.commit().await?;
    Ok(done)
}

/// Returns the number of connections and variables that cannot be decrypted with these keys.
#[boxed]
pub async fn count_locked(db: &mut PgConnection, keys: &Keyring) -> Result<usize, SecretError> {
    let mut locked = 0;
    for table in [&CONNECTION, &VARIABLE] {
        let mut after: Option<String> = None;
        while let Some(page) = page(db, table, &mut after).await? {
            locked += page.iter().filter(|record| opened(record, table, keys).is_err()).count();
        }
    }
    Ok(locked)
}

async fn page(
    db: &mut PgConnection,
    table: &'static Table,
    after: &mut Option<String>,
) -> Result<Option<Vec<Record>>, SecretError> {
    let page = list(db, table, after.as_deref(), PAGE).await?;
    *after = page.last().map(|last| last.name().to_string());
    Ok((!page.is_empty()).then_some(page))
}

/// Returns the sealed columns of a row, decrypted.
fn opened(record: &Record, table: &'static Table, keys: &Keyring) -> Result<Columns, SecretError> {
    let open = |column: &&'static str| Ok(record.open(column, keys)?.map(|secret| (*column, secret.into())));
    table.sealed.iter().filter_map(|column| open(column).transpose()).collect()
}
