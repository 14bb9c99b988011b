//! The weather of each hour, and the zones of New York's taxis: an API, or a generator in its place → the lake.
//!
//! `source` asks whoever the connection names, by the table of `shapes`; `readings` is what all of them come to. `contracts`
//! says what must hold, `tasks` does it, `dags` says in which order.

pub mod contracts;
pub mod dags;
pub mod hours;
pub mod options;
pub mod readings;
pub mod sample;
pub mod shapes;
pub mod source;
pub mod tasks;
