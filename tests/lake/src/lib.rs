//! Servers and clients for the tests of the data plane: MariaDB, an S3 protocol server, PyIceberg, DuckDB, Spark and
//! Trino. They run on loopback and stop when dropped.

mod duckdb;
mod foreign;
mod mariadb;
pub mod pyiceberg;
mod python;
pub mod rows;
mod s3;
mod spark;
pub mod steps;
mod trino;

pub use duckdb::DuckDb;
pub use foreign::snapshot_naming;
pub use mariadb::{MariaDb, mariadb, mariadb_with_changes};
pub use orch_store::MIGRATOR;
pub use s3::S3Server;
pub use spark::{SparkCatalog, SparkSession};
pub use trino::TrinoSession;
