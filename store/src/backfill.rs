//! Backfills: runs for dates that are past. Every date is there from the beginning (`create`), schedulers make their
//! runs a few at a time (`pace`), and people look at them (`list`) and change their minds (`change`).

mod change;
mod create;
mod list;
mod pace;

pub use change::{CancelBackfill, cancel_backfill, change_max_active_runs, pause_backfill};
pub use create::{BackfillTasks, CreateBackfill, NewBackfill, Planned, create_backfill, plan_backfill};
pub use list::{BACKFILLS, BackfillDate, BackfillRow, by, get_backfill, list_dates};
pub use pace::{Paced, due_backfills, pace};
