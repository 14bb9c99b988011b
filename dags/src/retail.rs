//! The retail pipelines: MySQL → raw → silver → gold → Postgres.
//!
//! What a table is stands in `schema`; how one layer becomes the next in `silver` and `gold`, as functions of frames;
//! `tasks` does it, `dags` says in which order. `source` is MySQL, or the `sample` in its place.

pub mod capture;
pub(crate) mod changes;
pub mod contracts;
pub mod dags;
pub mod days;
pub mod extract;
pub mod gold;
pub mod options;
pub mod sample;
pub mod schema;
pub mod silver;
pub mod source;
pub mod spark;
pub mod tasks;
pub mod transactions;

use orch::Dag;

pub fn dags() -> Vec<Dag> {
    [dags::dags(), spark::dags::dags(), transactions::dags()].into_iter().flatten().collect()
}
