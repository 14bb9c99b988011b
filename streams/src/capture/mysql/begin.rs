//! Decides where a binlog capture continues: after its last commit, or with a new snapshot. Lost changes are always
//! reported as an error. Performs no I/O.

use crate::capture::source::Begin;
use orch_lake::source::mysql::binlog::{Settings, domains};
use orch_sdk::task::{TaskResult, fatal};
use orch_store::stream::{BinlogPosition, CapturePhase, ResetTo, StreamCheckpoint};

/// Decides how the capture starts. Returns a fatal error if a requested reset is not a new snapshot.
pub(super) fn decide(stream: &str, left: &StreamCheckpoint) -> TaskResult<Begin> {
    let is_again = left.capture.is_some();
    match (&left.reset_to, &left.capture) {
        (Some(reset), _) if reset.to == ResetTo::Earliest => Ok(Begin::Snapshot { is_again }),
        (Some(_), _) => Err(fatal(format!(
            "a stream that captures changes has no other place to go to than a new snapshot\n\
             hint: `orch streams reset {stream} --to-earliest`"
        ))),
        (None, None) => Ok(Begin::Snapshot { is_again: false }),
        (None, Some(known)) if known.phase == CapturePhase::Snapshot => Ok(Begin::Snapshot { is_again: true }),
        (None, Some(_)) => Ok(Begin::Changes),
    }
}

/// Returns the identity of the server. MariaDB has no unique id other than the `server_id`, which administrators
/// assign.
pub(super) fn identity(settings: &Settings) -> String {
    if settings.is_mariadb { format!("mariadb:{}", settings.server_id) } else { format!("mysql:{}", settings.uuid) }
}

/// Returns true if the position's file and offset are valid in the binlog of this server. MariaDB identifies a binlog
/// history by the GTIDs before a position, MySQL by the UUID of the server.
pub(super) fn is_here(
    settings: &Settings,
    left: &StreamCheckpoint,
    at: &BinlogPosition,
    is_in_files: bool,
    gtid: Option<&str>,
) -> bool {
    let is_same = if settings.is_mariadb {
        gtid.is_some_and(|gtid| domains(gtid) == domains(&at.gtid))
    } else {
        left.topic_identity.as_deref() == Some(&identity(settings))
    };
    is_in_files && is_same
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::source;
    use orch_store::stream::{LogPosition, Reset};

    fn left(phase: Option<CapturePhase>, reset_to: Option<ResetTo>) -> StreamCheckpoint {
        let at = LogPosition::Binlog(BinlogPosition::default());
        let reset_to = reset_to.map(|to| Reset { partition: None, to, empty_table: false });
        StreamCheckpoint { reset_to, ..source::left("mysql:u", at, phase) }
    }

    #[test]
    fn a_snapshot_begins_the_capture_and_one_that_was_cut_off_begins_again() {
        use CapturePhase::{Changes, Snapshot};
        for (phase, reset, expected) in [
            (None, None, Some(Begin::Snapshot { is_again: false })),
            (Some(Snapshot), None, Some(Begin::Snapshot { is_again: true })),
            (Some(Changes), None, Some(Begin::Changes)),
            (Some(Changes), Some(ResetTo::Earliest), Some(Begin::Snapshot { is_again: true })),
            (Some(Changes), Some(ResetTo::Latest), None),
        ] {
            assert_eq!(decide("s", &left(phase, reset.clone())).ok(), expected, "{phase:?} {reset:?}");
        }
    }

    #[test]
    fn a_place_of_another_history_is_found_out() {
        let settings = |is_mariadb| Settings {
            is_mariadb,
            server_id: 1,
            uuid: if is_mariadb { String::new() } else { "u".into() },
        };
        let at = BinlogPosition { gtid: "0-1-7,1-1-2".into(), ..BinlogPosition::default() };
        let known = left(None, None);
        for (is_in_files, gtid, expected) in [
            (true, Some("1-1-2,0-1-7"), true),
            (true, Some("0-1-8,1-1-2"), false),
            (true, None, false),
            (false, Some("0-1-7,1-1-2"), false),
        ] {
            assert_eq!(is_here(&settings(true), &known, &at, is_in_files, gtid), expected, "{gtid:?}");
        }
        assert!(is_here(&settings(false), &known, &at, true, None));
        let other = Settings { uuid: "v".into(), ..settings(false) };
        assert!(!is_here(&other, &known, &at, true, None) && !is_here(&settings(false), &known, &at, false, None));
    }
}
