//! The data plane: object stores, Iceberg tables, sources and sinks, contracts. Engine crates never see it.

pub mod batches;
pub mod bucket;
pub mod catalog;
pub mod contract;
pub mod format;
pub mod frame;
pub mod load;
pub mod source;
pub mod table;
