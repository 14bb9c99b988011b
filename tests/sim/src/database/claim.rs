//! The claim within a step: the most urgent rows that no other transaction has locked, and their runs as the
//! statement's snapshot shows them. The snapshot may be older than the rows.

use super::locks::Lock;
use super::tables::{PendingTry, PendingTryKey};
use super::{Snapshot, State};
use crate::faults::Mutant;
use chrono::{DateTime, Utc};
use orch_core::run::{LEDGER_FORMAT, Run};
use orch_spec::state::{RunState, RunType};
use orch_store::step::{Claim, Claimed, KnownRun, Lease, Reply, RunFacts};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

impl State {
    /// Picks and locks the rows of a claim. Also returns the locks to wait for: the row of an earlier try.
    pub(crate) fn pick(&mut self, claim: Option<&Claim>, worker: i32, seen: Snapshot) -> (Vec<u64>, Vec<Lock>) {
        // The snapshot may be stale: the worker may have been given up since.
        let runs = self.tables.workers.get(&worker).is_some_and(|w| w.since.is_none_or(|at| at > seen.commits));
        let Some(claim) = claim.filter(|c| c.most > 0 && runs) else { return (Vec::new(), Vec::new()) };
        let fits = |t: &PendingTry| claim.queues.contains(&t.queue) && claim.versions.contains(&t.version);
        let mut found: Vec<(Reverse<i32>, u64)> = self
            .tables
            .ready
            .iter()
            .filter(|(_, (since, t))| *since <= seen.commits && fits(t))
            .map(|(seq, (_, t))| (Reverse(t.priority), *seq))
            .collect();
        found.sort_unstable();
        let passed_over = self.faults.passed_over;
        found.retain(|_| passed_over == 0 || !self.rng.chance(passed_over));
        let mut picked = Vec::new();
        for (_, seq) in found {
            if picked.len() as i32 == claim.most {
                break;
            }
            let twice = self.is_mutant(Mutant::ClaimLeavesRow);
            if twice || self.locks.take_if_free(seen.txn, &Lock::Place(PendingTryKey::Ready(seq))) {
                picked.push(seq);
            }
        }
        let rows = picked.iter().map(|seq| self.tables.ready[seq].1.key);
        let earlier = rows.filter(|key| self.tables.instances.contains_key(key)).map(Lock::Instance).collect();
        (picked, earlier)
    }

    /// Returns the priority of the most urgent try that a claim like this one could take.
    pub(super) fn most_urgent(&self, claim: &Claim, seen: Snapshot) -> Option<i32> {
        let fits = |t: &PendingTry| claim.queues.contains(&t.queue) && claim.versions.contains(&t.version);
        let seen = self.tables.ready.values().filter(|(since, t)| *since <= seen.commits && fits(t));
        seen.map(|(_, t)| t.priority).max()
    }

    pub(super) fn claim(&mut self, picked: Vec<u64>, worker: i32, seen: Snapshot, reply: &mut Reply) {
        let mut runs: BTreeSet<Uuid> = BTreeSet::new();
        for seq in picked {
            let Some((_, taken)) = self.tables.ready.get(&seq).cloned() else {
                self.books.fail(format!("row {seq} of `ready` was taken from under a claim"));
                continue;
            };
            if !self.is_mutant(Mutant::ClaimLeavesRow) {
                self.tables.ready.remove(&seq);
            }
            let (run, task, map_index) = taken.key;
            let attempt = self.trace.attempt(taken.attempt);
            let (of, lease_no) = (run.as_u128() & 0xffff, taken.lease_no);
            self.trace
                .say(format_args!("     {of} [{task}, {map_index}] a{attempt} lease {lease_no} claimed by w{worker}"));
            self.give(&taken, worker);
            runs.insert(run);
            reply.claimed.push(Claimed {
                lease: Lease { run, task, map_index, attempt: taken.attempt, lease_no },
                version: taken.version,
                try_no: taken.try_no,
                max_tries: taken.max_tries,
                lost_no: taken.lost_no,
            });
        }
        for run in runs {
            reply.runs.extend(self.known_run(run, seen));
            self.books.check(&self.tables, run);
        }
    }

    fn known_run(&self, id: Uuid, seen: Snapshot) -> Option<KnownRun> {
        let row = self.tables.runs.get(&id)?;
        let shown = row.as_of(seen.commits);
        Some(KnownRun {
            run: id,
            rev: shown.rev,
            version: shown.version,
            clear_number: shown.clear_number,
            format: LEDGER_FORMAT,
            // Only runs in state `Running` have claimable rows.
            ledger: Run { state: RunState::Running, ..shown.run },
            facts: Arc::new(RunFacts {
                partition_key: None,
                dag_id: row.version.dag_id.clone(),
                run_id: format!("manual__{}", row.number),
                run_type: RunType::Manual,
                conf: None,
                logical_date: None,
                interval_start: None,
                interval_end: None,
                run_after: DateTime::<Utc>::UNIX_EPOCH,
            }),
        })
    }
}
