//! Tracks the transactions that the server sends, and how many of their changes are already in the topics. Performs no
//! I/O.

use super::table::{At, Caught, Change, Origin};
use crate::capture::envelope::{RowChange, records};
use crate::capture::lot::Lot;
use orch_lake::source::postgres::replication::{Message, Relation};
use orch_sdk::task::{TaskResult, fatal};
use orch_store::stream::WithinTransaction;
use std::collections::{BTreeMap, HashMap};

#[derive(Debug)]
pub(super) struct Transactions {
    stream: String,
    database: String,
    /// Topics of the captured tables by OID.
    topics: BTreeMap<u32, String>,
    /// Row layouts of the captured tables by OID.
    tables: HashMap<u32, Caught>,
    /// LSN of the end of the last complete transaction.
    pub(super) lsn: u64,
    /// Progress within the next transaction, if a part of its changes was read.
    pub(super) within: Option<WithinTransaction>,
    open: Option<UncommittedTransaction>,
}

/// A transaction whose commit has not been received yet.
#[derive(Debug, Clone, Copy)]
struct UncommittedTransaction {
    commit_lsn: u64,
    at_ms: i64,
    xid: u32,
    changes: u64,
    /// Number of changes at the start of the transaction that are already in the topics.
    known: u64,
}

impl Transactions {
    pub(super) fn new(
        stream: &str,
        database: &str,
        topics: BTreeMap<u32, String>,
        (lsn, within): (u64, Option<WithinTransaction>),
    ) -> Transactions {
        let (stream, database) = (stream.into(), database.into());
        Transactions { stream, database, topics, tables: HashMap::new(), lsn, within, open: None }
    }

    /// Returns true if no transaction is open.
    pub(super) fn is_between(&self) -> bool {
        self.open.is_none()
    }

    pub(super) fn captures(&self, relation: &Relation) -> bool {
        self.topics.contains_key(&relation.id)
    }

    /// Returns the most recent row layout of a table.
    pub(super) fn known(&self, number: u32) -> Option<&Relation> {
        self.tables.get(&number).map(|table| &table.relation)
    }

    /// Sets the row layout of a table, with its key columns.
    pub(super) fn learn(&mut self, relation: Relation) {
        if let Some(topic) = self.topics.get(&relation.id) {
            self.tables.insert(relation.id, Caught { topic: topic.clone(), relation });
        }
    }

    /// Adds the changes of a message to the batch. Returns a fatal error if a row is too large or if the server has
    /// switched to a different log.
    pub(super) fn take(&mut self, lsn: u64, message: Message, now_ms: i64, lot: &mut Lot) -> TaskResult<()> {
        match message {
            Message::Begin { commit_lsn, at, xid } => self.begin(commit_lsn, at.div_euclid(1_000), xid)?,
            Message::Commit { end_lsn } => {
                self.open = None;
                // The server may send earlier transactions again before the one that was partially read.
                self.within = self.within.filter(|within| within.commit_lsn >= end_lsn);
                self.lsn = self.lsn.max(end_lsn);
                lot.touch();
            }
            Message::Relation(relation) => self.learn(relation),
            Message::Insert { relation, new } => self.row((lsn, now_ms), relation, RowChange::Insert(new), lot)?,
            Message::Update { relation, old, new } => {
                self.row((lsn, now_ms), relation, RowChange::Update(old.map(Into::into), new), lot)?;
            }
            Message::Delete { relation, old } => {
                self.row((lsn, now_ms), relation, RowChange::Delete(old.into()), lot)?;
            }
            Message::Truncate { relations } => {
                if self.is_new() {
                    for relation in relations {
                        self.tell((lsn, now_ms), relation, RowChange::Truncate, lot)?;
                    }
                }
            }
            Message::Other => {}
        }
        Ok(())
    }

    fn begin(&mut self, commit_lsn: u64, at_ms: i64, xid: u32) -> TaskResult<()> {
        let known = match self.within {
            // The server may start slightly before the requested position.
            _ if commit_lsn < self.lsn => u64::MAX,
            Some(within) if within.commit_lsn == commit_lsn => within.changes,
            Some(within) if within.commit_lsn < commit_lsn => {
                return Err(fatal(format!(
                    "a transaction of which {} changes were captured is not in the log of the source any more\n\
                     hint: read all tables anew with `orch streams reset {} --to-earliest`",
                    within.changes, self.stream
                )));
            }
            _ => 0,
        };
        self.open = Some(UncommittedTransaction { commit_lsn, at_ms, xid, changes: 0, known });
        Ok(())
    }

