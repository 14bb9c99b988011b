//! Lake tables, as pages and the API show them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Table property that contains the SQL query of the chart on the table's page.
pub const CHART: &str = "orch.chart";

/// Returns the name of the quarantine table of `table`, which stores the rows that a contract rejected.
pub fn quarantine_of(table: &str) -> String {
    format!("{table}{QUARANTINE}")
}

const QUARANTINE: &str = "_quarantine";

/// `namespace.table`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct TableId {
    pub namespace: String,
    pub name: String,
}

impl TableId {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        TableId { namespace: namespace.into(), name: name.into() }
    }

    /// Returns the lake table of an asset, or `None` for other assets.
    pub fn of_asset(uri: &str) -> Option<TableId> {
        let (namespace, name) = uri.strip_prefix("lake://")?.rsplit_once('/')?;
        (!namespace.is_empty() && !name.is_empty()).then(|| TableId::new(namespace, name))
    }

    /// Returns the table that stores the quarantined rows of this table.
    #[must_use]
    pub fn quarantine(&self) -> TableId {
        TableId::new(&self.namespace, quarantine_of(&self.name))
    }

    /// Returns the asset that tasks update when they write this table.
    pub fn asset_uri(&self) -> String {
        format!("lake://{}/{}", self.namespace, self.name)
    }

    /// Returns the SQL query for the first rows of the table, or of one of its snapshots.
    pub fn select(&self, snapshot: Option<i64>, rows: impl fmt::Display) -> String {
        let [namespace, name] = [&self.namespace, &self.name].map(|name| quoted(name));
        let version = snapshot.map_or_else(String::new, |id| format!(" for version as of {id}"));
        format!("select * from {namespace}.{name}{version} limit {rows}")
    }
}

/// Quotes a name for SQL if it contains anything but lowercase ASCII letters, digits and `_`, or starts with a digit.
fn quoted(name: &str) -> String {
    let is_plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if is_plain { name.into() } else { in_quotes(name) }
}

/// Quotes a name in any case, so that SQL never reads it as a keyword.
pub(super) fn in_quotes(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

/// Splits at the last dot, because a namespace may have several levels.
impl FromStr for TableId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once('.') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(TableId::new(namespace, name)),
            _ => Err(format!("`{text}` is not the name of a table\nhint: write `namespace.table`")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakePage {
    pub skip: usize,
    pub most: usize,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TableTotals {
    pub rows: u64,
    /// Of the data, without metadata.
    pub bytes: u64,
    pub files: u64,
    /// Files that say which rows of others are gone.
    pub delete_files: u64,
}

/// A line of the list of tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TableRow {
    #[serde(flatten)]
    pub id: TableId,
    pub totals: TableTotals,
    pub snapshots: usize,
    /// The newest one; a table that was only created has none.
    pub last: Option<SnapshotRow>,
    /// Why nothing else is known: its metadata is damaged or out of reach.
    pub problem: Option<String>,
}

/// A table without its long lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LakeTable {
    #[serde(flatten)]
    pub id: TableId,
    pub uuid: String,
    pub format_version: u8,
    pub location: String,
    /// The asset of this table, in lists of assets and in lineage.
    pub asset_uri: String,
    pub schema_id: i32,
    /// How many schemas it has had.
    pub schemas: usize,
    /// Fields inside of others come behind them, with dots in their names.
    pub columns: Vec<TableColumn>,
    pub partitioned_by: Vec<PartitionColumn>,
    /// The columns that tell rows apart.
    pub key: Vec<String>,
    pub properties: BTreeMap<String, String>,
    pub refs: Vec<SnapshotRef>,
    pub totals: TableTotals,
    pub snapshots: usize,
    pub last: Option<SnapshotRow>,
    #[schemars(with = "String")]
    pub updated_at: DateTime<Utc>,
}

#[cfg(test)]
impl LakeTable {
    pub(super) fn empty(id: TableId) -> LakeTable {
        LakeTable {
            asset_uri: id.asset_uri(),
            id,
            uuid: String::new(),
            format_version: 2,
            location: String::new(),
            schema_id: 0,
            schemas: 1,
            columns: Vec::new(),
            partitioned_by: Vec::new(),
            key: Vec::new(),
            properties: BTreeMap::new(),
            refs: Vec::new(),
            totals: TableTotals::default(),
            snapshots: 0,
            last: None,
            updated_at: DateTime::UNIX_EPOCH,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TableColumn {
    pub id: i32,
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: String,
    /// Never null.
    pub required: bool,
    pub doc: Option<String>,
}

/// What the files are divided by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionColumn {
    pub name: String,
    /// The column of the table that it is computed from.
    pub column: String,
    /// `identity`, `day`, `bucket[16]`, …
    pub transform: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefKind {
    Branch,
    Tag,
}

impl RefKind {
    pub fn words(self) -> &'static str {
        match self {
            RefKind::Branch => "branch",
            RefKind::Tag => "tag",
        }
    }
}

/// A name for a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotRef {
    pub name: String,
    pub kind: RefKind,
    pub snapshot_id: i64,
}

/// The try of a task that wrote a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MadeBy {
    pub dag_id: String,
    pub run_id: String,
    pub task_id: Option<String>,
    pub attempt: Option<String>,
}

/// One state of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotRow {
    pub id: i64,
    pub parent_id: Option<i64>,
    #[schemars(with = "String")]
    pub at: DateTime<Utc>,
    /// `append`, `overwrite`, `replace`, `delete`.
    pub operation: String,
    /// What the table answers with when nobody names a snapshot.
    pub is_current: bool,
    pub refs: Vec<String>,
    pub added_rows: u64,
    pub removed_rows: u64,
    pub added_files: u64,
    pub removed_files: u64,
    pub totals: TableTotals,
    pub made_by: Option<MadeBy>,
    /// Another program that made it and says so: `spark 4.1.4`.
    pub program: Option<String>,
    /// All that the writer noted.
    pub summary: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    Data,
    PositionDeletes,
    EqualityDeletes,
}

