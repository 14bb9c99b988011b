//! What a stream is: where its records come from, what becomes of them, and the table that they are kept in.

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

/// The id of the connection that says where topics are, unless a stream names another.
pub const TOPICS: &str = "topics";

/// A process that is alone reads all of them.
const MOST_SHARES: i32 = 64;

/// Of a DAG that records start, unless the stream says otherwise.
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
    /// The topic is created with so many when it is missing.
    pub(crate) partitions: i32,
    /// Processes read it side by side, if there are several.
    pub(crate) shares: i32,
    pub(crate) start: Start,
    pub(crate) json: Json,
    pub(crate) transform: Option<Arc<Transform>>,
    pub(crate) contract: Option<Contract>,
    pub(crate) windows: Option<Windows>,
    /// Tombstones delete rows.
    pub(crate) deletes: bool,
    pub(crate) sink: Option<Sink>,
    pub(crate) commit: CommitAt,
    /// It writes topics, and reads none.
    pub(crate) capture: Option<Capture>,
    pub(crate) snapshot: Option<SnapshotFrom>,
    pub(crate) on_failure: Vec<Notifier>,
    /// Its second name in the API of Kafka Connect.
    connector: Option<String>,
    is_paused: bool,
    description: String,
    /// Of a stream of a file: all that it says, and where it is.
    pub(crate) written: Option<Value>,
    file: String,
}

/// Where a stream begins that has committed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
}

/// When rows are published: at the first of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitAt {
    /// Since the first record that waits.
    pub every: Duration,
    pub records: usize,
    /// Of keys and values.
    pub bytes: usize,
}

impl Default for CommitAt {
    fn default() -> Self {
        CommitAt { every: Duration::from_secs(1), records: 500_000, bytes: 32 << 20 }
    }
}

