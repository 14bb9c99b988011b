//! Servers for the tests of the data plane: MariaDB, an S3 protocol server, PyIceberg. Started on loopback, stopped
//! when dropped.

mod mariadb;
pub mod pyiceberg;
pub mod rows;
mod s3;

pub use mariadb::{MariaDb, mariadb, mariadb_with_changes};
pub use orch_store::MIGRATOR;
pub use s3::S3Server;
