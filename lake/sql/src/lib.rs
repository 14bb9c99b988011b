//! SQL over the lake, and its pages: implements the trait of `store::lake_view` with DataFusion and Iceberg.
//!
//! Queries are read-only. A query sees the snapshot of each table at its start, or an older one (`parse.rs`). Files
//! that cannot contain matching rows are not opened (`scan.rs`). A query ends at its limits or when it is cancelled
//! (`run.rs`). The memory of a query is limited by the process that runs it (`cli/binary/src/query_process.rs`).

mod bounds;
mod byte_budget;
mod cells;
mod condition;
mod describe;
mod error;
mod exact;
mod files;
mod metadata;
mod nulls;
mod parse;
mod row_expressions;
mod run;
mod scan;
mod session;
mod shown;
mod sizes;
mod source;
mod statements;
mod tables;
mod values;
mod view;

pub use row_expressions::RowExpressions;
pub use source::{Opened, source};
pub use statements::{BatchSource, Statements};
pub use tables::{Reads, reads_of};
pub use values::{Placeholder, placeholders};
pub use view::{SqlLake, SqlLimits};