impl FileKind {
    pub fn words(self) -> &'static str {
        match self {
            FileKind::Data => "data",
            FileKind::PositionDeletes => "deletes by position",
            FileKind::EqualityDeletes => "deletes by value",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataFile {
    pub path: String,
    pub kind: FileKind,
    /// `day=2014-07-24`, with `/` between several; empty in a table without partitions.
    pub partition: String,
    pub rows: u64,
    pub bytes: u64,
    pub columns: Vec<ColumnRange>,
}

/// What a file says of one of its columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ColumnRange {
    pub name: String,
    pub nulls: Option<u64>,
    pub least: Option<String>,
    pub greatest: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartitionRow {
    /// As in `DataFile`.
    pub partition: String,
    pub totals: TableTotals,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_sql_is_quoted_where_it_must_be() {
        for (id, sql) in [
            (TableId::new("retail", "orders_fact"), "retail.orders_fact"),
            (TableId::new("Retail", "2orders"), "\"Retail\".\"2orders\""),
            (TableId::new("a.b", "x\"y"), "\"a.b\".\"x\"\"y\""),
        ] {
            assert_eq!(id.select(None, 5), format!("select * from {sql} limit 5"));
            assert_eq!(id.select(Some(7), 5), format!("select * from {sql} for version as of 7 limit 5"));
        }
    }

    #[test]
    fn a_name_has_a_namespace_of_any_depth() {
        assert_eq!("retail.orders".parse(), Ok(TableId::new("retail", "orders")));
        assert_eq!("a.b.c".parse(), Ok(TableId::new("a.b", "c")));
        for wrong in ["", "orders", ".orders", "retail."] {
            let error = wrong.parse::<TableId>().expect_err("it has no namespace");
            assert!(error.contains(&format!("`{wrong}`")) && error.contains("\nhint: "), "{error}");
        }
        assert_eq!(TableId::new("retail", "orders").to_string(), "retail.orders");
        assert_eq!(TableId::new("retail", "orders").asset_uri(), "lake://retail/orders");
    }
}
