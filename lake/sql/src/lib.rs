//! SQL over the lake, and the lake as people look at it: the trait of `store::lake_view` by DataFusion and Iceberg.
//!
//! Reads only. A query sees each table as it is when the query begins, or as it was (`parse.rs`). Files that cannot hold
//! a row of the answer are not opened (`scan.rs`). A query ends at its limits or when it is cancelled (`run.rs`). How much
//! memory a query takes is limited by the process that runs it (`cli/binary/src/query_process.rs`).

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
