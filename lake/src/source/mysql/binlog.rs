//! Change data capture from the binlog of a MySQL or MariaDB server, starting with a consistent snapshot at a binlog
//! position. Table definitions come from the server's catalog. Requires full row images (`binlog_format = ROW`,
//! `binlog_row_image = FULL`).

mod bytes;
mod cells;
mod column;
mod event;
mod logs;
mod snapshot;
mod statement;

pub use cells::{Cell, Change, changes};
pub use column::{BinlogType, Charset, Column, columns_of};
pub use event::{Event, Gtid, Op, Rows, TableMap};
pub use logs::{Log, bytes_behind};
pub use statement::{Name, Statement};

use super::session::{Server, Session};
use crate::boxed;
use anyhow::{Context as _, anyhow, ensure};
use futures::StreamExt as _;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Error, FromRowError, Row};
use orch_sdk::task::{Connection, TaskResult};
use std::collections::{BTreeMap, VecDeque};

/// Interval of the heartbeat events that the server sends when there are no changes: 10 s.
const HEARTBEAT_NANOS: u64 = 10_000_000_000;
/// Client capability level that makes MariaDB send its own event types, including GTID events.
const KNOWS_GTIDS: u32 = 4;
const CHECKSUM_BYTES: usize = 4;
/// Byte offset of the first event in each binlog file.
const FIRST_POS: u64 = 4;
/// MySQL error code for a position that does not exist, or no longer exists, in the binlog.
const NOT_IN_THE_LOG: u16 = 1236;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub is_mariadb: bool,
    pub server_id: u32,
    /// MySQL's `server_uuid`, unique per server. Empty on MariaDB.
    pub uuid: String,
}

/// A position between two binlog events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BinlogCoordinates {
    pub file: String,
    pub pos: u64,
    /// MariaDB's GTID position at these coordinates, in its own notation: `0-1-100,1-1-5`.
    pub gtid: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinlogEvent {
    pub event: Event,
    /// Time of the server when it wrote the event, in seconds since the Unix epoch.
    pub at_s: u32,
    pub server_id: u32,
    /// File offset after the event, 32 bits. 0 for events that are not stored in a file.
    pub end_pos: u32,
    pub bytes: u32,
}

/// The position from which the server starts sending events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From<'a> {
    Place(&'a BinlogCoordinates),
    /// Starts after the transactions included in this MariaDB GTID position, in whichever file they are.
    Gtid(&'a str),
}

/// A table definition from the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaughtTable {
    pub name: Name,
    pub columns: Vec<CaughtColumn>,
}

/// A column definition from the catalog, with its type not parsed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaughtColumn {
    pub name: String,
    pub kind: String,
    pub charset: Option<String>,
    pub is_key: bool,
}

