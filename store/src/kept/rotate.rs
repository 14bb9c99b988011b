//! Key rotation: values that are sealed with another key are opened and sealed again.

use super::{CONNECTION, Columns, Record, Table, VARIABLE, list, write::reseal};
use crate::{
    boxed,
    seal::{Keyring, SecretError},
};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

/// Number of rows per statement.
const PAGE: i64 = 500;

/// Number of rows that were sealed again, and of rows that had the first key already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotated {
    pub connections: u64,
    pub variables: u64,
    pub current: u64,
}

/// Seals all rows again in one transaction, or none if one of them cannot be opened.
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

/// Returns the number of connections and variables that these keys do not open.
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

/// Returns the sealed columns in plain text.
fn opened(record: &Record, table: &'static Table, keys: &Keyring) -> Result<Columns, SecretError> {
    let open = |column: &&'static str| Ok(record.open(column, keys)?.map(|secret| (*column, secret.into())));
    table.sealed.iter().filter_map(|column| open(column).transpose()).collect()
}
