//! Data plane of orch: object stores, Iceberg tables, sources and sinks, and contracts. Engine crates do not depend
//! on it.

pub mod batches;
pub mod catalog;
pub mod contract;
mod error;
pub mod format;
pub mod frame;
mod lake;
pub mod load;
pub mod publish;
pub mod source;
mod storage;
pub mod table;
pub mod view;

pub(crate) use async_recursion::async_recursion as boxed;
pub use batches::Batches;
pub use error::{LakeError, LakeResult};
pub use lake::{Adopted, Lake, LakeConfig, Owner};
pub use orch_bucket as bucket;
pub use storage::{Locations, plain_location};
pub use table::{Change, Committed, Filter, Table, TableDef, TableName, TableSpec, Value, plain_types};
