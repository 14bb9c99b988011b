//! Streams: pause, resume, restart, reset, skip records and delete.

use crate::{Actor, Refused, boxed};
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::stream::{
    Reset, ResetTo, SkippedRecord, StreamRow, delete_stream, get_stream, others_of_table, partitions_of_stream,
    pause_stream, reset_stream, restart_share, restart_stream, resume_stream, skip_record,
};
use serde_json::{Value, json};
use sqlx::PgConnection;

/// Hint for the processes that run streams.
pub const STEERED: Hint = Hint::Stream;

const DECLARED: &str = "its bundle declares it and would create it again: take it out of the bundle first, or pause it";
const WHICH_PARTITION: &str =
    "an offset belongs to one partition, and this stream reads several: name the partition, too";
const EMPTY_OF_ALL: &str = "the rows of all partitions are in one table: it is emptied only where all are read anew, so leave the partition out";
const ONLY_ANEW: &str = "a stream that captures changes has nowhere to go but to a new snapshot: reset it to the earliest, and leave the \
    partition and the empty table out";
const NO_SUCH_PARTITION: &str = "the stream reads no partition of that number";
const NO_RECORDS: &str = "a capture reads the log of a database, which has no records to skip: correct the row in its source, or \
    reset the capture to the earliest";
const NO_SUCH_SHARE: &str = "the stream has no share of that number: they count from 0";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steer {
    Pause,
    Resume,
    Restart,
    /// Restarts one share, or the whole stream if it is not running.
    RestartShare(i32),
    Reset(Reset),
    /// Quarantines a record that the stream has not published yet.
    Skip {
        partition: i32,
        offset: i64,
    },
}

/// Executes a command and returns the new state of the stream.
#[boxed]
pub async fn steer(tx: &mut PgConnection, actor: &Actor, name: &str, steer: &Steer) -> Result<StreamRow, Refused> {
    let mut extra = json!({ "stream": name });
    let (event, is_there) = match steer {
        Steer::Pause => ("pause_stream", pause_stream(tx, name).await?),
        Steer::Resume => ("resume_stream", resume_stream(tx, name).await?),
        Steer::Restart => ("restart_stream", restart_stream(tx, name).await?),
        Steer::RestartShare(share) => {
            let row = get_stream(tx, name).await?.ok_or(Refused::NotFound)?;
            if !(0..row.shares()).contains(share) {
                return Err(Refused::Rule(NO_SUCH_SHARE.into()));
            }
            extra["share"] = json!(share);
            ("restart_stream", restart_share(tx, name, *share).await? || restart_stream(tx, name).await?)
        }
        Steer::Reset(reset) => {
            check(tx, name, reset).await?;
            extra["to"] = serde_json::to_value(&reset.to).unwrap_or_default();
            if let Some(partition) = reset.partition {
                extra["partition"] = json!(partition);
            }
            if reset.empty_table {
                extra["empty_table"] = json!(true);
            }
            ("reset_stream", reset_stream(tx, name, reset).await?)
        }
        Steer::Skip { partition, offset } => {
            check_skip(tx, name, *partition, *offset).await?;
            extra["partition"] = json!(partition);
            extra["offset"] = json!(offset);
            let record = SkippedRecord { partition: *partition, offset: *offset, username: actor.name.to_string() };
            ("skip_stream_record", skip_record(tx, name, &record).await?)
        }
    };
    if !is_there {
        return Err(Refused::NotFound);
    }
    write_down(tx, actor, (event, extra)).await?;
    get_stream(tx, name).await?.ok_or(Refused::NotFound)
}

/// Rejects a record before the next offset, because it is already published or quarantined.
async fn check_skip(tx: &mut PgConnection, name: &str, partition: i32, offset: i64) -> Result<(), Refused> {
    let row = get_stream(tx, name).await?.ok_or(Refused::NotFound)?;
    if row.is_capture() {
        return Err(Refused::Rule(NO_RECORDS.into()));
    }
    let known = partitions_of_stream(tx, name).await?;
    let Some(at) = known.iter().find(|one| one.partition == partition) else {
        return Err(Refused::Rule(NO_SUCH_PARTITION.into()));
    };
    if offset < at.next_offset {
        let why = format!(
            "stream `{name}` has read partition {partition} up to offset {} already\n\
             hint: skip a record from that offset on; the error of a stopped stream names it",
            at.next_offset
        );
        return Err(Refused::Rule(why.into()));
    }
    Ok(())
}

/// Rejects impossible resets. A stream that never ran has no partitions yet, so its process checks the target when it
/// starts.
async fn check(tx: &mut PgConnection, name: &str, reset: &Reset) -> Result<(), Refused> {
    let row = get_stream(tx, name).await?;
    if row.as_ref().is_some_and(StreamRow::is_capture) && !reset.is_anew() {
        return Err(Refused::Rule(ONLY_ANEW.into()));
    }
    if let Some(row) = row.filter(|_| reset.empty_table) {
        let others = others_of_table(tx, &row).await?;
        if !others.is_empty() {
            let (table, others) = (row.table(), others.join(", "));
            let why = format!(
                "table `{table}` has rows of {others} as well, and all of them would be deleted\n\
                 hint: reset `{name}` without emptying the table: a row that is read again takes the place of the one with its key"
            );
            return Err(Refused::Rule(why.into()));
        }
    }
    let known = partitions_of_stream(tx, name).await?;
    match reset.partition {
        None if matches!(reset.to, ResetTo::Offset(_)) && known.len() > 1 => Err(Refused::Rule(WHICH_PARTITION.into())),
        Some(_) if reset.empty_table => Err(Refused::Rule(EMPTY_OF_ALL.into())),
        Some(wanted) if !known.is_empty() && known.iter().all(|one| one.partition != wanted) => {
            Err(Refused::Rule(NO_SUCH_PARTITION.into()))
        }
        _ => Ok(()),
    }
}

/// Deletes a stream and its offsets. Its table stays.
#[boxed]
pub async fn delete(tx: &mut PgConnection, actor: &Actor, name: &str) -> Result<(), Refused> {
    if !delete_stream(tx, name).await? {
        let is_there = get_stream(tx, name).await?.is_some();
        return Err(if is_there { Refused::Rule(DECLARED.into()) } else { Refused::NotFound });
    }
    write_down(tx, actor, ("delete_stream", json!({ "stream": name }))).await
}

async fn write_down(tx: &mut PgConnection, actor: &Actor, (event, extra): (&str, Value)) -> Result<(), Refused> {
    Ok(actor.did(tx, Deed { event, extra: Some(extra), ..Deed::default() }).await?)
}
