//! Limits of the column types. Rust accepts strings and numbers that Postgres rejects, and a rejection undoes
//! everything the statement would have written. Task functions return such values, and lease numbers get close to the
//! limits of their types (`script`).

use super::State;
use super::step::key_of;
use super::tables::Key;
use crate::faults::Mutant;
use orch_spec::state::TaskState;
use orch_store::step::EndedTry;
use orch_store::{StoreError, StoreResult};
use serde_json::Value;

/// Maximum size of an index row: a third of a page.
const MOST_KEY_BYTES: usize = 2_704;

impl State {
    /// Returns an error if a value that the end of a try writes does not fit its column.
    pub(crate) fn fits(&self, end: &EndedTry) -> StoreResult<()> {
        for (key, value) in &end.outputs {
            text(key.as_str())?;
            if key.as_str().len() > MOST_KEY_BYTES {
                return Err(refused("54000: the key of an output is too long for its index"));
            }
            json(value.as_str())?;
        }
        end.failure.iter().flat_map(|failure| &failure.causes).try_for_each(|cause| text(cause.as_str()))?;
        let is_same_try = end.next.is_some() && end.state != TaskState::UpForRetry;
        if is_same_try { self.lease_can_grow(&key_of(&end.lease), self.script.looks_at_once()) } else { Ok(()) }
    }

    /// Checks that `task_instance.lease_no` can grow by `by`. All other tables that store a lease number have the
    /// same type.
    pub(crate) fn lease_can_grow(&self, key: &Key, by: i32) -> StoreResult<()> {
        let most = if self.is_mutant(Mutant::NarrowLeases) { i32::from(i16::MAX) } else { i32::MAX };
        match self.tables.instances.get(key).map(|row| row.lease_no.checked_add(by)) {
            Some(next) if next.is_none_or(|next| next > most) => Err(refused("22003: `lease_no` is out of range")),
            _ => Ok(()),
        }
    }
}

/// Rejects strings with NUL, as Postgres does.
fn text(text: &str) -> StoreResult<()> {
    if text.contains('\0') { Err(refused("22021: a text with a NUL")) } else { Ok(()) }
}

/// Rejects invalid JSON, and JSON nested deeper than the parser's limit. An escaped NUL is accepted here; Postgres
/// rejects it only when it extracts the value.
fn json(value: &str) -> StoreResult<()> {
    text(value)?;
    serde_json::from_str::<Value>(value).map(drop).map_err(|error| refused(&format!("22P02: {error}")))
}

/// Returns an error that blames the value and not the statement (`orch_store::error::Policy::Isolate`).
fn refused(why: &str) -> StoreError {
    StoreError::Sql(sqlx::Error::Encode(why.into()))
}
