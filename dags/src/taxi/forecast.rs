//! Forecasts of demand, predictions of fares, and what was unusual: what `demand_forecast` and `fare_prediction` keep in `ml`.
//!
//! The mathematics is `orch-forecast`'s. Here is what is read, which model is used, and which rows are written. A run has a
//! reference date, reads nothing after it, and replaces exactly its own rows; a model that was fitted stays.

pub mod contracts;
pub mod dags;
pub mod demand;
pub mod drift;
pub mod fares;
pub mod known;
pub mod made;
pub mod models;
pub mod options;
pub mod tasks;