    fn row(&mut self, at: (u64, i64), relation: u32, change: Change, lot: &mut Lot) -> TaskResult<()> {
        if self.is_new() { self.tell(at, relation, change, lot) } else { Ok(()) }
    }

    /// Counts a change. Returns false if the change is already in its topic.
    fn is_new(&mut self) -> bool {
        let Some(open) = &mut self.open else { return false };
        open.changes += 1;
        let is_new = open.changes > open.known;
        if is_new {
            self.within = Some(WithinTransaction { commit_lsn: open.commit_lsn, changes: open.changes });
        }
        is_new
    }

    fn tell(&self, (lsn, now_ms): (u64, i64), relation: u32, change: Change, lot: &mut Lot) -> TaskResult<()> {
        let (Some(table), Some(open)) = (self.tables.get(&relation), self.open) else { return Ok(()) };
        let origin = Origin {
            database: &self.database,
            xid: Some(open.xid),
            previous: self.lsn,
            lsn,
            at_ms: open.at_ms,
            snapshot: "false",
        };
        for record in records(&At(table), change, &origin, now_ms)? {
            lot.push(&table.topic, record);
        }
        lot.at_ms = lot.at_ms.max(Some(open.at_ms));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_lake::source::postgres::replication::{Cell, Column};

    fn at(lsn: u64, within: Option<(u64, u64)>) -> Transactions {
        let within = within.map(|(commit_lsn, changes)| WithinTransaction { commit_lsn, changes });
        let mut transactions = Transactions::new("s", "db", [(7, "t".to_string())].into(), (lsn, within));
        let column = Column { name: "id".into(), type_oid: 23, is_key: true };
        let relation = Relation { id: 7, schema: "a".into(), name: "x".into(), identity: b'd', columns: vec![column] };
        transactions.learn(Relation { id: 8, ..relation.clone() });
        transactions.learn(relation);
        transactions
    }

    fn begin(commit_lsn: u64) -> Message {
        Message::Begin { commit_lsn, at: 5_000, xid: 1 }
    }

    fn insert(relation: u32, id: &'static str) -> Message {
        Message::Insert { relation, new: vec![Cell::Text(id.into())] }
    }

    /// Returns the keys of the records that these messages produce.
    fn keys(transactions: &mut Transactions, messages: Vec<Message>) -> TaskResult<Vec<String>> {
        let mut lot = Lot::default();
        for message in messages {
            transactions.take(1, message, 0, &mut lot)?;
        }
        let records = lot.records.remove("t").unwrap_or_default();
        Ok(records.into_iter().map(|record| String::from_utf8(record.key.unwrap()).unwrap()).collect())
    }

    #[test]
    fn a_position_lies_behind_commits_or_within_a_transaction() {
        let mut transactions = at(100, None);
        let taken = keys(&mut transactions, vec![begin(150), insert(7, "1"), insert(8, "9"), insert(7, "2")]);
        assert_eq!(taken.unwrap(), [r#"{"id":1}"#, r#"{"id":2}"#]);
        let within = WithinTransaction { commit_lsn: 150, changes: 3 };
        assert_eq!((transactions.lsn, transactions.within, transactions.is_between()), (100, Some(within), false));
        keys(&mut transactions, vec![Message::Commit { end_lsn: 160 }]).unwrap();
        assert_eq!((transactions.lsn, transactions.within, transactions.is_between()), (160, None, true));
    }

    #[test]
    fn what_is_in_the_topics_is_left_out() {
        let sent =
            || vec![begin(150), insert(7, "1"), insert(8, "9"), insert(7, "2"), Message::Commit { end_lsn: 160 }];
        assert_eq!(keys(&mut at(100, Some((150, 2))), sent()).unwrap(), [r#"{"id":2}"#]);
        assert_eq!(keys(&mut at(100, Some((150, 3))), sent()).unwrap(), Vec::<String>::new());
        // The server sends the transaction again although its position was confirmed.
        let mut later = at(160, None);
        assert_eq!(keys(&mut later, sent()).unwrap(), Vec::<String>::new());
        assert_eq!((later.lsn, later.within), (160, None));
        let mut between = at(160, Some((200, 1)));
        let taken = keys(&mut between, [sent(), vec![begin(200), insert(7, "3"), insert(7, "4")]].concat());
        assert_eq!(taken.unwrap(), [r#"{"id":4}"#]);
    }

    #[test]
    fn a_transaction_that_vanished_is_never_passed_over() {
        let error = keys(&mut at(100, Some((150, 2))), vec![begin(170)]).unwrap_err().to_string();
        assert!(error.contains("orch streams reset s --to-earliest"), "{error}");
    }
}
