//! Takes a consistent snapshot of tables at a binlog position. It includes exactly the changes committed before this
//! position. Exception: tables of engines without transactions (`MyISAM`, `Aria`) have the rows that exist when they
//! are read.

use super::cells::of_query;
use super::{BinlogCoordinates, Cell, Column, Name, Source};
use crate::{boxed, source::mysql::quoted};
use anyhow::Context as _;
use mysql_async::prelude::Queryable;
use mysql_async::{BinaryProtocol, Conn, Error, Params, QueryResult, Row};
use orch_sdk::task::TaskResult;

/// Number of rows that are prefetched from the server.
const AHEAD: usize = 1_000;
const BEGIN: &str = "start transaction with consistent snapshot";

impl Source {
    /// Opens a snapshot for reading until [`Source::end_snapshot`], and returns its binlog position.
    ///
    /// MariaDB reports the position itself. On MySQL, all tables are locked while the position is read. If the
    /// account lacks the privilege for the lock, the position is read before the snapshot is opened. Changes
    /// committed between the two are then part of the snapshot and are also sent as changes.
    #[boxed]
    pub async fn begin_snapshot(&mut self) -> TaskResult<BinlogCoordinates> {
        let mut session = self.server.session().await?;
        let conn = session.conn();
        // Overrides the server's SQL mode, which may pad text with blanks.
        conn.query_drop("set sql_mode = ''").await?;
        conn.query_drop("set transaction isolation level repeatable read").await?;
        let place = if self.settings.is_mariadb { of_mariadb(conn).await } else { of_mysql(conn).await };
        let place =
            place.map_err(|error| self.refused(error))?.context("the server does not say where its log ends")?;
        self.snapshot = Some(session);
        let gtid = if self.settings.is_mariadb { self.gtid_at(&place.file, place.pos).await? } else { None };
        Ok(BinlogCoordinates { gtid: gtid.unwrap_or_default(), ..place })
    }

    /// Starts reading a table in the snapshot.
    #[boxed]
    pub async fn begin_table(&mut self, name: &Name, columns: &[Column]) -> TaskResult<()> {
        self.reading = columns.to_vec();
        let columns: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
        let sql = format!("select {} from {}.{}", columns.join(", "), quoted(&name.database), quoted(&name.table));
        let session = self.snapshot.as_mut().context("a snapshot that was not taken")?;
        let begun = session.conn().exec_iter(sql, Params::Empty).await.map(drop);
        begun.map_err(|error| self.refused(error))?;
        self.is_last = false;
        Ok(())
    }

    /// Returns the next row of the table, or `None` after the last row.
    #[boxed]
    pub async fn next_row(&mut self) -> TaskResult<Option<Vec<Cell>>> {
        if self.rows.is_empty() && !self.is_last {
            let session = self.snapshot.as_mut().context("a snapshot that was not taken")?;
            // Continues the open result set, whose state is kept by the connection.
            let mut result: QueryResult<'_, '_, BinaryProtocol> = QueryResult::new(session.conn());
            while self.rows.len() < AHEAD && !self.is_last {
                match result.next().await? {
                    Some(row) => {
                        let cells = row.unwrap().into_iter().zip(&self.reading);
                        self.rows.push_back(
                            cells.map(|(value, column)| of_query(value, column)).collect::<TaskResult<_>>()?,
                        );
                    }
                    None => self.is_last = true,
                }
            }
        }
        Ok(self.rows.pop_front())
    }

    pub fn end_snapshot(&mut self) {
        self.snapshot = None;
    }
}

/// Reads the binlog position of the snapshot from the status variables in which MariaDB records it.
async fn of_mariadb(conn: &mut Conn) -> Result<Option<BinlogCoordinates>, Error> {
    conn.query_drop(BEGIN).await?;
    let status: Vec<(String, String)> = conn.query("show status like 'binlog_snapshot_%'").await?;
    let of =
        |name: &str| status.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone());
    let (file, pos) = (of("binlog_snapshot_file"), of("binlog_snapshot_position"));
    Ok(file.zip(pos.and_then(|pos| pos.parse().ok())).map(|(file, pos)| BinlogCoordinates {
        file,
        pos,
        gtid: String::new(),
    }))
}

async fn of_mysql(conn: &mut Conn) -> Result<Option<BinlogCoordinates>, Error> {
    let locked = conn.query_drop("flush tables with read lock").await;
    match locked {
        Ok(()) => {
            conn.query_drop(BEGIN).await?;
            let place = end_of_log(conn).await?;
            conn.query_drop("unlock tables").await?;
            Ok(place)
        }
        // The account lacks the RELOAD privilege.
        Err(Error::Server(refused)) if matches!(refused.code, 1044 | 1045 | 1227) => {
            let place = end_of_log(conn).await?;
            conn.query_drop(BEGIN).await?;
            Ok(place)
        }
        Err(error) => Err(error),
    }
}

async fn end_of_log(conn: &mut Conn) -> Result<Option<BinlogCoordinates>, Error> {
    // MySQL 8.4 renamed this statement to `show binary log status`.
    let found: Result<Option<Row>, _> = conn.query_first("show master status").await;
    let row = match found {
        Err(Error::Server(refused)) if refused.code == 1064 => conn.query_first("show binary log status").await?,
        found => found?,
    };
    let place = |row: &Row| Some(BinlogCoordinates { file: row.get(0)?, pos: row.get(1)?, gtid: String::new() });
    Ok(row.as_ref().and_then(place))
}
