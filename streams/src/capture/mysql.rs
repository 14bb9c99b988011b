//! Captures the changes of a MySQL or MariaDB server from its binlog. The server deletes binlog files by its own
//! configuration, regardless of readers, so the capture does not confirm positions to the server.

mod begin;
mod groups;
mod statements;
mod table;

use super::Capture;
use super::envelope::{Old, RowChange, records};
use super::lot::Lot;
use super::source::{Begin, CaptureRequest, OfSnapshot, Reached, Source};
use anyhow::{Context as _, anyhow};
use groups::Groups;
use orch_lake::source::mysql::binlog::{
    self, BinlogCoordinates, BinlogEvent, Cell, Event, From, Name, NotInTheLog, TableMap, bytes_behind,
};
use orch_sdk::task::{TaskResult, fatal};
use orch_store::stream::{BinlogColumn, BinlogPosition, CapturePosition, LogPosition, StreamCheckpoint};
use orch_store::topic::NewRecord;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use table::{At, Caught, Change, OfRows, Origin};

pub(super) struct MySql {
    stream: String,
    capture: Arc<Capture>,
    source: binlog::Source,
    /// The `server_id` with which this reader registers at the server.
    reader: u32,
    /// Captured tables by the names that the capture declares.
    tables: BTreeMap<String, Caught>,
    missing: BTreeSet<String>,
    /// Layout of the row events that follow, by table number in the binlog. `None` for tables that are not captured.
    maps: HashMap<u64, Option<Arc<OfRows>>>,
    groups: Groups,
    /// True if this server does not have the file of the position, so that the position must be found by GTID.
    by_gtid: bool,
    written: u64,
    /// Position up to which changes are committed.
    confirmed: u64,
}

#[derive(Debug, Clone, Copy)]
struct BinlogEventPosition {
    begins: u64,
    at_ms: i64,
    now_ms: i64,
    server_id: u32,
}

impl MySql {
    fn position(&self, place: &BinlogCoordinates) -> LogPosition {
        let columns = self.tables.iter().map(|(name, table)| (name.clone(), table.known.clone())).collect();
        let BinlogCoordinates { file, pos, gtid } = place.clone();
        LogPosition::Binlog(BinlogPosition { file, pos, gtid, columns })
    }

    /// Returns a hint for users whose changes were lost.
    fn anew(&self) -> String {
        format!("hint: read all tables anew with `orch streams reset {} --to-earliest`", self.stream)
    }

    fn caught(&self, name: &str) -> TaskResult<Caught> {
        let (database, table) = match (name.split_once('.'), self.source.database()) {
            (Some((database, table)), _) => (database, table),
            (None, Some(database)) => (database, name),
            (None, None) => {
                return Err(fatal(format!(
                    "table `{name}` has no database, and the connection `{}` has none\nhint: name it as `database.{name}`",
                    self.capture.connection
                )));
            }
        };
        Ok(Caught {
            name: Name { database: database.into(), table: table.into() },
            topic: self.capture.topic_of(name),
            known: Vec::new(),
            columns: Vec::new(),
            former: Vec::new(),
            left_out: self.capture.left_out_of(name),
        })
    }

    /// Reads the current columns of a table from the catalog. Returns `None` if the table does not exist.
    async fn catalog(&mut self, name: &Name) -> TaskResult<Option<Vec<BinlogColumn>>> {
        let found = self.source.tables(std::slice::from_ref(name)).await?.pop();
        let column = |column: binlog::CaughtColumn| {
            let binlog::CaughtColumn { name, kind, charset, is_key } = column;
            BinlogColumn { name, kind, charset, is_key }
        };
        Ok(found.map(|table| table.columns.into_iter().map(column).collect()))
    }

    /// Updates the known columns of a table from the catalog.
    async fn learn(&mut self, name: &str) -> TaskResult<()> {
        let Some(table) = self.tables.get(name).map(|table| table.name.clone()) else { return Ok(()) };
        let Some(columns) = self.catalog(&table).await? else { return Ok(()) };
        self.missing.remove(name);
        self.maps.clear();
        let anew = self.anew();
        let table = self.tables.get_mut(name).context("a table that is captured")?;
        table.set_columns(columns).map_err(|error| {
            fatal(format!("table `{name}`: {error}\nhint: change it, or leave it out with `.leave_out(…)`\n{anew}"))
        })
    }

