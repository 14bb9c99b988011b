//! Decides what happens next: in a run, at the gates of a task, with alerts, after an asset update, in a backfill.
//!
//! Pure: no I/O, no clock, no async runtime. The time and random seeds are arguments, so the same input has the same
//! result in a worker, a scheduler, a test and a replay.

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
