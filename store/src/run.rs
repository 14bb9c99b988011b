//! Runs: creates, starts, lists, ends and deletes them. Scheduling steps within a run are in the module `step`.

mod active;
mod around;
mod create;
mod delete;
mod end;
mod insert;
mod list;
mod policy;
mod quiet;
mod relocate;
mod search;
mod skipped;
mod start;

pub use active::active_time;
pub use around::{Around, place_in_time, runs_around};
pub use create::{CreateRun, create_run, create_run_of};
pub use delete::{DeleteRun, delete_run, delete_runs};
pub use end::{EndRun, cancel_run, set_run_state, time_out_run};
pub use insert::{NewRun, RunRow};
pub use list::{RunDetails, get_run, recent_runs, run_by_uuid, set_note, still_open};
pub use relocate::{MoveRun, move_run};
pub use search::{RUNS, by, newest_of_dag};
pub(crate) use skipped::write_all_skipped;
pub use skipped::write_skipped;
pub use start::{start_queued_runs, start_queued_runs_of};

use crate::{StoreError, StoreResult};
use std::str::FromStr;

/// Parses an enum value that the database stores as text. An unknown value is an error.
pub(crate) fn word<T>(word: &str) -> StoreResult<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    word.parse().map_err(|e: T::Err| StoreError::corrupt(e.to_string()))
}
