//! Demand forecasts, fare predictions and unusual trips: the tables of `demand_forecast` and `fare_prediction` in `ml`.
//!
//! `orch-forecast` has the mathematics; this module reads the data, chooses the model and writes the results. A run has
//! a reference date, reads nothing after it, and replaces exactly its own rows. Fitted models are never replaced.

pub mod dags;
pub mod demand;
pub mod drift;
pub mod fares;
pub mod known;
pub mod models;
pub mod options;
pub mod tasks;
