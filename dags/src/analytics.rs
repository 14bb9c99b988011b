//! Tables of `comprehensive_analytics_pipeline` in `analytics`, `ml` and `realtime`, computed from trips, weather and
//! changes.
//!
//! A run computes whole days and replaces exactly these. A row depends on its own day and on data from before it, never
//! on later data or on which days a run computes together. `tables` declares the tables, `sql/` has one statement per
//! table, and `tasks` reads and publishes. Only two steps are Rust: finding the zone of a point, and the fares of
//! earlier trips.

pub mod dags;
pub mod fares;
pub mod options;
pub mod outlines;
pub mod tables;
pub mod tasks;
