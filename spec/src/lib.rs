//! The structure of a DAG as data, its states, its validation and its schedule.
//!
//! All other crates build on this one, so it contains only what rarely changes: `core` decides what happens next in a
//! run, `sdk` is for task functions, and `document` reads DAG files. Pure: no I/O, no clock, no async runtime.

pub mod approval;
pub mod asset;
pub mod check;
mod dag;
pub mod elements;
pub mod ids;
pub mod metrics;
pub mod names;
pub mod params;
pub mod pattern;
pub mod schedule;
pub mod state;
pub mod template;
pub mod text;

pub use dag::*;
