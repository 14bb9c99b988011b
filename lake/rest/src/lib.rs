//! The catalog of the lake over the Iceberg REST protocol. Spark, Trino, PyIceberg and DuckDB connect with a URL and
//! a token of orch. Their commits work like those of tasks: checked against their base, swapped in one Postgres
//! transaction, and recorded as an asset event.

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
