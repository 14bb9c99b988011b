//! Tracks the position of a reader in a binlog: the end of the last complete group of events, and the progress within
//! the next one. A group is a transaction, or a statement outside of a transaction. Performs no I/O.

use orch_lake::source::mysql::binlog::{BinlogCoordinates, Gtid, domains};
use orch_store::stream::WithinTransaction;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) file: String,
    /// File and offset of the end of the last complete group.
    taken: (String, u64),
    /// Byte position of the end of the last complete group, counted across files.
    pub(super) lsn: u64,
    /// Progress within the next group, if a part of it was read.
    pub(super) within: Option<WithinTransaction>,
    /// Last global transaction id (GTID) of each MariaDB domain.
    numbers: BTreeMap<u32, String>,
    /// Start of the current file in the unit of `lsn`. Computed with wrapping subtraction, because the first file is
    /// read from its middle.
    base: u64,
    /// True if `base` is known. After a switch to another server, it is not, because the position has a different file
    /// and offset there.
    is_found: bool,
    /// Offset of the end of the last event.
    end: u64,
    open: Option<OpenGroup>,
}

/// A group whose end has not been read yet.
#[derive(Debug, Default)]
struct OpenGroup {
    begins: u64,
    gtid: Option<String>,
    domain: Option<u32>,
    /// True if the group is a transaction, which may have more than one statement.
    has_begun: bool,
    is_xa: bool,
    changes: u64,
    /// Number of changes at the start of the group that are already in the topics.
    known: u64,
}

impl Groups {
    /// Starts at a stored position. `is_there` is true if the server still has the file of the position.
    pub(super) fn new(
        place: &BinlogCoordinates,
        (lsn, within): (u64, Option<WithinTransaction>),
        is_there: bool,
    ) -> Groups {
        Groups {
            file: place.file.clone(),
            taken: (place.file.clone(), place.pos),
            lsn,
            within,
            numbers: domains(&place.gtid),
            base: lsn.wrapping_sub(place.pos),
            is_found: is_there,
            end: place.pos,
            open: None,
        }
    }

    /// Returns the position after the last complete group.
    pub(super) fn place(&self) -> BinlogCoordinates {
        let gtid = self.numbers.values().map(String::as_str).collect::<Vec<_>>().join(",");
        BinlogCoordinates { file: self.taken.0.clone(), pos: self.taken.1, gtid }
    }

    pub(super) fn is_between(&self) -> bool {
        self.open.is_none()
    }

    pub(super) fn gtid(&self) -> Option<&str> {
        self.open.as_ref()?.gtid.as_deref()
    }

    /// Records the end of an event and returns its start. Works for files above 4 GiB, although `end_pos` has only 32
    /// bits.
    pub(super) fn read(&mut self, end_pos: u32, bytes: u32) -> u64 {
        if end_pos == 0 {
            return self.end;
        }
        let high = self.end & !0xffff_ffff;
        let mut end = high | u64::from(end_pos);
        if end < self.end {
            end += 1 << 32;
        }
        let begins = end.saturating_sub(u64::from(bytes));
        if !self.is_found {
            self.is_found = true;
            self.base = self.lsn.wrapping_sub(begins);
        }
        self.end = end;
        begins
    }

    /// Continues at the start of another file. `is_artificial` is true if the event is not in the binlog but generated
    /// for this reader.
    pub(super) fn rotate(&mut self, file: String, is_artificial: bool) {
        if file == self.file {
            return;
        }
        if self.is_found {
            self.base = self.base.wrapping_add(self.end);
        }
        self.file = file;
        self.end = 0;
        if self.is_between() && self.within.is_none() && !is_artificial {
            self.taken = (self.file.clone(), 4);
            self.lsn = self.base.wrapping_add(4);
        }
    }

    pub(super) fn begin(&mut self, gtid: Option<(&Gtid, u32)>, at: u64) {
        let known = self.within.map_or(0, |within| within.changes);
        let mut open = OpenGroup { begins: self.base.wrapping_add(at), known, ..OpenGroup::default() };
        match gtid {
            Some((Gtid::MariaDb { domain, sequence, is_alone, is_prepared }, server_id)) => {
                open.gtid = Some(format!("{domain}-{server_id}-{sequence}"));
                open.domain = Some(*domain);
                open.has_begun = !is_alone;
                open.is_xa = *is_prepared;
            }
            Some((Gtid::MySql(gtid), _)) => open.gtid = Some(gtid.clone()).filter(|gtid| !gtid.is_empty()),
            None => {}
        }
        self.open = Some(open);
    }

    /// Records that the group is a transaction, so that its statements do not end it.
    pub(super) fn has_begun(&mut self, at: u64) {
        self.ensure_open(at).has_begun = true;
    }

    pub(super) fn ensure_begun(&mut self, at: u64) {
        self.ensure_open(at);
    }

