//! Servers for the tests of the data plane: MariaDB, an S3 protocol server, PyIceberg. Started on loopback, stopped when dropped.

pub mod pyiceberg;
pub mod rows;
