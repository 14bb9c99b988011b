//! What `comprehensive_analytics_pipeline` computes from trips, weather and changes: the tables of `analytics`, `ml` and `realtime`.
//!
//! A run computes whole days and replaces exactly these. A row depends on its own day and on what was known before it, never on
//! what came later or on which days a run computes together. `tables` declares the tables, `sql/` has the statement of each, and
//! `tasks` reads and publishes. Only two things are Rust: which zone a point lies in, and the fares of earlier trips.

pub mod dags;
pub mod fares;
pub mod options;
pub mod outlines;
pub mod tables;
pub mod tasks;
