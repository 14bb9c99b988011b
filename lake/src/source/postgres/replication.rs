//! Change data capture from a Postgres database by logical replication with the built-in `pgoutput` plugin. The
//! capture has a replication slot, a publication, a snapshot that is consistent with the start of the slot, and the
//! changes after the snapshot.

mod pgoutput;
mod tables;
mod wire;

pub use pgoutput::{Cell, Column, Message, Old, Relation, Tuple, row_of_copy};
pub use tables::{CaughtTable, Publication};
pub use wire::Refused;

use crate::boxed;
use anyhow::{Context as _, anyhow, ensure};
use bytes::{Buf as _, Bytes};
use orch_sdk::task::{Connection, TaskResult};
use serde::Deserialize;
use std::time::Duration;
use wire::{Purpose, Rows, Wire};

/// Maximum number of attempts to take the replication slot from a stale session of this capture, which is terminated
/// before each retry.
const TRIES_FOR_SLOT: u32 = 5;
/// Timeout of the server while it waits for a terminated session to end.
const END_OF_SESSION: Duration = Duration::from_secs(2);
/// The SQLSTATE `object_in_use`, reported if another session holds the replication slot.
const IN_USE: &str = "55006";

/// Identity of the database behind a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// System identifier of the Postgres cluster. A primary and its standbys have the same one.
    pub system: String,
    pub database: String,
    pub lsn: u64,
}

/// A replication slot, which makes the server retain WAL for its reader.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Slot {
    #[serde(default)]
    pub plugin: Option<String>,
    #[serde(default)]
    pub database: Option<String>,
    /// WAL position up to which changes were confirmed. The server does not send earlier changes again.
    #[serde(rename = "confirmed_flush_lsn", deserialize_with = "lsn", default)]
    pub confirmed: u64,
    /// Status of the WAL of the slot. `lost` means that the server has removed WAL that the slot still needs.
    #[serde(default)]
    pub wal_status: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplicationMessage {
    /// A row change at WAL position `lsn`.
    Change { lsn: u64, message: Message, bytes: usize },
    /// Keepalive message: the server has sent all changes up to `lsn`.
    Alive { lsn: u64, wants_answer: bool },
}

/// Connection to a Postgres database whose changes are captured.
#[derive(Debug)]
pub struct Source {
    wire: Wire,
    /// Session for SQL queries. It is separate because the replication session is busy streaming changes.
    asks: Wire,
}

impl Source {
    /// Opens the sessions of a capture. `name` is their application name, by which later processes recognize them.
    ///
    /// # Errors
    /// Returns an error with a hint if the server rejects a session or its settings are wrong.
    #[boxed]
    pub async fn open(connection: &Connection, name: &str) -> TaskResult<Source> {
        let mut asks = Wire::open(connection, Purpose::Statements, name).await?;
        let level = one(asks.ask("show wal_level").await?)?;
        ensure!(
            level == "logical",
            "the server of connection `{}` has wal_level = {level}, so it tells of no changes\n\
             hint: `alter system set wal_level = logical`, and restart the server; it is looked for again by itself",
            connection.id
        );
        let wire = Wire::open(connection, Purpose::Replication, name).await?;
        Ok(Source { wire, asks })
    }

    #[boxed]
    pub async fn identity(&mut self) -> TaskResult<Identity> {
        let found = self.wire.ask("IDENTIFY_SYSTEM").await?;
        let [Some(system), _, Some(lsn), Some(database)] = found.first().map_or(&[][..], Vec::as_slice) else {
            return Err(anyhow!("the server does not say which it is"));
        };
        let (system, database, lsn) = (system.clone(), database.clone(), parse_lsn(lsn)?);
        Ok(Identity { system, database, lsn })
    }

    /// Returns the current WAL position of the server.
    #[boxed]
    pub async fn written(&mut self) -> TaskResult<u64> {
        let sql = "select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end";
        parse_lsn(&one(self.asks.ask(sql).await?)?)
    }

