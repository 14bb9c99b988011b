//! What happens next: in a run, at its gates, with its alerts, after an update of an asset, for a backfill.
//!
//! Pure: no I/O, no clock, no async runtime. Time comes in as an argument, randomness as a seed; the same input gives
//! the same answer in a worker, a scheduler, a test and a replay of history.

pub mod admission;
pub mod alert;
pub mod asset;
pub mod backfill;
pub mod branch;
pub mod deadline;
pub mod gates;
pub mod history;
pub mod model;
pub mod network;
pub mod overlap;
pub mod plan;
pub mod retry;
pub mod rule;
pub mod run;
pub mod select;
pub mod transition;
pub mod why;
