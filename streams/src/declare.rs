//! Declares a stream: the topic that it reads, how it transforms and checks the records, and the table that it writes.

mod operation;

use crate::capture::Capture;
use crate::changes::{Changes, LSN};
use crate::decode::{Json, Transform};
use crate::file::expression_fields;
use crate::publish::quarantine_topic;
use crate::runs::{Runs, RunsOf};
use crate::snapshot::SnapshotFrom;
use crate::topic::{MAX_TOPIC_NAME_BYTES, is_topic_name};
use crate::windows::Windows;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use iceberg::spec::PrimitiveType;
use orch_lake::contract::Contract;
use orch_lake::{TableDef, TableName};
use orch_sdk::task::TaskResult;
use orch_spec::Notifier;
use orch_store::stream::NewStream;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Default id of the connection to the Kafka cluster or built-in log that contains the topics.
pub const TOPICS: &str = "topics";

/// Maximum number of shares (groups of partitions that different processes read in parallel) of one stream.
const MOST_SHARES: i32 = 64;

/// Default limit of unfinished DAG runs that a stream may have started.
const MOST_OPEN_RUNS: i32 = 16;

/// A stream from a topic to a table, or to runs of a DAG.
///
/// ```
/// # use orch_streams::Stream;
/// # use orch_lake::{TableDef, TableName};
/// # use arrow::datatypes::{DataType, Field, Schema};
/// # use iceberg::spec::{PrimitiveType, Transform};
/// let record = Schema::new(vec![Field::new("city", DataType::Utf8, false), Field::new("ts", DataType::Utf8, false)]);
/// let table = TableDef::new()
///     .optional("city", PrimitiveType::String)
///     .optional("ts", PrimitiveType::String)
///     .partition("ts", Transform::Identity);
/// Stream::new("readings").topic("weather").json(record).append("default.weather".parse().unwrap(), table);
/// ```
#[derive(Clone)]
#[must_use = "a stream runs when it is handed to the binary"]
pub struct Stream {
    pub(crate) name: String,
    pub(crate) connection: String,
    pub(crate) topic: String,
    /// Number of partitions with which a missing topic is created.
    pub(crate) partitions: i32,
    /// Number of groups of partitions that different processes read in parallel.
    pub(crate) shares: i32,
    pub(crate) start: Start,
    pub(crate) json: Json,
    pub(crate) transform: Option<Arc<Transform>>,
    pub(crate) contract: Option<Contract>,
    pub(crate) windows: Option<Windows>,
    /// True if a tombstone (a record without a value) deletes the row with its key.
    pub(crate) deletes: bool,
    pub(crate) sink: Option<Sink>,
    pub(crate) commit: CommitAt,
    /// `Some` if the stream captures the changes of a database: it then writes topics instead of reading one.
    pub(crate) capture: Option<Capture>,
    pub(crate) snapshot: Option<SnapshotFrom>,
    pub(crate) on_failure: Vec<Notifier>,
    /// Name of the stream in the REST API that is compatible with Kafka Connect.
    connector: Option<String>,
    is_paused: bool,
    description: String,
    /// Source of a stream that is declared in a file; `None` if Rust code declares it.
    pub(crate) written: Option<Value>,
    file: String,
}

/// Offset at which a stream starts that has not committed any offset yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
}

/// Limits of a batch. Rows are published when the first limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitAt {
    /// Maximum time since the first unpublished record.
    pub every: Duration,
    pub records: usize,
    /// Maximum total size of the keys and values in bytes.
    pub bytes: usize,
}

