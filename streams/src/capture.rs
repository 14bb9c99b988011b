//! Captures: streams that publish the changes of a database to topics in Debezium's format. A snapshot reads the
//! existing rows once; the capture then continues with the changes since the snapshot. Records and the position in the
//! database's log are committed in one transaction. Each kind of database implements the trait [`source::Source`] in
//! its own folder.

mod envelope;
mod lot;
mod mysql;
mod postgres;
mod publish;
mod run;
mod source;

pub(crate) use publish::Target;
pub(crate) use run::run_capture;

use crate::topic::is_topic_name;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use orch_sdk::task::{Connection, TaskResult};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum length of a Postgres identifier in bytes.
const LONGEST_NAME: usize = 63;
/// Maximum number of partitions of a topic of the built-in log.
const MOST_PARTITIONS: i16 = 64;

/// A database whose changes are captured.
///
/// ```
/// # use orch_streams::{Capture, Stream};
/// Stream::new("shop").capture(Capture::postgres("shop_db").tables(["public.orders", "public.customers"]).topics("shop"));
/// ```
#[derive(Clone)]
#[must_use = "a capture is handed to `Stream::capture`"]
pub struct Capture {
    pub(crate) connection: String,
    pub(crate) tables: Vec<String>,
    kind: CaptureDatabase,
    prefix: Option<String>,
    partitions: i16,
    /// Number of partitions by table, for tables that override `partitions`.
    partitions_of: BTreeMap<String, i16>,
    pub(crate) prepare: Option<Arc<Prepare>>,
    pub(crate) snapshot_by_mirrors: bool,
}

#[derive(Clone)]
enum CaptureDatabase {
    Postgres {
        slot: Option<String>,
        publication: Option<String>,
    },
    MySql {
        server_id: Option<u32>,
        /// Columns excluded from all records, by table.
        left_out: BTreeMap<String, BTreeSet<String>>,
    },
}

type Prepare = dyn Fn(Connection) -> BoxFuture<'static, TaskResult<()>> + Send + Sync;

impl Capture {
    /// Captures the database of a Postgres connection. The server needs `wal_level = logical`, and the account needs
    /// the attribute REPLICATION.
    pub fn postgres(connection: impl Into<String>) -> Capture {
        Capture::of(connection.into(), CaptureDatabase::Postgres { slot: None, publication: None })
    }

    /// Captures a MySQL or MariaDB server. It must write a binlog of rows, and its account needs REPLICATION SLAVE.
    ///
    /// ```
    /// # use orch_streams::{Capture, Stream};
    /// Stream::new("shop").capture(Capture::mysql("shop_db").tables(["retail_db.orders", "retail_db.customers"]).topics("shop"));
    /// ```
    pub fn mysql(connection: impl Into<String>) -> Capture {
        Capture::of(connection.into(), CaptureDatabase::MySql { server_id: None, left_out: BTreeMap::new() })
    }

    fn of(connection: String, kind: CaptureDatabase) -> Capture {
        Capture {
            connection,
            tables: Vec::new(),
            kind,
            prefix: None,
            partitions: 1,
            partitions_of: BTreeMap::new(),
            prepare: None,
            snapshot_by_mirrors: false,
        }
    }

    /// Adds tables as `schema.table`, or as `database.table` for MySQL. Default: the schema `public`, or the database
    /// of the connection.
    pub fn tables<T: Into<String>>(mut self, tables: impl IntoIterator<Item = T>) -> Capture {
        let tables: Vec<String> = tables.into_iter().map(|table| self.full(table.into())).collect();
        self.tables.extend(tables);
        self
    }

    /// Sets the name of the Postgres replication slot. Default: `orch_` and the name of the stream.
    pub fn slot(mut self, name: impl Into<String>) -> Capture {
        if let CaptureDatabase::Postgres { slot, .. } = &mut self.kind {
            *slot = Some(name.into());
        }
        self
    }

    /// Sets the name of the Postgres publication that contains the tables. Default: the name of the slot. A missing
    /// publication is created if the account has the privilege.
    pub fn publication(mut self, name: impl Into<String>) -> Capture {
        if let CaptureDatabase::Postgres { publication, .. } = &mut self.kind {
            *publication = Some(name.into());
        }
        self
    }

    /// Sets the replication `server_id` with which this reader registers at a MySQL server. It must be unique among all
    /// readers and replicas of the server. Default: derived from the name and creation time of the stream.
    pub fn server_id(mut self, number: u32) -> Capture {
        if let CaptureDatabase::MySql { server_id, .. } = &mut self.kind {
            *server_id = Some(number);
        }
        self
    }

