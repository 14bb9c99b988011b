//! A variable is changed part by part. What people saw as `***` and send back as that stays as it is.

use super::{VariableRow, seat};
use crate::part::Becomes;
use crate::seal::{Keyring, SecretError};
use orch_core::secret::{MASK, is_sensitive, restored_variable};
use sqlx::postgres::PgConnection;

/// The parts that become other ones.
#[derive(Clone, Default)]
pub struct VariableChange {
    pub value: Option<String>,
    pub description: Option<Becomes<String>>,
}

/// The variable as it is now; `None`: there is none of that key.
pub async fn change_variable(
    db: &mut PgConnection,
    key: &str,
    change: VariableChange,
    keys: &Keyring,
) -> Result<Option<VariableRow>, SecretError> {
    let row = sqlx::query_as!(
        VariableRow,
        "select key, value, description, created_at, updated_at from variable where key = $1 for update",
        key
    );
    let Some(row) = row.fetch_optional(&mut *db).await? else { return Ok(None) };
    let value = match change.value {
        None => row.value,
        // Whoever may not look keeps it without a key.
        Some(sent) if sent == MASK && is_sensitive(key) => row.value,
        Some(sent) if sent.contains(MASK) => keys.seal(seat(key), &restored_variable(key, &sent, &row.open(keys)?))?,
        Some(sent) => keys.seal(seat(key), &sent)?,
    };
    let description = change.description.map_or(row.description, |Becomes(new)| new);
    let row = sqlx::query_as!(
        VariableRow,
        "update variable set value = $2, description = $3, updated_at = now() where key = $1
        returning key, value, description, created_at, updated_at",
        key,
        value,
        description
    );
    Ok(Some(row.fetch_one(db).await?))
}
