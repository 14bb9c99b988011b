//! The analytics over trips, weather and changes: what `comprehensive_analytics_pipeline` keeps in `analytics`, `ml` and
//! `realtime`.
//!
//! A run computes whole days and replaces exactly these. A row depends on its own day and on what was before it, never on
//! what came later or on which days a run computes together. `table` makes a table of a list of columns; `hourly`,
//! `demand`, `fares` and `realtime` have the rows and the lists, and no I/O; `sources` reads, `tasks` does it.

pub mod changes;
pub mod contracts;
pub mod dags;
pub mod demand;
pub mod fares;
pub mod hourly;
pub mod options;
pub mod outlines;
pub mod realtime;
pub mod tasks;