    /// Sets the layout of the row events that follow.
    async fn map(&mut self, map: TableMap) -> TaskResult<()> {
        let is_it = |table: &Caught| table.name.database == map.database && table.name.table == map.name;
        let found = self.tables.iter().find(|(_, table)| is_it(table)).map(|(name, _)| name.clone());
        let Some(name) = found else {
            self.maps.insert(map.number, None);
            return Ok(());
        };
        if self.maps.get(&map.number).is_some_and(|known| known.as_ref().is_some_and(|known| known.map == map)) {
            return Ok(());
        }
        let rows = |tables: &BTreeMap<String, Caught>| tables.get(&name).and_then(|table| table.rows(&map));
        let mut found = rows(&self.tables);
        if found.is_none() {
            // The columns do not match. The `ALTER TABLE` statement may be missing from the log, or precede the
            // snapshot.
            self.learn(&name).await?;
            found = rows(&self.tables);
        }
        let Some(found) = found else {
            return Err(fatal(format!(
                "table `{name}` was changed again before the stream came to these rows, and the log does not name their columns\n\
                 hint: `set global binlog_row_metadata = 'FULL'` has it name them\n{}",
                self.anew()
            )));
        };
        self.maps.insert(map.number, Some(Arc::new(found)));
        Ok(())
    }

    fn rows(&mut self, rows: &binlog::Rows, here: BinlogEventPosition, lot: &mut Lot) -> TaskResult<()> {
        let Some(Some(table)) = self.maps.get(&rows.table).cloned() else { return Ok(()) };
        if self.groups.is_xa() {
            return Err(fatal(format!(
                "table `{}` was changed by a transaction of XA, which is in the log before it is decided\n{}",
                table.name.full(),
                self.anew()
            )));
        }
        if !rows.is_whole() || rows.columns != table.columns.len() {
            return Err(fatal(format!(
                "the log has parts of rows of table `{}`: some session has binlog_row_image = MINIMAL or NOBLOB\n\
                 hint: `set global binlog_row_image = 'FULL'`, and let its sessions connect anew\n{}",
                table.name.full(),
                self.anew()
            )));
        }
        let changes = binlog::changes(rows, &table.map, &table.columns)
            .map_err(|error| fatal(format!("a row of table `{}`: {error:#}\n{}", table.name.full(), self.anew())))?;
        for (row, change) in changes.into_iter().enumerate() {
            if self.groups.is_new() {
                let change = match change {
                    (Some(before), Some(after)) => RowChange::Update(Some(Old::Full(before)), after),
                    (Some(before), None) => RowChange::Delete(Old::Full(before)),
                    (None, after) => RowChange::Insert(after.unwrap_or_default()),
                };
                self.tell(&table, change, (here, row), lot)?;
            }
        }
        Ok(())
    }

    /// Returns the metadata of a change in the binlog.
    fn origin(&self, here: BinlogEventPosition, row: usize) -> Origin<'_> {
        Origin {
            is_mariadb: self.source.settings.is_mariadb,
            server_id: here.server_id,
            gtid: self.groups.gtid(),
            file: &self.groups.file,
            pos: here.begins,
            row,
            at_ms: here.at_ms,
            snapshot: "false",
        }
    }

    fn tell(
        &self,
        table: &OfRows,
        change: Change,
        (here, row): (BinlogEventPosition, usize),
        lot: &mut Lot,
    ) -> TaskResult<()> {
        let origin = self.origin(here, row);
        for record in records(&At::of(table), change, &origin, here.now_ms)? {
            lot.push(&table.topic, record);
        }
        lot.at_ms = lot.at_ms.max(Some(here.at_ms));
        Ok(())
    }

    /// Advances the position at the end of a group of events. Does nothing if the group contains no captured changes.
    fn end(&mut self, lot: &mut Lot) {
        if self.groups.changes() > 0 {
            lot.touch();
        }
    }

    /// Makes an error fatal if the server has deleted changes that were not captured, because a user must decide how to
    /// continue.
    fn lost(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast_ref::<NotInTheLog>() {
            Some(lost) => fatal(format!("{lost}: changes are lost\n{}", self.anew())),
            None => error,
        }
    }
}

impl Source for MySql {
    type Sent = BinlogEvent;
    type Cell = Cell;

