//! What the columns take. Rust holds texts and numbers here that Postgres refuses, and with them everything that their
//! statement would have written. Bodies say such things, and leases come near the ends of their types (`script`).

use super::State;
use super::step::key_of;
use super::tables::Key;
use crate::faults::Mutant;
use orch_spec::state::TaskState;
use orch_store::step::EndedTry;
use orch_store::{StoreError, StoreResult};
use serde_json::Value;

/// A row of an index is no longer than a third of its page.
const MOST_KEY_BYTES: usize = 2_704;

impl State {
    /// Whether everything fits that the end of a try writes.
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

    /// `task_instance.lease_no`, and that of all tables that a lease goes to from there.
    pub(crate) fn lease_can_grow(&self, key: &Key, by: i32) -> StoreResult<()> {
        let most = if self.is_mutant(Mutant::NarrowLeases) { i32::from(i16::MAX) } else { i32::MAX };
        match self.tables.instances.get(key).map(|row| row.lease_no.checked_add(by)) {
            Some(next) if next.is_none_or(|next| next > most) => Err(refused("22003: `lease_no` is out of range")),
            _ => Ok(()),
        }
    }
}

/// No text holds a NUL.
fn text(text: &str) -> StoreResult<()> {
    if text.contains('\0') { Err(refused("22021: a text with a NUL")) } else { Ok(()) }
}

/// JSON, and not so deep that its readers end before it does. An escaped NUL is refused only where it is read out.
fn json(value: &str) -> StoreResult<()> {
    text(value)?;
    serde_json::from_str::<Value>(value).map(drop).map_err(|error| refused(&format!("22P02: {error}")))
}

/// The value is to blame, whatever the statement was (`orch_store::error::Policy::Isolate`).
fn refused(why: &str) -> StoreError {
    StoreError::Sql(sqlx::Error::Encode(why.into()))
}
