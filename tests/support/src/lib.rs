//! Servers and databases for tests, on the Postgres that is installed here.
//!
//! - [`TestDb::new`]: a database of one's own, cloned from a migrated template in some 20 ms. For nearly every test.
//! - [`PrivateServer`]: a server of one's own, to be killed and started again.
//! - [`TestDb::of_the_previous_release`]: a database that a test brings up, with runs in flight.
//! - [`Receiver`]: a web server or a mail server that alerts are sent to, and that can be down.
//! - [`attack`]: requests that must not harm a server.
//! - [`browser`]: pages in a real one.
//! - [`Connect`]: Kafka Connect with the connectors of Debezium.
//! - [`Guarded`]: a program that ends with this process.
//! - [`guide`]: what guides show.
//! - [`IcebergCatalog`], [`Nessie`], [`HiveMetastore`], [`Moto`]: catalogs of tables that others wrote.
//! - [`Kafka`]: a broker of Apache Kafka, shared by the tests of a binary or one's own.
//! - [`jars`]: programs of Java that others wrote.
//! - [`Sail`]: a server of Spark Connect.
//! - [`Spark`]: a master and a worker of Apache Spark.
//! - [`Trino`]: a server of it, with one catalog of Iceberg.
//! - [`proxy`]: a bad network before Postgres.
//! - [`read_metrics`]: Prometheus' own parser, for what processes tell it.
//! - [`rng`]: chance that a seed gives again.
//! - [`until`]: what processes do comes, or the test fails.
//! - [`data_python`], [`venv`]: a Python with packages, for clients that others wrote and for answers computed a second time.
//!
//! All test processes of one target folder share one server: the first that needs it starts it, and a watcher stops
//! it a few seconds after the last one ended, however it ended. What cannot be set up fails the test with the remedy.

pub mod attack;
pub mod browser;
mod connect;
mod database;
mod guarded;
pub mod guide;
mod hive;
mod iceberg;
mod java;
mod kafka;
mod maven;
mod moto;
mod nessie;
mod patience;
mod ports;
pub mod previous;
mod private;
mod prometheus;
pub mod proxy;
mod receiver;
pub mod rng;
mod sail;
mod shared;
mod spark;
mod trino;
mod venv;

pub use connect::Connect;
pub use database::TestDb;
pub use guarded::Guarded;
pub use hive::HiveMetastore;
pub use iceberg::{IcebergCatalog, iceberg_kit};
pub use kafka::{Kafka, kafka};
pub use maven::jars;
pub use moto::Moto;
pub use nessie::{Nessie, NessieStorage};
pub use patience::until;
pub use private::{Durability, PrivateServer, private_server};
pub use prometheus::read_metrics;
pub use receiver::{Letter, Manner, Receiver};
pub use sail::Sail;
pub use shared::{Server, postgres};
pub use spark::{Spark, iceberg_jars, spark, spark_python};
pub use trino::Trino;
pub use venv::{data_python, venv};