    async fn open(request: CaptureRequest) -> TaskResult<MySql> {
        let CaptureRequest { stream, capture, connection, since } = request;
        if connection.conn_type == "sample" {
            return Err(fatal(format!(
                "connection `{}` is a sample, whose rows are made and never change: there is no binlog to capture\n\
                 hint: `orch connections` names a MySQL or MariaDB instead, and then `orch streams restart {stream}`",
                connection.id
            )));
        }
        let source = binlog::Source::open(&connection).await?;
        let reader = capture.server_id_of(&stream, since);
        Ok(MySql {
            stream,
            capture,
            source,
            reader,
            tables: BTreeMap::new(),
            missing: BTreeSet::new(),
            maps: HashMap::new(),
            groups: Groups::default(),
            by_gtid: false,
            written: 0,
            confirmed: 0,
        })
    }

    fn identity(&self) -> String {
        begin::identity(&self.source.settings)
    }

    fn written(&self) -> u64 {
        self.written
    }

    async fn decide(&mut self, left: &StreamCheckpoint) -> TaskResult<Begin> {
        let begin = begin::decide(&self.stream, left)?;
        let known = left.capture.as_ref();
        self.written = known.map_or(0, |known| known.lsn);
        let (Begin::Changes, Some(known)) = (begin, known) else { return Ok(begin) };
        let LogPosition::Binlog(at) = &known.at else {
            return Err(fatal(format!("what was captured so far was no binlog\n{}", self.anew())));
        };
        let logs = self.source.logs().await?;
        let behind = bytes_behind(&logs, &at.file, at.pos);
        let gtid = match behind.filter(|_| self.source.settings.is_mariadb) {
            Some(_) => self.source.gtid_at(&at.file, at.pos).await?,
            None => None,
        };
        let is_here = begin::is_here(&self.source.settings, left, at, behind.is_some(), gtid.as_deref());
        self.by_gtid = !is_here;
        if is_here {
            self.written = known.lsn + behind.unwrap_or_default();
        } else if at.gtid.is_empty() {
            return Err(fatal(format!(
                "the server of connection `{}` does not have {}:{} in its log: it is another server, or it has thrown away what was not \
                 captured yet, and changes are lost\n{}",
                self.capture.connection,
                at.file,
                at.pos,
                self.anew()
            )));
        }
        Ok(begin)
    }

    async fn find_tables(&mut self) -> TaskResult<BTreeMap<String, u32>> {
        for name in &self.capture.tables.clone() {
            let mut table = self.caught(name)?;
            let Some(columns) = self.catalog(&table.name).await? else {
                return Err(anyhow!(
                    "the server of connection `{}` has no table `{name}` that its account may read\n\
                     hint: create it, or take it out of the declaration; it is looked for again by itself",
                    self.capture.connection
                ));
            };
            table.set_columns(columns).map_err(|error| {
                anyhow!("table `{name}`: {error}\nhint: or leave it out with `.leave_out(…)`; it is looked for again by itself")
            })?;
            self.tables.insert(name.clone(), table);
        }
        Ok(self.tables.keys().map(|name| (name.clone(), 0)).collect())
    }

    fn before_snapshot(&self) -> LogPosition {
        LogPosition::Binlog(BinlogPosition::default())
    }

    async fn begin_snapshot(&mut self) -> TaskResult<Reached> {
        let place = self.source.begin_snapshot().await?;
        self.groups = Groups::new(&place, (self.written, None), true);
        Ok(self.reached())
    }

    async fn begin_table(&mut self, name: &str) -> TaskResult<()> {
        let table = self.tables.get(name).context("a table that was not looked for")?;
        self.source.begin_table(&table.name, &table.columns).await
    }

    async fn next_row(&mut self) -> TaskResult<Option<Vec<Cell>>> {
        self.source.next_row().await
    }

    async fn end_snapshot(&mut self) -> TaskResult<()> {
        self.source.end_snapshot();
        Ok(())
    }