    /// Excludes columns of a MySQL table, such as passwords, from all records. For Postgres, list the columns in the
    /// publication instead.
    pub fn leave_out<C: Into<String>>(mut self, table: &str, columns: impl IntoIterator<Item = C>) -> Capture {
        let table = self.full(table.into());
        if let CaptureDatabase::MySql { left_out, .. } = &mut self.kind {
            left_out.entry(table).or_default().extend(columns.into_iter().map(Into::into));
        }
        self
    }

    /// Sets the prefix of topics: `lakehouse` publishes the table `trips` to `lakehouse.trips`. Default: the id of the
    /// connection.
    pub fn topics(self, prefix: impl Into<String>) -> Capture {
        Capture { prefix: Some(prefix.into()), ..self }
    }

    /// Sets the number of partitions of new topics. Changes with the same key stay in order, but a TRUNCATE has no
    /// order relative to the rows of other partitions. Default: 1.
    pub fn partitions(self, many: i16) -> Capture {
        Capture { partitions: many, ..self }
    }

    /// Sets a different number of partitions for the topic of one table.
    pub fn partitions_of(mut self, table: &str, many: i16) -> Capture {
        self.partitions_of.insert(self.full(table.into()), many);
        self
    }

    /// Does not publish existing rows of a Postgres database: the topics contain only changes. Mirrors with
    /// [`Stream::snapshot_from`](crate::Stream::snapshot_from) copy the table directly instead, which is many times
    /// faster.
    pub fn snapshot_by_mirrors(self) -> Capture {
        Capture { snapshot_by_mirrors: true, ..self }
    }

    /// Sets a function that is called before the tables are looked up. It may create missing tables.
    pub fn prepared_by(
        self,
        with: impl Fn(Connection) -> BoxFuture<'static, TaskResult<()>> + Send + Sync + 'static,
    ) -> Capture {
        Capture { prepare: Some(Arc::new(with)), ..self }
    }

    pub(crate) fn partitions_for(&self, table: &str) -> i16 {
        self.partitions_of.get(table).copied().unwrap_or(self.partitions)
    }

    pub(crate) fn slot_of(&self, stream: &str) -> String {
        let given = if let CaptureDatabase::Postgres { slot, .. } = &self.kind { slot.clone() } else { None };
        given.unwrap_or_else(|| {
            let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
            "orch_".chars().chain(stream.chars().map(plain)).take(LONGEST_NAME).collect()
        })
    }

    pub(crate) fn publication_of(&self, stream: &str) -> String {
        let given =
            if let CaptureDatabase::Postgres { publication, .. } = &self.kind { publication.clone() } else { None };
        given.unwrap_or_else(|| self.slot_of(stream))
    }

    pub(crate) fn topic_of(&self, table: &str) -> String {
        let table = table.split_once('.').map_or(table, |(_, name)| name);
        format!("{}.{table}", self.prefix.as_ref().unwrap_or(&self.connection))
    }

    /// Returns the `server_id`. The default is derived from the stream's name and creation time, so that streams with
    /// the same name in two installations have different ids.
    pub(crate) fn server_id_of(&self, stream: &str, since: DateTime<Utc>) -> u32 {
        let given = if let CaptureDatabase::MySql { server_id, .. } = &self.kind { *server_id } else { None };
        given.unwrap_or_else(|| {
            let hash = Sha256::digest(format!("{stream} {}", since.timestamp_micros()));
            let number = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
            // Administrators usually number servers from 1. A high bit avoids collisions with their numbers.
            number | 1 << 30
        })
    }

    pub(crate) fn left_out_of(&self, table: &str) -> BTreeSet<String> {
        match &self.kind {
            CaptureDatabase::MySql { left_out, .. } => left_out.get(table).cloned().unwrap_or_default(),
            CaptureDatabase::Postgres { .. } => BTreeSet::new(),
        }
    }

    fn full(&self, table: String) -> String {
        match self.kind {
            CaptureDatabase::Postgres { .. } if !table.contains('.') => format!("public.{table}"),
            CaptureDatabase::Postgres { .. } | CaptureDatabase::MySql { .. } => table,
        }
    }

