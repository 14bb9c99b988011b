//! The hourly weather and the taxi zones of New York: an API, or generated sample data → the lake.
//!
//! `options` has the params, among them the cities. `source` sends requests to an API, which `shapes` describes;
//! `readings` are the result. `contracts` has the checks, `tasks` the steps, `dags` their order.

pub mod contracts;
pub mod dags;
pub mod hours;
pub mod options;
pub mod readings;
pub mod sample;
pub mod shapes;
pub mod source;
pub mod tasks;
