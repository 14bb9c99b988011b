//! Retail: a shop's database → raw → silver → gold → Postgres.
//!
//! `tables` declares raw; each table of silver and gold is a file of `sql/`, with the rules for its rows. The steps
//! follow the data: `source`, `ingest`, `silver`, `gold`, `load`; `spark` builds the same tables on an engine.
//! `capture` keeps a copy of the shop in the lake, which `changes` reads instead of the database, and `sample`
//! generates a shop for installations without one.

pub mod dags;
pub mod tables;

pub mod capture;
pub(crate) mod changes;
pub mod source;

pub mod ingest;
pub mod silver;

pub mod gold;
pub mod load;
pub mod spark;
pub mod transactions;

pub mod days;
pub mod extract;
pub mod options;

pub mod sample;
