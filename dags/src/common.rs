//! Code that several pipelines share: connections, the lake and its upkeep, engines that run SQL, topics, and the
//! tables of New York.

pub mod catalog;
pub mod connections;
pub(crate) mod dice;
pub(crate) mod engine;
pub(crate) mod lakehouse;
pub mod merge;
pub mod model;
pub mod nyc;
pub(crate) mod rows;
pub(crate) mod spark_sql;
pub(crate) mod topics;
pub mod upkeep;
