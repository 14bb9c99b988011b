//! Row locks as in Postgres: held until the transaction ends, granted in turn, with deadlock detection.

use super::tables::{Key, PendingTryKey};
use orch_store::connect::HOT_IDLE_IN_TRANSACTION;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lock {
    Dag(String),
    Worker(i32),
    Run(Uuid),
    Instance(Key),
    /// Lock on a row of `ready`, `waiting` or `held`.
    Place(PendingTryKey),
    /// The single row of `admission`.
    Admission,
}

/// An open transaction.
#[derive(Debug, Default)]
struct Txn {
    locks: BTreeSet<Lock>,
    waits_for: Option<Lock>,
    xid: Option<u64>,
    /// Time since which its client has sent nothing.
    idle_since: Option<Instant>,
}

impl Txn {
    /// Returns the time at which the server ends the transaction if its client stays idle.
    fn evict_at(&self) -> Option<Instant> {
        self.idle_since.map(|since| since + HOT_IDLE_IN_TRANSACTION)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Locks {
    holders: BTreeMap<Lock, u64>,
    txns: BTreeMap<u64, Txn>,
    next_txn: u64,
    next_xid: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LockOutcome {
    Yes,
    /// Another transaction holds the lock. Check again at this time at the latest, because the server may end the
    /// holder.
    Busy(Option<Instant>),
    /// `expected` if a transaction that brings a run to rest is involved, because it takes locks in the order in
    /// which it finds rows.
    Deadlock {
        expected: bool,
    },
    /// The requesting transaction no longer exists.
    Gone,
}

impl Locks {
    pub(crate) fn open(&mut self) -> u64 {
        self.next_txn += 1;
        self.txns.insert(self.next_txn, Txn::default());
        self.next_txn
    }

    /// Ends a transaction. Returns false if it had already ended.
    pub(crate) fn close(&mut self, txn: u64) -> bool {
        let Some(closed) = self.txns.remove(&txn) else { return false };
        for lock in closed.locks {
            self.holders.remove(&lock);
        }
        true
    }

    pub(crate) fn is_open(&self, txn: u64) -> bool {
        self.txns.contains_key(&txn)
    }

    pub(crate) fn idle(&mut self, txn: u64, since: Option<Instant>) {
        if let Some(txn) = self.txns.get_mut(&txn) {
            txn.idle_since = since;
        }
    }

    pub(crate) fn take(&mut self, txn: u64, lock: &Lock, now: Instant) -> LockOutcome {
        if !self.is_open(txn) {
            return LockOutcome::Gone;
        }
        if let Some(&holder) = self.holders.get(lock).filter(|&&holder| holder != txn) {
            let evict_at = self.txns[&holder].evict_at();
            if evict_at.is_none_or(|at| at > now) {
                self.txns.get_mut(&txn).expect("looked for above").waits_for = Some(lock.clone());
                let expected = matches!(lock, Lock::Place(_)) || self.holds_places(txn);
                return if self.waits_for_itself(txn) {
                    LockOutcome::Deadlock { expected }
                } else {
                    LockOutcome::Busy(evict_at)
                };
            }
            self.close(holder);
        }
        self.holders.insert(lock.clone(), txn);
        let txn = self.txns.get_mut(&txn).expect("looked for above");
        txn.waits_for = None;
        txn.locks.insert(lock.clone());
        LockOutcome::Yes
    }

    fn holds_places(&self, txn: u64) -> bool {
        self.txns.get(&txn).is_some_and(|t| t.locks.iter().any(|lock| matches!(lock, Lock::Place(_))))
    }

    /// Takes the lock if it is free, like `skip locked`.
    pub(crate) fn take_if_free(&mut self, txn: u64, lock: &Lock) -> bool {
        let now = Instant::now();
        let holder = self.holders.get(lock).filter(|&&holder| holder != txn);
        if holder.is_some_and(|holder| self.txns[holder].evict_at().is_none_or(|at| at > now)) {
            return false;
        }
        self.take(txn, lock, now) == LockOutcome::Yes
    }

    fn waits_for_itself(&self, start: u64) -> bool {
        let mut at = start;
        for _ in 0..self.txns.len() {
            let next = self.txns.get(&at).and_then(|t| t.waits_for.as_ref()).and_then(|lock| self.holders.get(lock));
            match next {
                Some(&holder) if holder == start => return true,
                Some(&holder) => at = holder,
                None => return false,
            }
        }
        false
    }

    /// Assigns a transaction id at the first write.
    pub(crate) fn xid(&mut self, txn: u64) -> u64 {
        let next = self.next_xid + 1;
        let Some(txn) = self.txns.get_mut(&txn) else { return 0 };
        *txn.xid.get_or_insert_with(|| {
            self.next_xid = next;
            next
        })
    }

    /// Returns the oldest id still in use: all transactions with a smaller id have ended.
    pub(crate) fn xmin(&self) -> u64 {
        self.txns.values().filter_map(|t| t.xid).min().unwrap_or(self.next_xid + 1)
    }

    /// Returns the first id that has not been assigned.
    pub(crate) fn xmax(&self) -> u64 {
        self.next_xid + 1
    }
}
