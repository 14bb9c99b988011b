//! What a DAG is: its structure as data, the words of its parts, what cannot be right about it, and when it is due.
//!
//! Everything else is built on this, so what changes often is not here: what happens next in a run is `core`, what a body uses `sdk`,
//! and how a file says it `document`. Pure: no I/O, no clock, no async runtime.

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