    fn ensure_open(&mut self, at: u64) -> &mut OpenGroup {
        if self.open.is_none() {
            self.begin(None, at);
        }
        self.open.get_or_insert_default()
    }

    pub(super) fn set_xa(&mut self) {
        if let Some(open) = &mut self.open {
            (open.is_xa, open.has_begun) = (true, true);
        }
    }

    pub(super) fn is_xa(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.is_xa)
    }

    /// Returns the number of changes in the open group so far.
    pub(super) fn changes(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.changes)
    }

    /// Counts a change. Returns false if the change is already in its topic.
    pub(super) fn is_new(&mut self) -> bool {
        let Some(open) = &mut self.open else { return false };
        open.changes += 1;
        let is_new = open.changes > open.known;
        if is_new {
            self.within = Some(WithinTransaction { commit_lsn: open.begins, changes: open.changes });
        }
        is_new
    }

    /// Ends a statement. Outside of a transaction, this also ends the group.
    pub(super) fn end_statement(&mut self) {
        if self.open.as_ref().is_some_and(|open| !open.has_begun) {
            self.end_group();
        }
    }

    pub(super) fn end_group(&mut self) {
        let Some(open) = self.open.take() else { return };
        if let (Some(domain), Some(gtid)) = (open.domain, open.gtid) {
            self.numbers.insert(domain, gtid);
        }
        self.within = None;
        self.taken = (self.file.clone(), self.end);
        self.lsn = self.base.wrapping_add(self.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pos: u64, within: Option<u64>) -> Groups {
        let place = BinlogCoordinates { file: "b.1".into(), pos, gtid: "0-1-7,2-1-1".into() };
        let within = within.map(|changes| WithinTransaction { commit_lsn: 1_000, changes });
        Groups::new(&place, (1_000, within), true)
    }

    fn gtid(sequence: u64, is_alone: bool) -> Gtid {
        Gtid::MariaDb { domain: 0, sequence, is_alone, is_prepared: false }
    }

    fn place(groups: &Groups) -> (String, u64, u64, Option<u64>) {
        let BinlogCoordinates { file, pos, .. } = groups.place();
        (file, pos, groups.lsn, groups.within.map(|within| within.changes))
    }

    #[test]
    fn a_position_lies_behind_groups_or_within_one() {
        let mut groups = at(400, None);
        let begins = groups.read(440, 40);
        groups.begin(Some((&gtid(8, false), 1)), begins);
        assert!(groups.is_new() && groups.is_new());
        assert_eq!(place(&groups), ("b.1".into(), 400, 1_000, Some(2)));
        groups.end_statement();
        assert!(!groups.is_between());
        groups.read(500, 60);
        groups.end_group();
        assert_eq!(place(&groups), ("b.1".into(), 500, 1_100, None));
        assert_eq!(groups.place().gtid, "0-1-8,2-1-1");
    }

    #[test]
    fn what_is_in_the_topics_is_left_out_of_the_first_group_only() {
        let mut groups = at(400, Some(2));
        let new: Vec<bool> = (0..2)
            .flat_map(|sequence| {
                groups.begin(Some((&gtid(8 + sequence, false), 1)), 400);
                let new: Vec<bool> = (0..3).map(|_| groups.is_new()).collect();
                groups.end_group();
                new
            })
            .collect();
        assert_eq!(new, [false, false, true, true, true, true]);
    }

    #[test]
    fn bytes_are_counted_over_files_and_beyond_four_gigabytes() {
        let mut groups = at(400, None);
        groups.read(600, 50);
        groups.rotate("b.2".into(), false);
        groups.rotate("b.2".into(), true);
        assert_eq!(place(&groups), ("b.2".into(), 4, 1_204, None));
        let begins = groups.read(100, 60);
        groups.begin(None, begins);
        groups.end_statement();
        assert_eq!(place(&groups), ("b.2".into(), 100, 1_300, None));
        groups.read(u32::MAX - 9, 10);
        assert_eq!(groups.read(50, 60), u64::from(u32::MAX) - 9);
        assert_eq!(groups.end, (1 << 32) + 50);
    }

    /// After a failover, the same position has a different file and offset. Asserts that `lsn` continues to increase.
    #[test]
    fn a_place_that_was_found_by_its_number_counts_on() {
        let place = BinlogCoordinates { file: "b.9".into(), pos: 700, gtid: "0-1-7".into() };
        let mut groups = Groups::new(&place, (1_000, None), false);
        groups.rotate("other.1".into(), true);
        let begins = groups.read(90, 30);
        groups.begin(Some((&gtid(8, false), 2)), begins);
        groups.read(120, 30);
        groups.end_group();
        let now = groups.place();
        assert_eq!((now.file.as_str(), now.pos, now.gtid.as_str(), groups.lsn), ("other.1", 120, "0-2-8", 1_060));
    }
}