/// Connection to a MySQL server whose changes are captured.
pub struct Source {
    server: Server,
    pub settings: Settings,
    /// Session for catalog queries. Another session follows the binlog and cannot run queries meanwhile.
    asks: Session,
    snapshot: Option<Session>,
    /// Rows of the snapshot that were prefetched.
    rows: VecDeque<Vec<Cell>>,
    reading: Vec<Column>,
    is_last: bool,
    stream: Option<BinlogStream>,
    /// True until the first event is read. It precedes the format description event, which announces whether events
    /// have a checksum.
    is_first: bool,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Source {
    /// Connects to the server and checks its binlog settings.
    ///
    /// # Errors
    /// Returns a retryable error if the settings are wrong. Its message contains a hint.
    #[boxed]
    pub async fn open(connection: &Connection) -> TaskResult<Source> {
        let server = Server::of(connection)?;
        let mut asks = server.session().await.map_err(|error| tried_again(&error))?;
        let sql =
            "select version(), @@global.log_bin, @@global.binlog_format, @@global.binlog_row_image, @@global.server_id";
        let found: (String, u8, String, String, u32) =
            asks.conn().query_first(sql).await?.context("the server does not say how it is set")?;
        let (version, log_bin, format, image, server_id) = found;
        let (id, again) = (&connection.id, "it is looked for again by itself");
        ensure!(
            log_bin == 1,
            "the server of connection `{id}` has log_bin = OFF, so it tells of no changes\n\
             hint: start it with `log_bin`, `binlog_format=ROW` and a `server_id`; {again}"
        );
        ensure!(
            format == "ROW",
            "the server of connection `{id}` has binlog_format = {format}, so its log has statements instead of rows\n\
             hint: `set global binlog_format = 'ROW'`, and let its sessions connect anew; {again}"
        );
        ensure!(
            image == "FULL",
            "the server of connection `{id}` has binlog_row_image = {image}, so its log has parts of rows\n\
             hint: `set global binlog_row_image = 'FULL'`, and let its sessions connect anew; {again}"
        );
        let is_mariadb = version.contains("MariaDB");
        let uuid = if is_mariadb { None } else { asks.conn().query_first("select @@global.server_uuid").await? };
        let uuid: String = uuid.unwrap_or_default();
        let settings = Settings { is_mariadb, server_id, uuid };
        let (snapshot, rows, stream) = (None, VecDeque::new(), None);
        Ok(Source {
            server,
            settings,
            asks,
            snapshot,
            rows,
            reading: Vec::new(),
            is_last: true,
            stream,
            is_first: true,
        })
    }

    /// Returns the default database of the connection.
    pub fn database(&self) -> Option<&str> {
        self.server.database()
    }

    /// Returns the definitions of the named tables. Views and tables that do not exist are omitted.
    #[boxed]
    pub async fn tables(&mut self, names: &[Name]) -> TaskResult<Vec<CaughtTable>> {
        let mut found = Vec::new();
        for name in names {
            let sql = "select c.column_name, c.column_type, c.character_set_name, c.column_key = 'PRI'
                from information_schema.columns c join information_schema.tables t
                    on t.table_schema = c.table_schema and t.table_name = c.table_name and t.table_type in ('BASE TABLE', 'SYSTEM VERSIONED')
                where c.table_schema = ? and c.table_name = ? order by c.ordinal_position";
            let params = (name.database.as_str(), name.table.as_str());
            let rows: Vec<Row> = self.asks.conn().exec(sql, params).await?;
            let columns = rows.into_iter().map(|row| {
                let (name, kind, charset, is_key): (String, String, Option<String>, bool) =
                    mysql_async::from_row_opt(row).map_err(|FromRowError(row)| anyhow!("the catalog has {row:?}"))?;
                Ok(CaughtColumn { name, kind, charset, is_key })
            });
            let columns = columns.collect::<TaskResult<Vec<_>>>()?;
            if !columns.is_empty() {
                found.push(CaughtTable { name: name.clone(), columns });
            }
        }
        Ok(found)
    }

    /// Lists the binlog files.
    ///
    /// # Errors
    /// Returns an error if the account lacks the privilege.
    #[boxed]
    pub async fn logs(&mut self) -> TaskResult<Vec<Log>> {
        let rows: Vec<Row> = self.asks.conn().query("show binary logs").await.map_err(|error| self.refused(error))?;
        let log = |row: &Row| Some(Log { file: row.get(0)?, bytes: row.get(1)? });
        rows.iter().map(|row| log(row).context("the server does not say how large its log is")).collect()
    }

    /// Converts a binlog file position to a MariaDB GTID position. Returns `None` if the file position does not
    /// exist.
    #[boxed]
    pub async fn gtid_at(&mut self, file: &str, pos: u64) -> TaskResult<Option<String>> {
        let found: Option<Option<String>> =
            self.asks.conn().exec_first("select binlog_gtid_pos(?, ?)", (file, pos)).await?;
        Ok(found.flatten())
    }

    /// Starts streaming changes from a position.
    ///
    /// # Errors
    /// Returns an error if the account lacks the privilege or the server no longer has the position.
    pub async fn follow(&mut self, reader: u32, from: From<'_>) -> TaskResult<()> {
        let mut session = self.server.session().await.map_err(|error| tried_again(&error))?;
        let conn = session.conn();
        let period =
            format!("set @master_heartbeat_period = {HEARTBEAT_NANOS}, @source_heartbeat_period = {HEARTBEAT_NANOS}");
        conn.query_drop(period).await?;
        if self.settings.is_mariadb {
            conn.query_drop(format!("set @mariadb_slave_capability = {KNOWS_GTIDS}")).await?;
        }
        let mut request = BinlogStreamRequest::new(reader);
        match from {
            From::Place(place) => request = request.with_filename(place.file.as_bytes()).with_pos(place.pos),
            From::Gtid(numbers) => {
                conn.exec_drop("set @slave_connect_state = ?", (numbers,)).await?;
                request = request.with_pos(FIRST_POS);
            }
        }
        let begun = session.take().get_binlog_stream(request).await;
        self.stream = Some(begun.map_err(|error| self.refused(error))?);
        self.is_first = true;
        Ok(())
    }

    /// Returns the next binlog event. Cancel safe.
    #[boxed]
    pub async fn next(&mut self) -> TaskResult<BinlogEvent> {
        let stream = self.stream.as_mut().context("changes are not followed")?;
        let sent = match stream.next().await {
            Some(Ok(sent)) => sent,
            Some(Err(error)) => return Err(self.refused(error)),
            None => return Err(anyhow!("the server has ended the binlog")),
        };
        let header = sent.header();
        let is_first = std::mem::take(&mut self.is_first);
        let data = if is_first { without_checksum(sent.data()) } else { sent.data() };
        let event = Event::parse(header.event_type_raw(), data)?;
        // The server generates artificial events for a single replication client. They are not stored in a binlog
        // file.
        let is_artificial = header.flags_raw() & 0x20 != 0;
        let end_pos = if is_artificial { 0 } else { header.log_pos() };
        let (at_s, server_id, bytes) = (header.timestamp(), header.server_id(), header.event_size());
        Ok(BinlogEvent { event, at_s, server_id, end_pos, bytes })
    }

    /// Converts a server error, adding a hint for the user.
    fn refused(&self, error: Error) -> anyhow::Error {
        let id = self.server.id();
        match &error {
            Error::Server(refused) if is_not_in_the_log(refused.code, &refused.message) => {
                anyhow::Error::new(NotInTheLog { connection: id.into(), said: refused.message.clone() })
            }
            // The MySQL error codes for a missing privilege.
            Error::Server(refused) if matches!(refused.code, 1044 | 1045 | 1142 | 1227) => anyhow!(
                "the account of connection `{id}` may not read the binlog: {}\n\
                 hint: `grant replication slave, replication client on *.* to …` (MariaDB: `replication slave, binlog monitor`), and \
                 `select` on the tables; it is looked for again by itself",
                refused.message
            ),
            _ => anyhow::Error::new(error).context(format!("the server of connection `{id}` sends no changes")),
        }
    }
}

/// Removes the checksum from the first event, whose content is the name of the binlog file. File names end with a dot
/// and digits, so four more bytes are a checksum.
fn without_checksum(data: &[u8]) -> &[u8] {
    let is_name = |name: &[u8]| {
        let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        digits > 0 && name.len() > digits && name[name.len() - digits - 1] == b'.'
    };
    match data.len().checked_sub(CHECKSUM_BYTES) {
        Some(end) if is_name(&data[..end]) => &data[..end],
        _ => data,
    }
}

/// Distinguishes a missing binlog position from other errors with the same code. The server also uses the code when
/// another replication client connects with the same server id, and for events that are too large.
fn is_not_in_the_log(code: u16, message: &str) -> bool {
    code == NOT_IN_THE_LOG && !["same server", "max_allowed_packet"].iter().any(|other| message.contains(other))
}

/// The server no longer has the binlog position from which the capture must resume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server of connection `{connection}` does not have the place in its log any more: {said}")]
pub struct NotInTheLog {
    pub connection: String,
    pub said: String,
}

/// Removes the fatal marker from an error. A wrong password fails a task permanently, but a continuous stream keeps
/// retrying until it is fixed.
fn tried_again(error: &anyhow::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}

/// Splits a MariaDB GTID position by replication domain.
pub fn domains(gtid: &str) -> BTreeMap<u32, String> {
    let number = |one: &str| Some((one.split('-').next()?.parse().ok()?, one.to_string()));
    gtid.split(',').filter_map(|one| number(one.trim())).collect()
}
