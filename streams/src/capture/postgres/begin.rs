//! Decides where a Postgres capture continues: after its last commit, or with a new snapshot. Lost changes are always
//! reported as an error. Performs no I/O.

use crate::capture::Capture;
use crate::capture::source::Begin;
use orch_lake::source::postgres::replication::{Slot, show_lsn};
use orch_sdk::task::{TaskResult, fatal};
use orch_store::stream::{CapturePhase, ResetTo, StreamCheckpoint};

/// Decides how the capture starts. Returns a fatal error if changes are or would be lost, because a user must decide
/// then.
pub(super) fn decide(
    capture: &Capture,
    stream: &str,
    left: &StreamCheckpoint,
    identity: &str,
    slot: Option<&Slot>,
) -> TaskResult<Begin> {
    let name = capture.slot_of(stream);
    let is_again = left.capture.is_some();
    match &left.reset_to {
        Some(reset) if reset.to == ResetTo::Earliest => return Ok(Begin::Snapshot { is_again }),
        Some(_) => {
            return Err(fatal(format!(
                "a stream that captures changes has no other place to go to than a new snapshot\n\
                 hint: `orch streams reset {stream} --to-earliest`"
            )));
        }
        None => {}
    }
    let anew =
        format!("hint: read all tables anew with `orch streams reset {stream} --to-earliest`: it makes a new slot");
    let Some(known) = &left.capture else {
        return match slot {
            // Do not use a slot that this stream did not create: it may belong to another reader, which would lose its
            // changes.
            Some(_) => Err(fatal(format!(
                "the server has a slot `{name}` that this stream did not make\n\
                 hint: name another one with `.slot(…)`, or take it over with `orch streams reset {stream} --to-earliest`, which drops it"
            ))),
            None => Ok(Begin::Snapshot { is_again: false }),
        };
    };
    if known.phase == CapturePhase::Snapshot {
        return Ok(Begin::Snapshot { is_again: true });
    }
    if left.topic_identity.as_deref() != Some(identity) {
        return Err(fatal(format!(
            "the connection `{}` leads to another database than the one that was captured so far, or the slot has another name\n{anew}",
            capture.connection
        )));
    }
    let at = show_lsn(known.lsn);
    match slot {
        None => Err(fatal(format!(
            "slot `{name}` is gone from the server, and with it the changes since {at}: nothing kept them for this stream\n{anew}"
        ))),
        Some(slot) if slot.wal_status.as_deref() == Some("lost") => Err(fatal(format!(
            "the server has thrown away changes that slot `{name}` needs, those since {at}: the stream was behind by more than \
             `max_slot_wal_keep_size`\n{anew}"
        ))),
        // Only this stream confirms positions of its slot, and only after storing them. A later position means that
        // another reader used the slot.
        Some(slot) if slot.confirmed > known.lsn => Err(fatal(format!(
            "slot `{name}` was moved or made anew: it begins at {}, and the changes since {at} are lost\n{anew}",
            show_lsn(slot.confirmed)
        ))),
        Some(_) => Ok(Begin::Changes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::source;
    use orch_store::stream::{LogPosition, Reset};

    fn left(phase: Option<CapturePhase>) -> StreamCheckpoint {
        source::left("postgres:1/db/orch_s", LogPosition::Slot { slot: "orch_s".into() }, phase)
    }

    fn slot(confirmed: u64, wal_status: &str) -> Slot {
        Slot { plugin: None, database: None, confirmed, wal_status: Some(wal_status.into()) }
    }

    /// Returns how the capture starts, or the error message if it cannot start.
    fn begin_or_error(left: &StreamCheckpoint, identity: &str, slot: Option<&Slot>) -> Result<Begin, String> {
        let capture = Capture::postgres("db").tables(["x"]);
        decide(&capture, "s", left, identity, slot).map_err(|error| error.to_string())
    }

    #[test]
    fn a_gap_is_told_with_the_way_out() {
        let (here, known) = ("postgres:1/db/orch_s", left(Some(CapturePhase::Changes)));
        let fine = slot(90, "reserved");
        assert_eq!(begin_or_error(&known, here, Some(&fine)), Ok(Begin::Changes));
        assert_eq!(begin_or_error(&known, here, Some(&slot(100, "extended"))), Ok(Begin::Changes));
        for (identity, slot, what) in [
            (here, None, "is gone from the server, and with it the changes since 0/64"),
            (here, Some(&slot(90, "lost")), "has thrown away changes"),
            (here, Some(&slot(101, "reserved")), "was moved or made anew"),
            ("postgres:2/db/orch_s", Some(&fine), "leads to another database"),
        ] {
            let error = begin_or_error(&known, identity, slot).unwrap_err();
            assert!(error.contains(what) && error.contains("`orch streams reset s --to-earliest`"), "{error}");
        }
    }

    #[test]
    fn a_snapshot_begins_the_capture_and_one_that_was_cut_off_begins_again() {
        let here = "postgres:1/db/orch_s";
        assert_eq!(begin_or_error(&left(None), here, None), Ok(Begin::Snapshot { is_again: false }));
        assert!(begin_or_error(&left(None), here, Some(&slot(1, "reserved"))).unwrap_err().contains("did not make"));
        let cut = left(Some(CapturePhase::Snapshot));
        for found in [None, Some(&slot(90, "reserved"))] {
            assert_eq!(begin_or_error(&cut, here, found), Ok(Begin::Snapshot { is_again: true }));
        }
        for to in [ResetTo::Earliest, ResetTo::Latest] {
            let reset_to = Some(Reset { partition: None, to: to.clone(), empty_table: false });
            let begun =
                begin_or_error(&StreamCheckpoint { reset_to, ..left(Some(CapturePhase::Changes)) }, "other", None);
            assert_eq!(begun.is_ok(), to == ResetTo::Earliest);
        }
    }
}
