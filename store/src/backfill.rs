//! Backfills: runs for past dates. All dates are stored when a backfill is created (`create`), and schedulers create
//! their runs a few at a time (`pace`). Users list (`list`) and change (`change`) backfills.

mod change;
mod create;
mod list;
mod pace;

pub use change::{CancelBackfill, cancel_backfill, change_max_active_runs, pause_backfill};
pub use create::{BackfillTasks, CreateBackfill, NewBackfill, Planned, create_backfill, plan_backfill};
pub use list::{BACKFILLS, BackfillDate, BackfillRow, by, get_backfill, list_dates};
pub use pace::{Paced, due_backfills, pace};
