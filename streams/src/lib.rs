//! Streams: jobs that never end. Each reads a topic and keeps a table of the lake current, with the offsets it has read and
//! the table's new snapshot in one transaction.

mod records;
pub mod topic;

pub use records::{Record, Records};