    #[boxed]
    pub async fn slot(&mut self, name: &str) -> TaskResult<Option<Slot>> {
        let sql = format!("select to_jsonb(s) from pg_replication_slots s where slot_name = {}", literal(name));
        let found = self.asks.ask(&sql).await?;
        found.into_iter().next().map(|row| Ok(serde_json::from_str(&one(vec![row])?)?)).transpose()
    }

    /// Drops the slot. Succeeds if it does not exist.
    #[boxed]
    pub async fn drop_slot(&mut self, name: &str) -> TaskResult<()> {
        let drop = format!(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = {}",
            literal(name)
        );
        for _ in 0..TRIES_FOR_SLOT {
            match self.asks.ask(&drop).await {
                Err(error) if is_in_use(&error) => self.end_holder(name).await?,
                done => return done.map(drop_rows),
            }
        }
        self.asks.ask(&drop).await.map(drop_rows)
    }

    /// Terminates the session that holds the replication slot if the session belongs to this capture. A slot held by
    /// another reader stays in use; the server's error names the reader.
    async fn end_holder(&mut self, slot: &str) -> TaskResult<()> {
        let sql = format!(
            "select pg_terminate_backend(a.pid, {}) from pg_replication_slots s join pg_stat_activity a on a.pid = s.active_pid
            where s.slot_name = {} and a.application_name = current_setting('application_name')",
            END_OF_SESSION.as_millis(),
            literal(slot)
        );
        self.asks.ask(&sql).await.map(drop_rows)
    }

    /// Creates the replication slot and opens its snapshot for reading until [`Source::end_snapshot`]. The snapshot
    /// contains exactly the transactions committed before the slot was created; later transactions are sent as
    /// changes. Returns the WAL position at which the changes begin.
    #[boxed]
    pub async fn create_slot(&mut self, name: &str) -> TaskResult<u64> {
        // The transaction is started separately. If the creation of the slot fails, the transaction stays open and is
        // rolled back below.
        self.wire.ask("begin isolation level repeatable read read only").await?;
        let create = format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput USE_SNAPSHOT", quoted(name));
        match self.wire.ask(&create).await {
            Ok(rows) => {
                let lsn = rows.first().and_then(|row| row.get(1)).cloned().flatten();
                parse_lsn(&lsn.context("the server does not say where the slot begins")?)
            }
            Err(error) => {
                self.wire.ask("rollback").await?;
                Err(error)
            }
        }
    }

    /// Starts reading a table in the snapshot.
    #[boxed]
    pub async fn begin_table(&mut self, table: &CaughtTable) -> TaskResult<()> {
        self.wire.begin_copy(&table.copy()).await
    }

    /// Returns the next row of the table in the text format of `copy`, or `None` after the last row.
    #[boxed]
    pub async fn next_row(&mut self) -> TaskResult<Option<Bytes>> {
        let line = self.wire.piece().await?;
        if line.is_none() {
            self.wire.ready().await?;
        }
        Ok(line)
    }

    #[boxed]
    pub async fn end_snapshot(&mut self) -> TaskResult<()> {
        self.wire.ask("commit").await.map(drop_rows)
    }

    /// Starts streaming the changes of transactions that commit at `lsn` or later.
    #[boxed]
    pub async fn follow(&mut self, slot: &str, publication: &str, lsn: u64) -> TaskResult<()> {
        let follow = format!(
            "START_REPLICATION SLOT {} LOGICAL {} (proto_version '1', publication_names {})",
            quoted(slot),
            show_lsn(lsn),
            literal(&quoted(publication))
        );
        for _ in 0..TRIES_FOR_SLOT {
            match self.wire.begin_copy(&follow).await {
                Err(error) if is_in_use(&error) => self.end_holder(slot).await?,
                done => return done,
            }
        }
        self.wire.begin_copy(&follow).await
    }

