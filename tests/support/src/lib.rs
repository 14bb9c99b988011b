//! Servers and databases for tests, on the installed Postgres.
//!
//! - [`TestDb::new`]: a database for one test, cloned from a migrated template in about 20 ms. Nearly every test uses
//!   it.
//! - [`PrivateServer`]: a Postgres server for one test, which can be killed and restarted.
//! - [`TestDb::of_the_previous_release`]: a database of the previous release with runs in flight.
//! - [`Receiver`]: a web server or a mail server that receives alerts, and that can be down.
//! - [`attack`]: requests that must not harm a server.
//! - [`browser`]: pages in a real browser.
//! - [`Connect`]: Kafka Connect with the Debezium connectors.
//! - [`Guarded`]: a program that ends with this process.
//! - [`guide`]: examples in guides.
//! - [`IcebergCatalog`], [`Nessie`], [`HiveMetastore`], [`Moto`]: table catalogs of other projects.
//! - [`Kafka`]: an Apache Kafka broker, shared by the tests of a binary or private.
//! - [`jars`]: Java programs of other projects.
//! - [`Sail`]: a Spark Connect server.
//! - [`Spark`]: an Apache Spark master and worker.
//! - [`Trino`]: a Trino server with one Iceberg catalog.
//! - [`proxy`]: simulates a bad network in front of Postgres.
//! - [`read_metrics`]: reads metrics with Prometheus' own parser.
//! - [`rng`]: random numbers from a seed.
//! - [`until`]: polls until a condition holds, or fails the test.
//! - [`data_python`], [`venv`]: Python environments, for clients of other projects and to verify results independently.
//!
//! All test processes of one target folder share one server: the first process that needs it starts it, and a watcher
//! stops it a few seconds after the last process has ended, even if it was killed. If a setup fails, the test fails
//! with the fix.

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
