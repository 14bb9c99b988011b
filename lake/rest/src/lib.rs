//! The catalog of the lake over HTTP, as the REST protocol of Iceberg has it: Spark, Trino, PyIceberg and DuckDB attach by one URL and a
//! token of orch. Their commits are commits like those of tasks: checked against what they were made of, swapped in one transaction of
//! Postgres, and an update of the table as an asset.

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
