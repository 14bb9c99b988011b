//! Serves the catalog of the lake over the Iceberg REST protocol. Spark, Trino, PyIceberg and DuckDB connect with a
//! URL and an API token of orch. Commits of clients work like those of tasks: each is checked against its base state,
//! published by compare-and-swap in one Postgres transaction, and recorded as an asset event.

mod access;
mod audit;
mod commit;
mod names;
mod namespaces;
mod paths;
mod refusal;
mod router;
mod tables;
mod vending;
mod views;

pub use router::{GivenKeys, Means, router};
pub use vending::AssumedRole;
