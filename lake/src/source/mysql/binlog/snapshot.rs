//! A snapshot of the tables, with the place in the binlog that it fits: what is committed behind that place is not in it, all else is.
//! Of tables whose engine has no transactions (`MyISAM`, `Aria`) it is the rows that are there when they are read.

use super::cells::of_query;
use super::{BinlogCoordinates, Cell, Column, Name, Source};
use crate::{boxed, source::mysql::quoted};
use anyhow::Context as _;
use mysql_async::prelude::Queryable;
use mysql_async::{BinaryProtocol, Conn, Error, Params, QueryResult, Row};
use orch_sdk::task::TaskResult;

/// Rows that are read ahead.
const AHEAD: usize = 1_000;
const BEGIN: &str = "start transaction with consistent snapshot";

impl Source {
    /// Takes the snapshot: until [`Source::end_snapshot`] rows are read as they were then.
    ///
    /// MariaDB says itself which place fits. MySQL is locked for the moment that it takes to look; if the account may not, the place is
    /// looked for first, and what commits between the two is in the snapshot and told as a change too.
    #[boxed]
    pub async fn begin_snapshot(&mut self) -> TaskResult<BinlogCoordinates> {
        let mut session = self.server.session().await?;
        let conn = session.conn();
        // Without this the mode of the server may fill texts up with blanks.
        conn.query_drop("set sql_mode = ''").await?;
        conn.query_drop("set transaction isolation level repeatable read").await?;
        let place = if self.settings.is_mariadb { of_mariadb(conn).await } else { of_mysql(conn).await };
        let place =
            place.map_err(|error| self.refused(error))?.context("the server does not say where its log ends")?;
        self.snapshot = Some(session);
        let gtid = if self.settings.is_mariadb { self.gtid_at(&place.file, place.pos).await? } else { None };
        Ok(BinlogCoordinates { gtid: gtid.unwrap_or_default(), ..place })
    }

    /// Begins to read the rows of a table, within the snapshot.
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

    /// The next row of the table; `None` after the last one.
    #[boxed]
    pub async fn next_row(&mut self) -> TaskResult<Option<Vec<Cell>>> {
        if self.rows.is_empty() && !self.is_last {
            let session = self.snapshot.as_mut().context("a snapshot that was not taken")?;
            // The connection knows that it is in the middle of a result; this goes on reading it.
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

/// The server notes, with the snapshot, where its log was.
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
        // The account has no RELOAD.
        Err(Error::Server(refused)) if matches!(refused.code, 1044 | 1045 | 1227) => {
            let place = end_of_log(conn).await?;
            conn.query_drop(BEGIN).await?;
            Ok(place)
        }
        Err(error) => Err(error),
    }
}

async fn end_of_log(conn: &mut Conn) -> Result<Option<BinlogCoordinates>, Error> {
    // MySQL 8.4 has another word for it.
    let found: Result<Option<Row>, _> = conn.query_first("show master status").await;
    let row = match found {
        Err(Error::Server(refused)) if refused.code == 1064 => conn.query_first("show binary log status").await?,
        found => found?,
    };
    let place = |row: &Row| Some(BinlogCoordinates { file: row.get(0)?, pos: row.get(1)?, gtid: String::new() });
    Ok(row.as_ref().and_then(place))
}