impl Default for CommitAt {
    fn default() -> Self {
        CommitAt { every: Duration::from_secs(1), records: 500_000, bytes: 32 << 20 }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Sink {
    Lake(LakeTable),
    Postgres(PostgresTable),
    Runs(RunsOf),
}

#[derive(Debug, Clone)]
pub(crate) struct LakeTable {
    pub(crate) name: TableName,
    pub(crate) definition: TableDef,
    pub(crate) write: HowWritten,
}

#[derive(Debug, Clone)]
pub(crate) struct PostgresTable {
    pub(crate) connection: String,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) write: HowWritten,
}

impl Sink {
    pub(crate) fn write(&self) -> &HowWritten {
        match self {
            Sink::Lake(table) => &table.write,
            Sink::Postgres(table) => &table.write,
            Sink::Runs(_) => &HowWritten::Append,
        }
    }

    pub(crate) fn table(&self) -> String {
        match self {
            Sink::Lake(table) => table.name.to_string(),
            Sink::Postgres(table) => format!("{}.{}", table.schema, table.name),
            Sink::Runs(runs) => format!("dag {}", runs.dag_id),
        }
    }

    /// Returns the URI under which the target table is an asset.
    pub(crate) fn asset(&self) -> String {
        match self {
            Sink::Lake(table) => table.name.asset_uri(),
            Sink::Postgres(table) => format!("postgres://{}/{}", table.schema, table.name),
            // No asset: starting a run updates no table.
            Sink::Runs(_) => String::new(),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum HowWritten {
    Append,
    /// Replaces the row with the same key, unless its `newest_by` value is higher than the new row's value. A null is
    /// lower than every value.
    Upsert {
        key: Vec<String>,
        newest_by: Option<String>,
    },
    /// Applies each insert, update and delete of the source table to the target table.
    Mirror {
        key: Vec<String>,
    },
}

impl HowWritten {
    pub(crate) fn key(&self) -> Option<&[String]> {
        match self {
            HowWritten::Append => None,
            HowWritten::Upsert { key, .. } | HowWritten::Mirror { key } => Some(key),
        }
    }

    fn upsert(key: &[&str], newest_by: Option<&str>) -> HowWritten {
        let key = key.iter().map(|&column| column.to_owned()).collect();
        HowWritten::Upsert { key, newest_by: newest_by.map(str::to_owned) }
    }
}

impl Stream {
    pub fn new(name: impl Into<String>) -> Stream {
        Stream {
            name: name.into(),
            connection: TOPICS.into(),
            topic: String::new(),
            partitions: 1,
            shares: 1,
            start: Start::Earliest,
            json: Json { schema: Arc::new(Schema::empty()), ignores_unknown: false, coerces: false, changes: None },
            transform: None,
            contract: None,
            windows: None,
            deletes: false,
            sink: None,
            commit: CommitAt::default(),
            capture: None,
            snapshot: None,
            on_failure: Vec::new(),
            connector: None,
            is_paused: false,
            description: String::new(),
            written: None,
            file: String::new(),
        }
    }

    /// Sets the description that users see in the UI.
    pub fn describe(self, text: impl Into<String>) -> Stream {
        Stream { description: text.into(), ..self }
    }

    pub fn topic(self, name: impl Into<String>) -> Stream {
        Stream { topic: name.into(), ..self }
    }

    /// Sets the connection to the system that contains the topic: the built-in log or a Kafka cluster. Default:
    /// [`TOPICS`].
    pub fn at(self, connection: impl Into<String>) -> Stream {
        Stream { connection: connection.into(), ..self }
    }

    /// Publishes the changes of a database to topics of the connection [`Stream::at`]. Besides the capture, only the
    /// commit interval can be set.
    pub fn capture(self, capture: Capture) -> Stream {
        Stream { capture: Some(capture), ..self }
    }

    /// Sets the number of partitions with which a missing topic is created. Default: 1.
    pub fn partitions(self, many: i32) -> Stream {
        Stream { partitions: many, ..self }
    }

    /// Divides the partitions into this many groups (shares), which processes of the bundle read in parallel. Supported
    /// only for streams that append to a table of the lake. By default, one process reads all partitions.
    pub fn shares(self, many: i32) -> Stream {
        Stream { shares: many, ..self }
    }

    /// Sets the offset at which a stream without a commit starts. Default: the oldest existing record.
    pub fn start(self, start: Start) -> Stream {
        Stream { start, ..self }
    }

    /// Declares that each value is a JSON object with these fields. Records with other fields, or with a value of
    /// another type, are quarantined.
    pub fn json(mut self, schema: impl Into<SchemaRef>) -> Stream {
        self.json.schema = schema.into();
        self
    }

    /// Ignores fields that are not in the schema. By default, records with such fields are quarantined.
    pub fn ignore_unknown_fields(mut self) -> Stream {
        self.json.ignores_unknown = true;
        self
    }

    /// Accepts numbers and booleans as values of text fields.
    pub fn numbers_as_text(mut self) -> Stream {
        self.json.coerces = true;
        self
    }

    /// Declares that each value is a change of a row in the format of Debezium. Rows have the columns of the source and
    /// the metadata of the change: `__op`, `__event_ts`, `__source_ts_ms`, `__source_db`, `__source_table`, `__lsn`,
    /// `__tx_id`, `__position`. Only columns that exist in the table are stored. Tombstones are ignored.
    pub fn changes(mut self, changes: Changes) -> Stream {
        self.json.schema = changes.row();
        self.json.changes = Some(changes);
        self
    }

    /// Transforms the rows before they are checked and written. The function may drop rows and change columns, but must
    /// keep [`PARTITION`](crate::PARTITION) and [`OFFSET`](crate::OFFSET), which identify the record of a row. Rows for
    /// which it fails are quarantined one by one.
    pub fn transform(self, with: impl Fn(RecordBatch) -> TaskResult<RecordBatch> + Send + Sync + 'static) -> Stream {
        Stream { transform: Some(Arc::new(with)), ..self }
    }

    /// Checks the rows. `Policy::Quarantine` quarantines records that fail, `Policy::Fail` stops the stream.
    pub fn contract(self, contract: Contract) -> Stream {
        Stream { contract: Some(contract), ..self }
    }

    /// Aggregates rows in time windows and stores the windows. The table must be written by `.upsert` or
    /// `.upsert_postgres`, and its key is the columns of `Windows::by` and `window_start`.
    pub fn windows(self, windows: Windows) -> Stream {
        Stream { windows: Some(windows), ..self }
    }

    /// Appends one row per record to the table. A missing table is created.
    pub fn append(self, table: TableName, definition: TableDef) -> Stream {
        Stream { sink: Some(Sink::Lake(LakeTable { name: table, definition, write: HowWritten::Append })), ..self }
    }

    /// Stores one row per key: the row with the highest `newest_by` value, or the most recent row if `newest_by` is
    /// `None`. If two rows have the same `newest_by` value, the more recent row is stored.
    pub fn upsert(self, table: TableName, definition: TableDef, key: &[&str], newest_by: Option<&str>) -> Stream {
        let write = HowWritten::upsert(key, newest_by);
        Stream { sink: Some(Sink::Lake(LakeTable { name: table, definition, write })), ..self }
    }

    /// Applies the changes of the source table to this table, including deletes and TRUNCATE. The table gets an
    /// additional column `__lsn`, which is used to skip changes that the source sends again.
    pub fn mirror(self, table: TableName, definition: TableDef, key: &[&str]) -> Stream {
        let write = HowWritten::Mirror { key: key.iter().map(|&column| column.to_owned()).collect() };
        let has_lsn = definition.fields().iter().any(|field| field.name == LSN);
        let definition = if has_lsn { definition } else { definition.optional(LSN, PrimitiveType::Long) };
        Stream { sink: Some(Sink::Lake(LakeTable { name: table, definition, write })), ..self }
    }

    /// Sets the source table of a mirror in the lake, as `schema.table` of a Postgres connection. The mirror copies the
    /// source table if the capture does not publish a snapshot ([`Capture::snapshot_by_mirrors`]).
    pub fn snapshot_from(self, connection: impl Into<String>, table: impl Into<String>) -> Stream {
        let from = SnapshotFrom { connection: connection.into(), table: table.into() };
        Stream { snapshot: Some(from), ..self }
    }

    /// Like [`Stream::append`], but writes to a table of a Postgres database. The table (`weather` or `schema.weather`)
    /// is created if it does not exist, and gets a column for each new column of the rows.
    pub fn append_postgres(self, connection: &str, table: &str) -> Stream {
        self.into_postgres(connection, table, HowWritten::Append)
    }

    /// Like [`Stream::upsert`], but writes to a table of a Postgres database.
    pub fn upsert_postgres(self, connection: &str, table: &str, key: &[&str], newest_by: Option<&str>) -> Stream {
        self.into_postgres(connection, table, HowWritten::upsert(key, newest_by))
    }

    /// Like [`Stream::mirror`], but writes to a table of a Postgres database. If the key of a row changes, large values
    /// (TOAST) that the change does not contain are lost, unless the source table has REPLICA IDENTITY FULL.
    pub fn mirror_postgres(self, connection: &str, table: &str, key: &[&str]) -> Stream {
        let key = key.iter().map(|&column| column.to_owned()).collect();
        self.into_postgres(connection, table, HowWritten::Mirror { key })
    }

    fn into_postgres(self, connection: &str, table: &str, write: HowWritten) -> Stream {
        let (schema, name) = table.split_once('.').unwrap_or(("public", table));
        let table = PostgresTable { connection: connection.into(), schema: schema.into(), name: name.into(), write };
        Stream { sink: Some(Sink::Postgres(table)), ..self }
    }

    /// Starts a run of a DAG for each record or group of records. The run configuration is the record, or `records` if
    /// there are several. Values are JSON; `.json(…)` is only needed to quarantine records that lack certain fields.
    /// Each record starts exactly one run, even if processes are killed or the topic is read again.
    pub fn start_runs(self, dag_id: impl Into<String>, per: Runs) -> Stream {
        let of = RunsOf { dag_id: dag_id.into(), per, most_open: MOST_OPEN_RUNS };
        Stream { sink: Some(Sink::Runs(of)), ..self }
    }

    /// Limits the number of unfinished runs of the DAG. Records beyond the limit wait in the topic. Default: 16.
    pub fn most_open_runs(mut self, many: u32) -> Stream {
        if let Some(Sink::Runs(runs)) = &mut self.sink {
            runs.most_open = i32::try_from(many).unwrap_or(i32::MAX).max(1);
        }
        self
    }

    pub(crate) fn mirrors(&self) -> bool {
        matches!(self.sink.as_ref().map(Sink::write), Some(HowWritten::Mirror { .. }))
    }

    pub(crate) fn starts_runs(&self) -> bool {
        matches!(self.sink, Some(Sink::Runs(_)))
    }

    /// Deletes the row whose key column equals the key of a tombstone (a record without a value). Keys are compared as
    /// text. Later records with the key insert a new row. By default, tombstones are quarantined.
    pub fn delete_on_tombstone(self) -> Stream {
        Stream { deletes: true, ..self }
    }

    /// Sets the maximum time that rows wait before they are published. Default: 1 second.
    pub fn commit_every(mut self, every: Duration) -> Stream {
        self.commit.every = every;
        self
    }

    pub fn commit_at(self, commit: CommitAt) -> Stream {
        Stream { commit, ..self }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns an error that describes the first problem found in the declaration.
    pub fn check(&self) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("stream `{}` {what}", self.name));
        if let Err(what) = self.check_notifiers() {
            return wrong(&what);
        }
        if let Some(capture) = &self.capture {
            let is_alone = self.sink.is_none() && self.topic.is_empty() && self.windows.is_none();
            return match capture.wrong(&self.name) {
                Some(what) => wrong(&what),
                None if self.name.is_empty() => Err("a stream has no name".into()),
                None if !is_alone => {
                    wrong("captures changes: leave out `.topic(…)` and tables, and read its topics by another stream")
                }
                None => Ok(()),
            };
        }
        let key = self.sink.as_ref().and_then(|sink| sink.write().key());
        if let Some(what) = self.windows.as_ref().and_then(|windows| windows.wrong(key)) {
            return wrong(&what);
        }
        if let Some(what) = self.json.changes.as_ref().and_then(Changes::wrong) {
            return wrong(&what);
        }
        if self.mirrors() && (self.json.changes.is_none() || self.windows.is_some()) {
            return wrong("mirrors a table: that needs `.changes(…)`, and no windows");
        }
        let is_mirrored_as_it_is = self.mirrors() && self.transform.is_none() && self.contract.is_none();
        if self.snapshot.is_some() && !(is_mirrored_as_it_is && matches!(self.sink, Some(Sink::Lake(_)))) {
            return wrong(
                "copies the table of its source: that needs a mirror in the lake, without a transformation and checks",
            );
        }
        let appends_to_lake =
            matches!(&self.sink, Some(Sink::Lake(table)) if matches!(table.write, HowWritten::Append));
        if self.shares > 1 && !(appends_to_lake && self.windows.is_none()) {
            return wrong(
                "is read in shares: that needs `.append(…)`, since other tables depend on the order of commits",
            );
        }
        if !(1..=MOST_SHARES).contains(&self.shares) {
            return wrong(&format!("is read in {} shares: 1 to {MOST_SHARES} are possible", self.shares));
        }
        if self.json.changes.is_some() && self.deletes {
            return wrong("reads changes, which tell of deleted rows: leave out `.delete_on_tombstone()`");
        }
        if self.starts_runs() && (self.windows.is_some() || self.transform.is_some()) {
            return wrong("starts runs for its records as they are: leave out `.windows(…)` and `.transform(…)`");
        }
        match () {
            () if self.deletes && (self.windows.is_some() || key.is_none_or(|key| key.len() != 1)) => {
                wrong("deletes by tombstones: that needs `.upsert(…)` with a key of one column, and no windows")
            }
            () if self.name.is_empty() => Err("a stream has no name".into()),
            () if self.topic.is_empty() => wrong("names no topic: call `.topic(…)`"),
            () if !is_topic_name(&self.topic) => {
                let shown: String = self.topic.chars().take(100).collect();
                wrong(&format!(
                    "reads the topic `{shown}`: use up to {MAX_TOPIC_NAME_BYTES} letters, digits, `.`, `_` and `-`"
                ))
            }
            () if self.json.schema.fields().is_empty() && !self.starts_runs() => {
                wrong("does not say what its records are: call `.json(…)`")
            }
            () if self.sink.is_none() => wrong("has no table: call `.append(…)` or `.upsert(…)`, or `.start_runs(…)`"),
            () if self.partitions < 1 => wrong("wants a topic without partitions"),
            () => Ok(()),
        }
    }

    /// Returns the columns that identify a row: the grouping columns of windows, or the key of the table. Empty for
    /// streams that append.
    pub(crate) fn key_of_rows(&self) -> &[String] {
        match &self.windows {
            Some(windows) => &windows.by,
            None => self.sink.as_ref().and_then(|sink| sink.write().key()).unwrap_or_default(),
        }
    }

    /// Sets the path of the file that declares the stream, relative to the watched folder.
    pub(crate) fn in_file(self, file: &str) -> Stream {
        Stream { file: file.into(), ..self }
    }

    /// Returns the database row that registers the stream.
    pub(crate) fn registered(&self) -> NewStream {
        let mut spec = self.spec();
        // The version includes the source of the file, so that every change of the file creates a new version.
        let written = self.written.as_ref().map(Value::to_string).unwrap_or_default();
        let version = hash(&format!("{spec}{written}"));
        for (name, value) in self.written.iter().flat_map(expression_fields) {
            spec[name] = value;
        }
        if !self.file.is_empty() {
            spec["file"] = self.file.as_str().into();
        }
        if let Some(connector) = &self.connector {
            spec["connector"] = connector.as_str().into();
        }
        if self.is_paused {
            spec["paused_at_creation"] = true.into();
        }
        NewStream { name: self.name.clone(), version, spec }
    }

    fn spec(&self) -> Value {
        if let Some(capture) = &self.capture {
            let mut spec = capture.spec(&self.name);
            spec.insert("connection".into(), self.connection.as_str().into());
            spec.insert("commit_every_ms".into(), json!(self.commit.every.as_millis() as u64));
            if !self.description.is_empty() {
                spec.insert("description".into(), self.description.as_str().into());
            }
            return Value::Object(spec);
        }
        let fields = self.json.schema.fields().iter();
        let fields: Vec<_> = fields.map(|field| format!("{} {}", field.name(), plain(field.data_type()))).collect();
        let mut spec = json!({
            "topic": self.topic,
            "connection": self.connection,
            "start": match self.start { Start::Earliest => "earliest", Start::Latest => "latest" },
            "fields": fields,
            "commit_every_ms": self.commit.every.as_millis() as u64,
        });
        if !self.description.is_empty() {
            spec["description"] = self.description.as_str().into();
        }
        if self.shares > 1 {
            spec["shares"] = self.shares.into();
        }
        if let Some(sink) = &self.sink {
            spec["table"] = sink.table().into();
            if let Sink::Postgres(table) = sink {
                spec["table_connection"] = table.connection.as_str().into();
            }
            if let Sink::Runs(runs) = sink {
                spec["starts_runs_of"] = runs.dag_id.as_str().into();
                spec["runs"] = runs.per.word().into();
                spec["most_open_runs"] = runs.most_open.into();
                spec["quarantine_topic"] = quarantine_topic(&self.name).into();
            }
            match sink.write() {
                _ if self.starts_runs() => {}
                HowWritten::Append => spec["write"] = "append".into(),
                HowWritten::Upsert { key, newest_by } => {
                    spec["write"] = "upsert".into();
                    spec["key"] = json!(key);
                    spec["newest_by"] = json!(newest_by);
                }
                HowWritten::Mirror { key } => {
                    spec["write"] = "mirror".into();
                    spec["key"] = json!(key);
                }
            }
        }
        if let Some(contract) = &self.contract {
            spec["checks"] = json!(contract.checks());
        }
        if self.json.changes.is_some() {
            spec["values"] = "changes".into();
        }
        if let Some(from) = &self.snapshot {
            spec["snapshot_from"] = from.table.as_str().into();
            spec["snapshot_connection"] = from.connection.as_str().into();
        }
        if self.deletes {
            spec["tombstones"] = "delete".into();
        }
        for (name, value) in self.windows.iter().flat_map(Windows::spec) {
            spec[name] = value;
        }
        spec
    }
}

/// Returns the user-facing name of an Arrow type.
fn plain(data: &DataType) -> String {
    match data {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "number".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Decimal128(..) | DataType::Decimal256(..) => "decimal".into(),
        DataType::List(_) | DataType::LargeList(_) => "list".into(),
        DataType::Struct(fields) => {
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            format!("object ({})", names.join(", "))
        }
        data if data.is_integer() => "integer".into(),
        other => other.to_string(),
    }
}

pub(crate) fn hash(text: &str) -> String {
    let mut hash = String::new();
    for byte in &Sha256::digest(text.as_bytes())[..8] {
        write!(hash, "{byte:02x}").expect("text takes everything");
    }
    hash
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("name", &self.name).field("topic", &self.topic).finish_non_exhaustive()
    }
}
