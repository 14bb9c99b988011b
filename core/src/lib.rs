//! What a DAG, a run and a schedule are, and what happens next.
//!
//! Pure: no I/O, no clock, no async runtime. Time comes in as an argument, randomness as a seed; the same input gives
//! the same answer in a worker, a scheduler, a test and a replay of history.

pub mod admission;
pub mod alert;
pub mod approval;
pub mod asset;
pub mod backfill;
pub mod branch;
pub mod check;
pub mod deadline;
pub mod diff;
pub mod file;
pub mod gates;
pub mod history;
pub mod ids;
pub mod model;
pub mod network;
pub mod overlap;
pub mod params;
pub mod pattern;
pub mod plan;
pub mod retry;
pub mod rule;
pub mod run;
pub mod schedule;
pub mod secret;
pub mod select;
pub mod spec;
pub mod state;
pub mod task;
pub mod text;
pub mod transition;
pub mod wait;
pub mod why;
pub mod yaml;
