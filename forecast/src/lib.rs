//! Forecasts of hourly counts and of fares: features, fitting, prediction, intervals and evaluation.
//!
//! All functions are pure and deterministic. They read no tables and no clock; the crate `dags` does that.

pub mod calendar;
pub mod demand;
pub mod fares;
pub mod features;
pub mod interval;
pub mod series;
pub mod trees;
pub mod zones;
