//! Forecasts of counts by the hour, and of fares: features, fit, prediction, intervals, and how good they are.
//!
//! Pure: numbers in, numbers out, the same ones each time. Nothing here reads a table or a clock; `dags` does that.

pub mod calendar;
pub mod demand;
pub mod fares;
pub mod features;
pub mod interval;
pub mod series;
pub mod trees;
pub mod zones;
