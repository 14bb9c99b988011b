//! SQL queries and web pages for the lake. Implements the trait of `store::lake_view` with DataFusion and Iceberg.
//!
//! Queries are read-only. A query reads each table at the snapshot that is current when it starts, or at an older one
//! (`parse.rs`). Files that cannot contain matching rows are not opened (`scan.rs`). A query is stopped when it
//! reaches a limit or is cancelled (`run.rs`). Its memory is limited by the process that executes it
//! (`cli/binary/src/query_process.rs`).

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
