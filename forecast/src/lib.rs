//! Forecasts hourly trip counts and trip fares: features, training, prediction, intervals and evaluation.
//!
//! All functions are pure and deterministic. They read neither tables nor the clock; the crate `dags` supplies the
//! data.

pub mod calendar;
pub mod demand;
pub mod fares;
pub mod features;
pub mod interval;
pub mod series;
pub mod trees;
pub mod zones;
