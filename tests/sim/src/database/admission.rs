//! Gates: taken slots, waiting tries and admission (`store::admission`, statement by statement).

use super::locks::Lock;
use super::tables::{PendingTry, PendingTryKey, Slot};
use super::{Snapshot, State};
use crate::faults::Mutant;
use chrono::{DateTime, Utc};
use orch_core::admission::House;
use orch_core::gates::{Gates, Need};
use orch_spec::state::TaskState;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Maximum number of tries of one line that a round considers.
const MOST_OF_LINE: usize = 1_000;

/// A slot that is held by a try that no longer lives: its attempt and the limit.
pub(crate) type StaleSlot = (Uuid, String);

/// A try that waits for admission.
#[derive(Debug, Clone)]
pub(crate) struct AtGate {
    seq: u64,
    of: PendingTry,
    pub(crate) gates: Arc<Gates>,
    pub(crate) holds: Vec<String>,
}

/// A try that is admitted, and the slots it takes.
pub(crate) type Goes = (AtGate, Vec<Need>);

impl State {
    pub(crate) fn is_anybody_at_gates(&self) -> bool {
        self.tables.ready.values().any(|(_, t)| t.queue < 0)
    }

    /// Takes the single admission lock if it is free.
    pub(crate) fn try_admission(&mut self, seen: Snapshot) -> bool {
        self.locks.take_if_free(seen.txn, &Lock::Admission)
    }

    /// `recount.sql`: returns the slots of tries that no longer live.
    pub(crate) fn recount(&self) -> Vec<StaleSlot> {
        let t = &self.tables;
        if self.is_mutant(Mutant::SlotsStay) {
            return Vec::new();
        }
        let waits = |attempt: Uuid| {
            !self.is_mutant(Mutant::RecountForgetsReady) && t.ready.values().any(|(_, of)| of.attempt == attempt)
        };
        let stops = |attempt: Uuid| {
            !self.is_mutant(Mutant::RecountForgetsStopped)
                && t.orders.iter().any(|o| o.attempt == attempt && t.is_alive(o.worker))
        };
        let works = |attempt: Uuid, slot: &Slot| {
            let row = t.instances.get(&slot.key).filter(|row| row.attempt == attempt);
            row.is_some_and(|row| matches!(row.state, TaskState::Running | TaskState::Restarting))
        };
        let lives = |attempt: Uuid, slot: &Slot| works(attempt, slot) || waits(attempt) || stops(attempt);
        t.slots.iter().filter(|((attempt, _), slot)| !lives(*attempt, slot)).map(|(gone, _)| gone.clone()).collect()
    }

    /// `house.sql`, as if the slots in `gone` had been deleted.
    pub(crate) fn house(&self, gone: &[StaleSlot]) -> House {
        let mut house = House { now: DateTime::<Utc>::UNIX_EPOCH, ..House::default() };
        house.pools.extend(self.tables.pools.iter().map(|(name, slots)| (name.clone(), *slots)));
        for (key, slot) in self.tables.slots.iter().filter(|(key, _)| !gone.contains(key)) {
            *house.taken.entry(key.1.clone()).or_default() += i64::from(slot.slots);
        }
        house
    }

    /// `waiting.sql`: the first tries of each line, as many as there may be free slots for. With `holders`, also
    /// `holders.sql`.
    pub(crate) fn at_gates(&self, house: &House, holders: bool) -> Vec<AtGate> {
        let mut lines: BTreeMap<i32, Vec<AtGate>> = BTreeMap::new();
        for (seq, (_, of)) in self.tables.ready.iter().filter(|(_, (_, of))| of.queue < 0) {
            let holds = self.tables.slots.keys().filter(|(attempt, _)| *attempt == of.attempt);
            let holds = holds.map(|(_, limit)| limit.clone()).collect();
            let gates = self.tables.lines[&-of.queue].clone();
            lines.entry(-of.queue).or_default().push(AtGate { seq: *seq, of: of.clone(), gates, holds });
        }
        let turn = |one: &AtGate| (Reverse(one.of.priority), one.seq);
        let mut found = Vec::new();
        for mut line in lines.into_values() {
            line.sort_by_key(turn);
            let room = line.first().map_or(0, |one| house.room(&one.gates).min(MOST_OF_LINE));
            let rest = line.split_off(room.min(line.len()));
            found.extend(line);
            found.extend(rest.into_iter().filter(|one| holders && !one.holds.is_empty()));
        }
        found.sort_by_key(turn);
        found
    }

    /// Returns the tries whose rows are unchanged and not locked by another transaction, and locks these rows.
    pub(crate) fn take_at_gates(&mut self, goes: Vec<Goes>, seen: Snapshot) -> Vec<Goes> {
        let still = |s: &Self, one: &AtGate| s.tables.ready.get(&one.seq).is_some_and(|(_, t)| *t == one.of);
        let free = |(one, _): &Goes| {
            still(self, one) && self.locks.take_if_free(seen.txn, &Lock::Place(PendingTryKey::Ready(one.seq)))
        };
        goes.into_iter().filter(free).collect()
    }

    /// `let_in.sql`; also releases the slots in `gone`.
    pub(crate) fn let_in(&mut self, goes: &[Goes], gone: &[StaleSlot]) -> usize {
        self.tables.slots.retain(|key, _| !gone.contains(key));
        let mut many = 0;
        for (one, needs) in goes {
            let Some((since, of)) = self.tables.ready.get_mut(&one.seq).filter(|(_, of)| *of == one.of) else {
                continue;
            };
            (*since, of.queue) = (self.commits, crate::node::QUEUE);
            let (attempt, key) = (of.attempt, of.key);
            for need in needs.iter().filter(|need| need.slots > 0) {
                let slot = Slot { slots: need.slots, key };
                self.tables.slots.entry((attempt, need.limit.clone())).or_insert(slot);
            }
            many += 1;
            self.trace.say(format_args!("     {} [{}, {}] is let in", key.0.as_u128() & 0xffff, key.1, key.2));
        }
        self.books.check_limits(&self.tables);
        many
    }

    /// Releases the slots of an attempt.
    pub(crate) fn free(&mut self, attempt: Uuid) {
        if !self.is_mutant(Mutant::SlotsStay) {
            self.tables.slots.retain(|(of, _), _| *of != attempt);
        }
    }
}