    /// Returns the next replication message. Cancel safe.
    #[boxed]
    pub async fn next(&mut self) -> TaskResult<ReplicationMessage> {
        let mut piece = self.wire.piece().await?.context("the server has ended the replication")?;
        let bytes = piece.len();
        match piece.try_get_u8()? {
            b'w' => {
                let (lsn, _end, _sent_at) = (piece.try_get_u64()?, piece.try_get_u64()?, piece.try_get_i64()?);
                Ok(ReplicationMessage::Change { lsn, message: Message::parse(piece)?, bytes })
            }
            b'k' => {
                let (lsn, _sent_at) = (piece.try_get_u64()?, piece.try_get_i64()?);
                Ok(ReplicationMessage::Alive { lsn, wants_answer: piece.try_get_u8()? == 1 })
            }
            other => Err(anyhow!("the server sends something that orch does not know: `{}`", char::from(other))),
        }
    }

    /// Confirms to the server that all changes before WAL position `lsn` are stored. The server does not send them
    /// again.
    #[boxed]
    pub async fn confirm(&mut self, lsn: u64) -> TaskResult<()> {
        self.wire.send_piece(&wire::status(lsn, 0, false)).await
    }

    /// Confirms `lsn` and requests an immediate [`ReplicationMessage::Alive`] message. A server without changes to
    /// send would otherwise stay silent even though it receives status messages.
    #[boxed]
    pub async fn ask_whether_alive(&mut self, lsn: u64) -> TaskResult<()> {
        self.wire.send_piece(&wire::status(lsn, 0, true)).await
    }
}

/// Returns true if the error means that another session holds the replication slot.
fn is_in_use(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.code == IN_USE)
}

fn drop_rows(_: Rows) {}

/// Returns the value of a result that must have a single row and column.
fn one(rows: Rows) -> TaskResult<String> {
    let value = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
    value.context("the server does not answer with a value")
}

/// Formats a WAL position like Postgres: `16/B374D848`.
pub fn show_lsn(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xffff_ffff)
}

/// Parses a WAL position such as `16/B374D848`.
///
/// # Errors
/// Returns an error if the text is not a WAL position.
pub fn parse_lsn(text: &str) -> TaskResult<u64> {
    let (high, low) = text.split_once('/').with_context(|| format!("`{text}` is no position in a log"))?;
    ensure!(high.len() <= 8 && low.len() <= 8, "`{text}` is no position in a log");
    Ok((u64::from_str_radix(high, 16)? << 32) | u64::from_str_radix(low, 16)?)
}

fn lsn<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text: Option<String> = Deserialize::deserialize(deserializer)?;
    text.map_or(Ok(0), |text| parse_lsn(&text).map_err(serde::de::Error::custom))
}

pub(super) fn literal(text: &str) -> String {
    // In `E''` strings, the meaning of backslashes does not depend on the server setting
    // `standard_conforming_strings`.
    let prefix = if text.contains('\\') { " E" } else { "" };
    format!("{prefix}'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_written_as_postgres_does() {
        assert_eq!(parse_lsn("16/B374D848").unwrap(), 0x16_B374_D848);
        assert_eq!(show_lsn(0x16_B374_D848), "16/B374D848");
        assert_eq!(show_lsn(parse_lsn("0/0").unwrap()), "0/0");
        assert!(parse_lsn("16").is_err() && parse_lsn("x/1").is_err());
    }

    #[test]
    fn names_and_texts_end_where_they_end() {
        assert_eq!(
            (literal("it's"), literal(r"a\"), quoted(r#"a"b"#)),
            ("'it''s'".into(), r" E'a\\'".into(), r#""a""b""#.into())
        );
    }

    #[test]
    fn a_slot_is_read_from_any_version_of_the_server() {
        let slot: Slot = serde_json::from_str(
            r#"{"slot_name":"s","plugin":"pgoutput","confirmed_flush_lsn":"0/10","wal_status":"reserved","more":1}"#,
        )
        .unwrap();
        assert_eq!((slot.confirmed, slot.wal_status.as_deref()), (16, Some("reserved")));
        let slot: Slot = serde_json::from_str(r#"{"plugin":null,"confirmed_flush_lsn":null}"#).unwrap();
        assert_eq!((slot.confirmed, slot.wal_status), (0, None));
    }
}