    /// Returns the first problem found in the declaration.
    pub(crate) fn wrong(&self, stream: &str) -> Option<String> {
        let slot = self.slot_of(stream);
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let topics: Vec<String> = self.tables.iter().map(|table| self.topic_of(table)).collect();
        let unfit = topics.iter().find(|topic| !is_topic_name(topic));
        let mut many: Vec<i16> = self.tables.iter().map(|table| self.partitions_for(table)).collect();
        many.retain(|many| !(1..=MOST_PARTITIONS).contains(many));
        match () {
            () if self.tables.is_empty() => Some("captures no table: call `.tables(…)`".into()),
            () if matches!(
                &self.kind,
                CaptureDatabase::MySql { left_out, .. } if left_out.keys().any(|table| !self.tables.contains(table))
            ) =>
            {
                Some("leaves out columns of a table that it does not capture".into())
            }
            () if self.snapshot_by_mirrors && matches!(self.kind, CaptureDatabase::MySql { .. }) => {
                Some("leaves the snapshot to mirrors, which copy tables of Postgres only".into())
            }
            () if slot.is_empty() || slot.len() > LONGEST_NAME || !slot.chars().all(is_plain) => {
                Some(format!("has the slot `{slot}`: use up to 63 small letters, digits and `_`"))
            }
            () if topics.iter().collect::<BTreeSet<_>>().len() < topics.len() => {
                Some("captures two tables of one name, which would share a topic: make two streams of them".into())
            }
            () if !many.is_empty() => {
                Some(format!("wants topics with {} partitions: 1 to {MOST_PARTITIONS} are possible", many[0]))
            }
            () if self.partitions_of.keys().any(|table| !self.tables.contains(table)) => {
                Some("says how many partitions a table has that it does not capture".into())
            }
            () => unfit.map(|topic| format!("would write to the topic `{topic}`, which is no name of a topic")),
        }
    }

    /// Returns the fields of the registered spec that describe the capture in the UI.
    pub(crate) fn spec(&self, stream: &str) -> Map<String, Value> {
        let topics: Vec<String> = self.tables.iter().map(|table| self.topic_of(table)).collect();
        let told = json!({
            "topic": topics.join(", "),
            "table": self.tables.join(", "),
            "table_connection": self.connection,
            "partitions": self.tables.iter().map(|table| self.partitions_for(table)).collect::<Vec<_>>(),
        });
        let own = match &self.kind {
            CaptureDatabase::Postgres { .. } => json!({
                "captures": "postgres", "slot": self.slot_of(stream), "publication": self.publication_of(stream),
            }),
            CaptureDatabase::MySql { server_id, left_out } => {
                let mut own = json!({ "captures": "mysql" });
                if let Some(number) = server_id {
                    own["server_id"] = json!(number);
                }
                if !left_out.is_empty() {
                    own["left_out"] = json!(left_out);
                }
                own
            }
        };
        let snapshot = self.snapshot_by_mirrors.then(|| ("snapshot_by_mirrors".into(), true.into()));
        let object = |value| if let Value::Object(fields) = value { fields } else { Map::new() };
        object(told).into_iter().chain(object(own)).chain(snapshot).collect()
    }
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture")
            .field("connection", &self.connection)
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_those_that_are_given() {
        let capture = Capture::postgres("taxi_db").tables(["taxi.trips", "vendors"]);
        assert_eq!(
            (capture.slot_of("Taxi-Stream"), capture.publication_of("t")),
            ("orch_taxi_stream".into(), "orch_t".into())
        );
        assert_eq!(
            (capture.topic_of("taxi.trips"), capture.topic_of("public.vendors")),
            ("taxi_db.trips".into(), "taxi_db.vendors".into())
        );
        assert_eq!(capture.wrong("taxi"), None);
        assert_eq!(capture.topics("lakehouse").slot("s").publication("p").topic_of("taxi.trips"), "lakehouse.trips");
    }

    #[test]
    fn a_declaration_that_cannot_run_says_why() {
        let capture = || Capture::postgres("db").tables(["a.x"]);
        for (wrong, why) in [
            (Capture::postgres("db"), "no table"),
            (capture().slot("Slot"), "small letters"),
            (capture().tables(["b.x"]), "two tables of one name"),
            (capture().partitions(0), "0 partitions"),
            (Capture::mysql("db").tables(["a.x"]).snapshot_by_mirrors(), "tables of Postgres only"),
            (capture().partitions_of("a.x", 65), "65 partitions"),
            (capture().partitions_of("a.y", 2), "does not capture"),
            (capture().tables(["a.tä"]), "no name of a topic"),
        ] {
            let said = wrong.wrong("s").unwrap_or_default();
            assert!(said.contains(why), "{said}");
        }
    }
}