    fn record(&self, name: &str, change: Change, of: OfSnapshot) -> TaskResult<NewRecord> {
        let table = self.tables.get(name).context("a table that was not looked for")?;
        let is_told: Vec<bool> = table.columns.iter().map(|column| !table.left_out.contains(&column.name)).collect();
        let place = self.groups.place();
        let origin = Origin {
            is_mariadb: self.source.settings.is_mariadb,
            server_id: self.source.settings.server_id,
            gtid: None,
            file: &place.file,
            pos: place.pos,
            row: 0,
            at_ms: of.now_ms,
            snapshot: of.place,
        };
        let at = At { name: &table.name, columns: &table.columns, is_told: &is_told };
        records(&at, change, &origin, of.now_ms)?.pop().context("a row without a record")
    }

    async fn resume(&mut self, known: &CapturePosition) -> TaskResult<Reached> {
        let LogPosition::Binlog(at) = &known.at else {
            return Err(fatal(format!("what was captured so far was no binlog\n{}", self.anew())));
        };
        for name in &self.capture.tables.clone() {
            let Some(columns) = at.columns.get(name) else {
                return Err(fatal(format!(
                    "table `{name}` was declared after the tables were read, so the rows that it had are in no topic\n{}",
                    self.anew()
                )));
            };
            let mut table = self.caught(name)?;
            // The log may contain rows from before an `ALTER TABLE`, so use the columns that were stored with the
            // position.
            table.set_columns(columns.clone())?;
            self.tables.insert(name.clone(), table);
        }
        self.missing = known.missing.iter().cloned().collect();
        let place = BinlogCoordinates { file: at.file.clone(), pos: at.pos, gtid: at.gtid.clone() };
        self.groups = Groups::new(&place, (known.lsn, known.within), !self.by_gtid);
        Ok(self.reached())
    }

    async fn follow(&mut self, from: &CapturePosition) -> TaskResult<()> {
        self.confirmed = from.lsn;
        let place = self.groups.place();
        let from = if self.by_gtid { From::Gtid(&place.gtid) } else { From::Place(&place) };
        let begun = self.source.follow(self.reader, from).await;
        begun.map_err(|error| self.lost(error))
    }

    async fn next(&mut self) -> TaskResult<BinlogEvent> {
        let sent = self.source.next().await;
        sent.map_err(|error| self.lost(error))
    }

    async fn take(&mut self, sent: BinlogEvent, now_ms: i64, lot: &mut Lot) -> TaskResult<()> {
        let BinlogEvent { event, at_s, server_id, end_pos, bytes } = sent;
        let begins = self.groups.read(end_pos, bytes);
        let here = BinlogEventPosition { begins, at_ms: i64::from(at_s) * 1_000, now_ms, server_id };
        match event {
            Event::Gtid(gtid) => self.groups.begin(Some((&gtid, server_id)), begins),
            Event::Query { database, text } => self.statement((&text, &database), here, lot).await?,
            Event::Table(map) => self.map(map).await?,
            Event::Rows(rows) => {
                self.groups.ensure_begun(begins);
                self.rows(&rows, here, lot)?;
            }
            Event::Commit | Event::XaPrepare => {
                self.end(lot);
                self.groups.end_group();
            }
            Event::Rotate { file, .. } => self.groups.rotate(file, end_pos == 0),
            Event::Incident => {
                return Err(fatal(format!(
                    "the server could not write all of its changes into its log\n{}",
                    self.anew()
                )));
            }
            Event::Partial { table } => {
                if let Some(Some(table)) = self.maps.get(&table) {
                    return Err(fatal(format!(
                        "the log has parts of JSON of table `{}`\n\
                         hint: `set global binlog_row_value_options = ''`, and let its sessions connect anew\n{}",
                        table.name.full(),
                        self.anew()
                    )));
                }
            }
            Event::Other => {}
        }
        Ok(())
    }

    fn reached(&self) -> Reached {
        let at = self.position(&self.groups.place());
        let missing = self.missing.iter().cloned().collect();
        Reached { at, lsn: self.groups.lsn, within: self.groups.within, missing }
    }

    async fn confirm(&mut self, lsn: u64) -> TaskResult<()> {
        self.confirmed = lsn;
        Ok(())
    }

    async fn poll_log_end(&mut self) -> TaskResult<()> {
        let logs = self.source.logs().await?;
        let place = self.groups.place();
        if let Some(behind) = bytes_behind(&logs, &place.file, place.pos) {
            self.written = self.groups.lsn + behind;
        }
        Ok(())
    }

    async fn pass_over(&mut self) -> TaskResult<bool> {
        Ok(self.groups.is_between() && self.groups.lsn > self.confirmed)
    }
}