/// Where the rows of a stream go.
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
    /// The id of the connection that says where the database is.
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
            // Each record counts.
            Sink::Runs(_) => &HowWritten::Append,
        }
    }

    /// As people write it.
    pub(crate) fn table(&self) -> String {
        match self {
            Sink::Lake(table) => table.name.to_string(),
            Sink::Postgres(table) => format!("{}.{}", table.schema, table.name),
            Sink::Runs(runs) => format!("dag {}", runs.dag_id),
        }
    }

    /// The URI of the table as an asset.
    pub(crate) fn asset(&self) -> String {
        match self {
            Sink::Lake(table) => table.name.asset_uri(),
            Sink::Postgres(table) => format!("postgres://{}/{}", table.schema, table.name),
            // A run is no update.
            Sink::Runs(_) => String::new(),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum HowWritten {
    Append,
    /// Rows replace those with the same key unless they are older by this column; a null is older than everything.
    Upsert {
        key: Vec<String>,
        newest_by: Option<String>,
    },
    /// Changes are done to the table as they were done to that of the source.
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

    /// For people.
    pub fn describe(self, text: impl Into<String>) -> Stream {
        Stream { description: text.into(), ..self }
    }

    pub fn topic(self, name: impl Into<String>) -> Stream {
        Stream { topic: name.into(), ..self }
    }

    /// The connection that says where the topic is: the built-in log or a Kafka cluster. [`TOPICS`] otherwise.
    pub fn at(self, connection: impl Into<String>) -> Stream {
        Stream { connection: connection.into(), ..self }
    }

    /// The changes of a database become records of topics, which are where [`Stream::at`] says. Nothing else is declared of such a stream
    /// but how often it commits.
    pub fn capture(self, capture: Capture) -> Stream {
        Stream { capture: Some(capture), ..self }
    }

    /// With how many the topic is created when it is missing. One otherwise.
    pub fn partitions(self, many: i32) -> Stream {
        Stream { partitions: many, ..self }
    }

    /// Its partitions are dealt out into so many shares, which the processes of its bundle read side by side. Of a stream that appends to
    /// a table of the lake. One process reads everything otherwise.
    pub fn shares(self, many: i32) -> Stream {
        Stream { shares: many, ..self }
    }

    /// Where it begins as long as it has committed nothing: with the oldest record that is kept, unless this says otherwise.
    pub fn start(self, start: Start) -> Stream {
        Stream { start, ..self }
    }

    /// Each value is a JSON object with these fields. A record with others, or with a value of another type, goes to the
    /// quarantine table.
    pub fn json(mut self, schema: impl Into<SchemaRef>) -> Stream {
        self.json.schema = schema.into();
        self
    }

    /// Fields that the schema does not name are passed over.
    pub fn ignore_unknown_fields(mut self) -> Stream {
        self.json.ignores_unknown = true;
        self
    }

    /// A number or a truth value may be given where the schema wants a text.
    pub fn numbers_as_text(mut self) -> Stream {
        self.json.coerces = true;
        self
    }

    /// Each value is a change of a row, as Debezium tells it. Rows have the columns of the source and those of the change: `__op`,
    /// `__event_ts`, `__source_ts_ms`, `__source_db`, `__source_table`, `__lsn`, `__tx_id`, `__position`. Tables keep those that
    /// they have a column for. Tombstones are passed over.
    pub fn changes(mut self, changes: Changes) -> Stream {
        self.json.schema = changes.row();
        self.json.changes = Some(changes);
        self
    }

    /// What becomes of the rows before they are checked and written. Rows may be dropped and columns changed, but
    /// [`PARTITION`](crate::PARTITION) and [`OFFSET`](crate::OFFSET) have to stay: they say which record a row is. Rows that
    /// make it fail go to the quarantine table, one by one.
    pub fn transform(self, with: impl Fn(RecordBatch) -> TaskResult<RecordBatch> + Send + Sync + 'static) -> Stream {
        Stream { transform: Some(Arc::new(with)), ..self }
    }

    /// What must hold of the rows. `Policy::Quarantine` puts records aside, `Policy::Fail` stops the stream.
    pub fn contract(self, contract: Contract) -> Stream {
        Stream { contract: Some(contract), ..self }
    }

    /// Rows are added up in windows of time, and the table has the windows. It is to be kept by `.upsert` or `.upsert_postgres`, with
    /// the columns that the windows are by and `window_start` as its key.
    pub fn windows(self, windows: Windows) -> Stream {
        Stream { windows: Some(windows), ..self }
    }

    /// Each record becomes a row of the table, which is created when it is missing.
    pub fn append(self, table: TableName, definition: TableDef) -> Stream {
        Stream { sink: Some(Sink::Lake(LakeTable { name: table, definition, write: HowWritten::Append })), ..self }
    }

    /// The table has one row for each key: the newest by a column, or the one that came last. Among equals the later one counts.
    pub fn upsert(self, table: TableName, definition: TableDef, key: &[&str], newest_by: Option<&str>) -> Stream {
        let write = HowWritten::upsert(key, newest_by);
        Stream { sink: Some(Sink::Lake(LakeTable { name: table, definition, write })), ..self }
    }

    /// The table has the rows that the source has, as its changes tell: what is deleted there goes, and TRUNCATE empties the table. It
    /// gets the column `__lsn` as well, by which a change that is told again is known.
    pub fn mirror(self, table: TableName, definition: TableDef, key: &[&str]) -> Stream {
        let write = HowWritten::Mirror { key: key.iter().map(|&column| column.to_owned()).collect() };
        let has_lsn = definition.fields().iter().any(|field| field.name == LSN);
        let definition = if has_lsn { definition } else { definition.optional(LSN, PrimitiveType::Long) };
        Stream { sink: Some(Sink::Lake(LakeTable { name: table, definition, write })), ..self }
    }

    /// Of a mirror in the lake: the table that its topic tells of, as `schema.table` of a connection to Postgres. It is copied where the capture
    /// leaves the snapshot to mirrors ([`Capture::snapshot_by_mirrors`]).
    pub fn snapshot_from(self, connection: impl Into<String>, table: impl Into<String>) -> Stream {
        let from = SnapshotFrom { connection: connection.into(), table: table.into() };
        Stream { snapshot: Some(from), ..self }
    }

    /// As [`Stream::append`], to a table of the Postgres database that a connection names. The table (`weather` or `schema.weather`) is
    /// created when it is missing, and grows with the columns of the rows.
    pub fn append_postgres(self, connection: &str, table: &str) -> Stream {
        self.into_postgres(connection, table, HowWritten::Append)
    }

    /// As [`Stream::upsert`], to a table of the Postgres database that a connection names.
    pub fn upsert_postgres(self, connection: &str, table: &str, key: &[&str], newest_by: Option<&str>) -> Stream {
        self.into_postgres(connection, table, HowWritten::upsert(key, newest_by))
    }

    /// As [`Stream::mirror`], to a table of the Postgres database that a connection names. A row that gets another key loses the large
    /// values that its source does not tell, unless the source has REPLICA IDENTITY FULL.
    pub fn mirror_postgres(self, connection: &str, table: &str, key: &[&str]) -> Stream {
        let key = key.iter().map(|&column| column.to_owned()).collect();
        self.into_postgres(connection, table, HowWritten::Mirror { key })
    }

    fn into_postgres(self, connection: &str, table: &str, write: HowWritten) -> Stream {
        let (schema, name) = table.split_once('.').unwrap_or(("public", table));
        let table = PostgresTable { connection: connection.into(), schema: schema.into(), name: name.into(), write };
        Stream { sink: Some(Sink::Postgres(table)), ..self }
    }

    /// Records start runs of a DAG, as by hand; the conf of a run is the record, or `records` with several of them. The values are
    /// JSON; `.json(…)` is needed only where records without certain fields are to be put aside. Each record starts one run, whatever
    /// is killed and however often the topic is read.
    pub fn start_runs(self, dag_id: impl Into<String>, per: Runs) -> Stream {
        let of = RunsOf { dag_id: dag_id.into(), per, most_open: MOST_OPEN_RUNS };
        Stream { sink: Some(Sink::Runs(of)), ..self }
    }

    /// No more runs are started while so many of the DAG are not over: the records wait in the topic. 16 otherwise.
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

    /// A record without a value (a tombstone) deletes the row that has the record's key, as text, in its key's column. Rows of the
    /// key that come later are new ones. Without this a tombstone goes to the quarantine table.
    pub fn delete_on_tombstone(self) -> Stream {
        Stream { deletes: true, ..self }
    }

    /// How long rows wait for others before they are published. One second otherwise.
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

    /// What is wrong with the declaration.
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

    /// Columns without which a row cannot be told apart from others.
    pub(crate) fn key_of_rows(&self) -> &[String] {
        match &self.windows {
            Some(windows) => &windows.by,
            None => self.sink.as_ref().and_then(|sink| sink.write().key()).unwrap_or_default(),
        }
    }

    /// Below the folder of files.
    pub(crate) fn in_file(self, file: &str) -> Stream {
        Stream { file: file.into(), ..self }
    }

    /// As it is registered.
    pub(crate) fn registered(&self) -> NewStream {
        let mut spec = self.spec();
        // Whatever changes in a file makes another version of its stream.
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

/// A type as people call it.
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
