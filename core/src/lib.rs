//! What a DAG, a run and a schedule are, and what happens next.
//!
//! Pure: no I/O, no clock, no async runtime. Time comes in as an argument, randomness as a seed; the same input gives
//! the same answer in a worker, a scheduler, a test and a replay of history.

pub mod ids;
pub mod retry;
pub mod schedule;
pub mod spec;
pub mod state;
