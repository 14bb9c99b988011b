//! Reading: which columns and rows, of which snapshot; a stream of batches, or counts.

use super::plan::Plan;
use super::{Batches, Filter, Table};
use crate::error::{LakeError, LakeResult};
use chrono::{DateTime, Utc};
use iceberg::spec::SnapshotRef;

/// Which state of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum At {
    /// As it was when it was loaded.
    #[default]
    Now,
    Snapshot(i64),
    /// The last snapshot that was current at that time.
    Time(DateTime<Utc>),
    /// A branch or a tag.
    Ref(String),
}

/// `table.scan().columns(["order_id"]).filter(Filter::eq("state", "TX")).stream().await?`
#[derive(Debug)]
#[must_use = "nothing is read before `stream`, `collect` or `count`"]
pub struct Scan<'a> {
    table: &'a Table,
    columns: Option<Vec<String>>,
    filter: Filter,
    at: At,
    batch_size: Option<usize>,
}
