//! Decides what happens next: in a run, at its gates, with alerts, after an asset update, in a backfill.
//!
//! Pure: no I/O, no clock, no async runtime. Time is an argument and randomness a seed, so the same input gives the
//! same result in a worker, a scheduler, a test and a replay.

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
